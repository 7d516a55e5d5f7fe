"""Pairs of Pyro traces, read into records."""
