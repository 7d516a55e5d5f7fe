"""Nets that map data to latents and back."""
