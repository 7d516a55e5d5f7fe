"""A program of its own: one process of `jax.distributed`, with its part of the data.

python -m tests.numpyro.distributed.processes RANK NUM PORT
"""

import json
import sys

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tests.numpyro.distributed.devices import FIT_ROWS, difference, looked, looped, trained
from tests.support.helpers import data


def run(rank, num):
    x = data(FIT_ROWS)
    rows = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
    own = x[len(x) * rank // num : len(x) * (rank + 1) // num]
    shared = jax.make_array_from_process_local_data(rows, own)
    assert not shared.is_fully_addressable
    found = {
        function.__name__: difference(function(shared), function(x))
        for function in (trained, looped, looked)
    }
    broken = jax.make_array_from_process_local_data(rows, np.where(own == x[3, 2], np.nan, own))
    errors = []
    for function in (trained, looked):
        try:
            function(broken)
        except ValueError as error:
            errors.append(str(error))
    return {"errors": errors, "differences": found}


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_disable_most_optimizations", True)
    rank, num, port = map(int, sys.argv[1:])
    jax.distributed.initialize(f"127.0.0.1:{port}", num, rank)
    print(json.dumps(run(rank, num)))
