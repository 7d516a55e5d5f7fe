"""Importance weights of one batch, chunk by chunk."""
