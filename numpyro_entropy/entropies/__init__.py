"""Entropies of any NumPyro distribution."""
