"""Decoders `p(x|z)`: modules that return a distribution over the observed variables."""
