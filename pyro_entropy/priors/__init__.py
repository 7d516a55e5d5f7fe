"""Priors `p(z)`."""
