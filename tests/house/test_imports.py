"""A user of one backend needs nothing of the other, and an import changes no global state."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FOREIGN = {
    "entropy_core": ["torch", "jax", "pyro", "numpyro", "arviz_plots"],
    "pyro_entropy": ["jax", "numpyro", "flax"],
    "numpyro_entropy": ["torch", "pyro"],
}


def run(code):
    result = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True)
    assert result.returncode == 0, result.stderr.decode()
    return result.stdout.decode()


# What an import may not change, and what must be there to look at it.
STATES = {
    "pyro_entropy": (
        "torch, pyro",
        "(torch.get_default_dtype(), torch.is_grad_enabled(), torch.initial_seed(), "
        "pyro.settings.get(), len(pyro.get_param_store()))",
    ),
    "numpyro_entropy": (
        "jax, numpyro, flax.linen",
        "(jax.config.values.copy(), numpyro.distributions.distribution.validation_enabled)",
    ),
}


@pytest.mark.parametrize("package", FOREIGN)
def test_importing_a_package_and_all_of_its_modules(package):
    host, state = STATES.get(package, ("sys", "None"))
    seed = "torch.manual_seed(5)" if "torch" in host else ""
    files = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / package).rglob("*.py")]
    names = [".".join(file.parts).removesuffix(".__init__") for file in files]
    code = f"""
import {host}
{seed}
before = {state}
import {package}
if before != {state}:
    print("another global state")
import importlib, sys
for name in {names}:
    importlib.import_module(name)
    folder, _, leaf = name.rpartition(".")
    if folder and getattr(sys.modules[folder], leaf) is not sys.modules[name]:
        print(name, "is hidden by a name of its folder")
for name in {FOREIGN[package]}:
    if name in sys.modules:
        print(name, "is the other's framework")
"""
    assert run(code) == ""


@pytest.mark.parametrize("package", ["pyro_entropy", "numpyro_entropy"])
def test_a_missing_extra_is_named(package):
    host = package.removesuffix("_entropy")
    code = f"""
import sys
sys.modules["{host}"] = None
try:
    import {package}
except ImportError as error:
    print(*error.__notes__)
"""
    assert f"pip install 'elbo-entropy[{host}]'" in run(code)


def written_by_pyro():
    import torch

    from pyro_entropy import VAE1, EntropySumDiagnostic

    vae, x = VAE1(4, 2, hidden=()), torch.rand(30, 4)
    return EntropySumDiagnostic(vae.model, vae.guide, num_particles=2).run(x, explain=True)


def written_by_numpyro():
    # Without claims, which take NumPyro long.
    from jax import jit, random

    from numpyro_entropy import VAE1, EntropySumDiagnostic

    vae, key = VAE1(4, 2, hidden=()), random.key(0)
    diagnostic = EntropySumDiagnostic(vae.model, vae.guide, num_particles=2)
    return diagnostic.run(key, jit(vae.init)(key), random.uniform(key, (30, 4)))


@pytest.mark.parametrize(
    ("write", "missing"),
    [(written_by_pyro, ["torch", "pyro"]), (written_by_numpyro, ["jax", "numpyro"])],
)
def test_reports_are_read_where_the_backend_that_wrote_them_is_missing(write, missing, tmp_path):
    report = write()
    report.save(tmp_path / "report.nc")
    code = f"""
import sys
sys.modules |= dict.fromkeys({missing})
from entropy_core.report import EntropyReport
report = EntropyReport.load({str(tmp_path / "report.nc")!r})
print(repr(report["elbo"]), *report.to_datatree().children, sep=",")
print(report)
"""
    numbers, printed = run(code).split("\n", 1)
    elbo, *groups = numbers.split(",")
    assert float(elbo) == report["elbo"]
    assert groups == list(report.to_datatree().children)
    assert printed.strip() == str(report).strip()
