"""Entropies of any Pyro distribution."""
