"""Lossless codes of data by a trained VAE: bits back on stacks of bits."""
