"""Objectives, one a file; each goes straight into `pyro.infer.SVI`."""
