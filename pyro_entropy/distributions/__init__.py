"""Distributions that Pyro lacks."""
