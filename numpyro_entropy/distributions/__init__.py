"""Distributions that NumPyro lacks."""
