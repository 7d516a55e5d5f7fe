"""Lossless codes of data by a trained VAE."""
