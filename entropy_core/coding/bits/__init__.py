"""Stacks of bits, and whole numbers as decisions on them."""
