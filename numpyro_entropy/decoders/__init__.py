"""Decoders `p(x|z)`: callables that return a distribution over the observed variables."""
