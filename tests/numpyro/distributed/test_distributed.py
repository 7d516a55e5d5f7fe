"""Several devices, and processes of `jax.distributed`, against one device."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from numpyro_entropy.layouts import check_all_finite, fetched, laid_out_as, on_devices
from tests.numpyro.distributed.devices import TABLE
from tests.support.helpers import PARITY

ROOT = Path(__file__).parents[3]
# Sums of some thousand float32 terms, in another order.
SINGLE = 1e-5
# One objective of each kind; the others with the slow tests.
SOME = ["BILBO@total", "BAGGINS@float32", "stratified ED-VAE@float64"]


def start(module, args, num_devices):
    """A program that sees so many devices."""
    flags = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={num_devices}"
    )
    environment = {
        **os.environ,
        "XLA_FLAGS": flags,
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": str(ROOT / ".cache" / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.numpyro.distributed.{module}", *args],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result_of(program):
    """What a program has written last."""
    output, errors = program.communicate(timeout=600)
    assert program.returncode == 0, errors
    return json.loads(output.splitlines()[-1])


def wrong(differences):
    """Those that are larger than rounding makes them."""
    return {
        name: found
        for name, found in differences.items()
        if not found <= (SINGLE if "float32" in name else PARITY)
    }


@pytest.mark.parametrize(
    ("num_devices", "cases"),
    [
        (4, SOME),
        pytest.param(2, ["total"], marks=pytest.mark.slow),
        pytest.param(4, ["float64", "float32"], marks=pytest.mark.slow),
    ],
)
def test_devices_give_the_numbers_of_one(num_devices, cases):
    found = result_of(start("devices", cases, num_devices))
    names = [case.replace("@", ", ") for case in cases if "@" in case]
    names = names or [f"{name}, {case}" for name in TABLE for case in cases]
    assert {*names, "trained"} <= found["differences"].keys()
    assert wrong(found["differences"]) == {}
    assert found["num_devices"] == num_devices
    assert found["is_split"]


@pytest.mark.slow
def test_processes_give_the_numbers_of_one():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    num = 2
    programs = [start("processes", map(str, (rank, num, port)), 2) for rank in range(num)]
    try:
        results = [result_of(program) for program in programs]
    finally:
        for program in programs:
            program.kill()
            program.communicate()
    for found in results:
        assert found["differences"].keys() == {"trained", "looped", "looked"}
        assert wrong(found["differences"]) == {}
        # All processes see the error of one.
        assert len(found["errors"]) == 2
        assert all("1 NaN or infinite, first at (3, 2)" in error for error in found["errors"])


def test_arrays_of_one_device_stay_as_they_are():
    x = jnp.arange(12.0).reshape(6, 2)
    rows = np.asarray(x)[:5]
    assert laid_out_as(x, rows) is rows
    assert on_devices(x) is x
    assert on_devices(rows) is rows
    mesh = Mesh(np.array(jax.devices()[:1]), ("data",))
    over = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
    assert laid_out_as(over, rows) is rows
    np.testing.assert_array_equal(fetched({"x": over})["x"], x)


def test_the_error_of_a_value_says_where_it_is():
    x = jnp.zeros((6, 2)).at[4, 1].set(jnp.nan)
    with pytest.raises(ValueError, match=r"1 NaN or infinite, first at \(4, 1\)"):
        check_all_finite(x, "data")
