"""What the Pyro and the NumPyro side share: nothing here imports torch or jax."""
