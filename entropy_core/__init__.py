"""What the Pyro and the NumPyro side share: nothing here imports torch or jax."""

from entropy_core.version import __version__

__all__ = ["__version__"]
