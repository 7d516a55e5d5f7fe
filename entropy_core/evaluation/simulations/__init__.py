"""How far a guide is from the posterior, from simulations of the model."""
