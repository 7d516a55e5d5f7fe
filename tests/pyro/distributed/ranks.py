"""A program of its own: every objective over several ranks, beside one process.

    python -m tests.pyro.distributed.ranks NUM FOLDER CASE ...

It forks `NUM` ranks, and writes the largest differences that a rank has found to `FOLDER`.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pyro
import torch
import torch.distributed

import pyro_entropy as m
from tests.pyro.distributed.trainings import (
    FIT_ROWS,
    by_torch,
    late_parameter,
    reports,
    shared_site,
    trained,
)
from tests.support.helpers import H, data, random_weights
from tests.support.objective_table import ALL_CASES, OBJECTIVES, Objective, moved
from tests.support.pyro_noise import PyroNoise

# Ranks that have other numbers of rows: 4 and 3, or 2, 2, 2 and 1.
ROWS = 7
PARTICLES = 3
TABLE = {
    "standard": Objective(lambda m: m.Standard_ELBO()),
    "standard at the draws": Objective(lambda m: m.Standard_ELBO(2, closed_form=False), "VAE3"),
    "particles at once": Objective(lambda m: m.Standard_ELBO(PARTICLES, vectorize_particles=True)),
    "KL weight": Objective(lambda m: m.Standard_ELBO(kl_weight=0.3), "VAE2"),
    "free bits": Objective(lambda m: m.Standard_ELBO(free_bits=0.7)),
    "IWAE": Objective(lambda m: m.IWAE_ELBO(PARTICLES)),
    "DReG": Objective(lambda m: m.IWAE_ELBO(PARTICLES, gradient="dreg")),
    "STL": Objective(lambda m: m.IWAE_ELBO(PARTICLES, gradient="stl")),
    "IWAE in chunks": Objective(
        lambda m: m.IWAE_ELBO(PARTICLES, gradient="dreg", chunk_size=1, vectorize_particles=False)
    ),
    "profiled, particles at once": Objective(
        lambda m: m.Profiled_ELBO(PARTICLES, prior="diagonal", vectorize_particles=True)
    ),
    **OBJECTIVES,
}

CASES = {
    "float64": (torch.float64, {}),
    "total": (torch.float64, {"total": 40}),
    "float32": (torch.float32, {}),
}


def part(rank, num):
    """The rows of a rank."""
    return slice(-(-ROWS * rank // num), -(-ROWS * (rank + 1) // num))


class Replay(PyroNoise):
    """Noise of the whole batch, of which a rank takes its rows; a particle after another."""

    def __init__(self, rows, dtype):
        super().__init__({"z": None})
        noise = np.random.default_rng(1).standard_normal((PARTICLES, ROWS, H))[:, rows]
        self.particles, self.dtype, self.calls = torch.tensor(noise, dtype=dtype), dtype, 0

    def _pyro_sample(self, msg):
        if msg["name"] == "z" and not (msg["is_observed"] or msg["done"]):
            shape = tuple(msg["fn"].batch_shape)
            if len(shape) == 1:
                self.noise = {"z": self.particles[self.calls % PARTICLES]}
                self.calls += 1
            else:
                self.noise = {"z": self.particles[: shape[0]]}
            super()._pyro_sample(msg)


def numbers(elbo, vae, x, rows, **kwargs):
    """The loss, its gradients, and the terms."""
    pyro.clear_param_store()
    vae.zero_grad()
    noise = Replay(rows, x.dtype)
    guide = noise(vae.guide)
    found = []
    for call in ("loss_and_grads", "terms"):
        noise.calls = 0
        pyro.set_rng_seed(0)
        found.append(getattr(elbo, call)(vae.model, guide, x[rows], **kwargs))
    loss, terms = found
    grads = {name: p.grad.clone() for name, p in vae.named_parameters() if p.grad is not None}
    leaves = [torch.as_tensor(leaf) for leaf in torch.utils._pytree.tree_leaves(tuple(terms))]
    return torch.tensor(loss), grads, torch.cat([leaf.detach().reshape(-1) for leaf in leaves])


def difference(found, right):
    """The largest difference, relative to the largest number."""
    return float((found - right).abs().max() / right.abs().max().clamp(min=1e-3))


def compare(rank, num, objective, dtype, **kwargs):
    """How far a rank's numbers are from those of one process."""
    vae = ALL_CASES[objective.vae].make(m, dtype)
    drawn = random_weights(vae.get_weights())
    weights = {key: w.astype(str(dtype).removeprefix("torch.")) for key, w in drawn.items()}
    vae.set_weights(weights)
    x = torch.tensor(data()[:ROWS], dtype=dtype)
    right = numbers(objective.make(m), vae, x, slice(None), **kwargs)
    if rank:
        # What the first rank has is given to the others.
        vae.set_weights({key: 2 * w for key, w in weights.items()})
    elbo = m.Distributed_ELBO(objective.make(m))
    found = numbers(elbo, vae, x, part(rank, num), **kwargs)
    assert found[1].keys() == right[1].keys()
    return {
        "loss": difference(found[0], right[0]),
        "grads": max(difference(found[1][key], grad) for key, grad in right[1].items()),
        "terms": difference(found[2], right[2]),
    }


def run(rank, num, folder, cases):
    group = {"init_method": f"file://{folder}/store", "rank": rank, "world_size": num}
    torch.distributed.init_process_group("gloo", **group)
    found = {}
    for name, objective in TABLE.items():
        for case in cases:
            dtype, kwargs = CASES[case]
            found[f"{name}, {case}"] = compare(rank, num, objective, dtype, **kwargs)
    annealed = {"kl_weight": torch.tensor(0.3)}
    found["KL weight of a call"] = compare(rank, num, TABLE["standard"], torch.float64, **annealed)

    def note(name, numbers, right):
        found[name] = {"numbers": difference(numbers, right)}

    for how in ("fit", "loop", "captured"):
        right = trained(m.Profiled_ELBO(), 0, 1, 0, how)
        loss = m.Distributed_ELBO(m.Profiled_ELBO())
        note(how, trained(loss, rank, num, rank, how), right)
    x = torch.tensor(data(FIT_ROWS))
    rows = slice(len(x) * rank // num, len(x) * (rank + 1) // num)
    right, merged = reports(x, rows)
    note("report", merged, right)
    elbo = m.Standard_ELBO()
    together = m.Distributed_ELBO(elbo)
    note("shared site", shared_site(x[rows, 0], together), shared_site(x[:, 0], elbo))
    note(
        "late parameter",
        late_parameter(x[rows, 0], rank, together),
        late_parameter(x[:, 0], 0, elbo),
    )
    elbo = m.EDVAE_ELBO(positives=moved)
    by_ranks = by_torch(x[rows], m.Distributed_ELBO(elbo), wrapped=True)
    note("by torch", by_ranks, by_torch(x, elbo, wrapped=False))
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    num, folder, cases = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    children = []
    for rank in range(num):
        child = os.fork()
        if not child:
            run(rank, num, folder, cases)
            os._exit(0)
        children.append(child)
    failed = [child for child in children if os.waitpid(child, 0)[1]]
    sys.exit(bool(failed))
