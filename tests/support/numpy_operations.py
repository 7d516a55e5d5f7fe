"""NumPy's own instance of the functions that the core's formulas ask for, to test them without
either host.
"""

import numpy as np
from scipy import special

from entropy_core.operations import Operations


def weighted_sum(function, nodes, weights, like):
    parts = [w * function(*node) for node, w in zip(nodes, weights, strict=True)]
    return sum(parts).astype(like.dtype)


NUMPY = Operations(
    exp=np.exp,
    expm1=np.expm1,
    log=np.log,
    log1p=np.log1p,
    lgamma=special.gammaln,
    i0e=special.i0e,
    i1e=special.i1e,
    xlogy=special.xlogy,
    where=np.where,
    at_least=np.maximum,
    at_most=np.minimum,
    zeros_like=np.zeros_like,
    cast=lambda values, like: np.asarray(values, like.dtype),
    constant=lambda values: values,
    eps=lambda values: float(np.finfo(values.dtype).eps),
    weighted_sum=weighted_sum,
    log_sum_exp=lambda values: special.logsumexp(values, -1),
    logsumexp=special.logsumexp,
    permute=np.transpose,
    log_softmax=special.log_softmax,
    broadcast_to=np.broadcast_to,
    concatenate=np.concatenate,
    stack=lambda arrays: np.stack(np.broadcast_arrays(*arrays), -1),
    diag=np.diag,
    eye_like=lambda matrix: np.eye(len(matrix)),
    log_det=lambda matrix: np.linalg.slogdet(matrix)[1],
    solve=np.linalg.solve,
)
