"""Exact entropies and divergences, of all digits that the float type has."""
