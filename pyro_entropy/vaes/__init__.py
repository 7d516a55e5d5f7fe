"""Variational autoencoders: a prior, an encoder and a decoder."""
