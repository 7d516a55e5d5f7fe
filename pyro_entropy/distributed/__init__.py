"""Losses, gradients and reports of several processes, each with a part of the data."""
