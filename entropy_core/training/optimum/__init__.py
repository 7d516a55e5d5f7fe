"""The optimum of a training: stationary points, certificates, variances in closed form."""
