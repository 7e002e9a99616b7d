"""Activations that PyTorch does not have."""

import torch
import torch.nn.functional as F
from torch import Tensor


def squareplus(x: Tensor, b: float = 4.0) -> Tensor:
    """A smooth ReLU: (x + sqrt(x^2 + b)) / 2."""
    return (x + (x * x + b).sqrt()) / 2


def sparse_plus(x: Tensor) -> Tensor:
    """0 below -1, x above 1, a parabola between."""
    return torch.where(x <= -1, 0.0, torch.where(x < 1, (x + 1) ** 2 / 4, x))


def sparse_sigmoid(x: Tensor) -> Tensor:
    """A straight line from 0 at -1 to 1 at 1."""
    return ((x + 1) / 2).clamp(0, 1)


def hard_sigmoid(x: Tensor) -> Tensor:
    """clip(0.2 x + 0.5), as Keras had it before version 3; F.hardsigmoid has the slope 1/6."""
    return (0.2 * x + 0.5).clamp(0, 1)


def thresholded_relu(x: Tensor, threshold: float, negative_slope: float, max_value: float | None) -> Tensor:
    """x above the threshold, at most max_value; a leak below it."""
    y = torch.where(x > threshold, x, 0.0)
    if max_value is not None:
        y = y.clamp(0, max_value)
    return y - negative_slope * F.relu(threshold - x) if negative_slope else y


def softmax_over(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Softmax over several axes at once."""
    return (x - x.logsumexp(dims, keepdim=True)).exp()


def log_softmax_over(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Logarithm of the softmax over several axes at once."""
    return x - x.logsumexp(dims, keepdim=True)


def masked_softmax(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Softmax over the positions where `mask` holds; a row without any is zero."""
    return x.masked_fill(~mask, torch.finfo(x.dtype).min).softmax(dim).masked_fill(~mask, 0.0)


def masked_softmax_over(x: Tensor, mask: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Softmax over several axes at once, over the positions where `mask` holds; without any it is zero."""
    return softmax_over(x.masked_fill(~mask, torch.finfo(x.dtype).min), dims).masked_fill(~mask, 0.0)


def sparsemax(x: Tensor, dim: int) -> Tensor:
    """As Keras 3 computes it: the sum behind tau runs over the cumulative sums, so that rows need not sum to 1."""
    ordered = x.sort(dim=dim, descending=True).values
    sums = ordered.cumsum(dim)
    shape = [1] * x.ndim
    shape[dim] = -1
    ranks = torch.arange(1, x.shape[dim] + 1, dtype=x.dtype, device=x.device).reshape(shape)
    support = ranks * ordered > sums - 1
    tau = (torch.where(support, sums, 0.0).sum(dim, keepdim=True) - 1) / support.sum(dim, keepdim=True)
    return (x - tau).clamp(min=0)
