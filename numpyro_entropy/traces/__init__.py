"""Pairs of NumPyro traces, read into records."""
