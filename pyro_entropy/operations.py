"""What formulas of the core ask of the host's arrays."""

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from entropy_core.operations import FloatArray, Operations


def log_det(matrix: Tensor) -> Tensor:
    """The logarithm of the determinant of a symmetric positive definite matrix."""
    return 2 * torch.linalg.cholesky(matrix).diagonal(dim1=-2, dim2=-1).log().sum(-1)


def log_sum_exp(values: Tensor) -> Tensor:
    """`log sum_j exp(values_ij)`; terms that are not seen in the sum have no gradient."""
    largest = values.detach().max(-1, keepdim=True).values
    # A CPU takes many times as long over numbers that underflow.
    return (values - largest).clamp(min=-80).exp().sum(-1).log() + largest.squeeze(-1)


def weighted_sum(
    function: Callable[..., Tensor], nodes: FloatArray, weights: FloatArray, like: Tensor
) -> Tensor:
    """`sum_i weights_i f(*nodes_i)`, in the float type and in the shape of another tensor."""
    # One node after another stays in the processor's cache.
    total = torch.zeros_like(like)
    for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
        total = total + weight * function(*node)
    return total


def to_numpy(tensor: Tensor) -> NDArray[Any]:
    """A tensor as NumPy's array; float types that NumPy has not become float32."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype in _NOT_NUMPYS else tensor).numpy()


_NOT_NUMPYS = {torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2}

OPERATIONS = Operations(
    exp=torch.exp,
    expm1=torch.expm1,
    log=torch.log,
    log1p=torch.log1p,
    lgamma=torch.lgamma,
    i0e=torch.special.i0e,
    i1e=torch.special.i1e,
    xlogy=torch.xlogy,
    where=torch.where,
    at_least=lambda values, least: values.clamp(min=least),
    at_most=lambda values, most: values.clamp(max=most),
    zeros_like=torch.zeros_like,
    cast=lambda values, like: torch.as_tensor(values).to(like),
    constant=lambda values: values.detach(),
    eps=lambda values: torch.finfo(values.dtype).eps,
    weighted_sum=weighted_sum,
    log_sum_exp=log_sum_exp,
    logsumexp=torch.logsumexp,
    permute=torch.permute,
    log_softmax=torch.log_softmax,
    broadcast_to=torch.broadcast_to,
    concatenate=lambda tensors: torch.cat(list(tensors)),
    stack=lambda tensors: torch.stack(torch.broadcast_tensors(*tensors), -1),
    diag=torch.diag,
    eye_like=lambda matrix: torch.eye(len(matrix)).to(matrix),
    log_det=log_det,
    solve=torch.linalg.solve,
)
