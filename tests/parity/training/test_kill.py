"""A training that is killed again and again, by `kill -9`, ends with the very same numbers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

KILLS = 20
ROOT = Path(__file__).parents[3]

COMMON = """
import sys
import numpy as np
from entropy_core.training import Checkpoints, EarlyStopping

folder, out = sys.argv[1:]
x = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
options = dict(
    num_epochs=60, batch_size=16, progress_bar=False, validation=x[:20],
    stop=EarlyStopping(patience=1000), diagnose_every=2,
    checkpoints=Checkpoints(folder, every_steps=3, keep=2, resume=True) if folder else None,
)
"""

SCRIPTS = {
    "pyro": COMMON
    + """
import pyro, torch
from torch.utils.data import DataLoader, TensorDataset
from pyro_entropy import VAE1, fit

torch.set_num_threads(1)
# Whatever a process has made before, and wherever its generators are.
for _ in range(int.from_bytes(np.random.bytes(1)) % 3 if folder else 0):
    VAE1(4, 2)
pyro.set_rng_seed(0 if not folder or not list(__import__("pathlib").Path(folder).glob("*")) else 9)
vae = VAE1(4, 2, hidden=(8,))
options["validation"] = torch.tensor(x[:20])
data = DataLoader(TensorDataset(torch.tensor(x)), batch_size=16, shuffle=True)
optim = pyro.optim.ClippedAdam({"lr": 0.02, "lrd": 0.999})
losses, report = fit(vae.model, vae.guide, data, optim=optim, **options)
weights = vae.get_weights()
""",
    "numpyro": COMMON
    + """
import jax, optax
from numpyro_entropy import VAE1, fit

vae = VAE1(4, 2, hidden=(8,))
optim = optax.adam(optax.exponential_decay(0.02, 1, 0.999))
result = fit(jax.random.key(0), vae.model, vae.guide, x, optim=optim, **options)
losses, report, weights = result.losses, result.report, vae.get_weights(result.params)
""",
}
END = """
history = report.to_datatree()["history"]
np.savez(out, losses=losses, elbo=history["elbo"].values, final=report["elbo"], **weights)
"""


def start(script, folder, out):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", script + END, str(folder), str(out)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)


def finish(process):
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()


@pytest.mark.slow
@pytest.mark.parametrize("backend", SCRIPTS)
def test_killed_at_random_moments(backend, tmp_path):
    rng = np.random.default_rng()
    script, folder = SCRIPTS[backend], tmp_path / "files"
    finish(start(script, "", tmp_path / "whole.npz"))
    kills = 0
    while kills < KILLS:
        process = start(script, folder, tmp_path / "killed.npz")
        seen = set(folder.glob("step-*"))
        # It is killed a moment after it has written a file, or while it writes one.
        while process.poll() is None and set(folder.glob("step-*")) == seen:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.1))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    finish(start(script, folder, tmp_path / "killed.npz"))
    assert kills > KILLS // 2
    whole, killed = np.load(tmp_path / "whole.npz"), np.load(tmp_path / "killed.npz")
    assert sorted(whole) == sorted(killed)
    for name in whole:
        assert_array_equal(killed[name], whole[name], err_msg=name)
    assert len(list(folder.iterdir())) == 2
