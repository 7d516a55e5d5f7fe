"""Objectives, one a file; each goes straight into `numpyro.infer.SVI`."""
