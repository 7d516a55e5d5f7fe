"""Losses and gradients of any model and guide, replayed from a graph."""
