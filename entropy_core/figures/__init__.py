"""Pictures of results: the course of training, latents, sites, the spread of estimates."""
