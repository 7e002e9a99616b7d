"""Reductions that skip NaN, and other sums of several steps."""

import math

import torch
from torch import Tensor


def nan_max(x: Tensor, dim: tuple[int, ...], keepdim: bool = False) -> Tensor:
    """The largest number that is not NaN; NaN where there is none."""
    nothing = x.isnan().all(dim, keepdim)
    return (
        x.nan_to_num(float("-inf"), float("inf"), float("-inf")).amax(dim, keepdim).masked_fill(nothing, float("nan"))
    )


def nan_min(x: Tensor, dim: tuple[int, ...], keepdim: bool = False) -> Tensor:
    """The smallest number that is not NaN; NaN where there is none."""
    return -nan_max(-x, dim, keepdim)


def nan_mean(x: Tensor, dim: tuple[int, ...], keepdim: bool = False) -> Tensor:
    """The mean of what is not NaN. Unlike that of x.nanmean, its gradient is never NaN, even where all is missing."""
    missing = x.isnan()
    return x.masked_fill(missing, 0.0).sum(dim, keepdim) / (~missing).sum(dim, keepdim)


def nan_var(x: Tensor, dim: tuple[int, ...], keepdim: bool = False) -> Tensor:
    """The variance of what is not NaN."""
    missing = x.isnan()
    deviation = (x - nan_mean(x, dim, keepdim=True)).masked_fill(missing, 0.0)
    return deviation.square().sum(dim, keepdim) / (~missing).sum(dim, keepdim)


def nan_std(x: Tensor, dim: tuple[int, ...], keepdim: bool = False) -> Tensor:
    """The standard deviation of what is not NaN."""
    return nan_var(x, dim, keepdim).sqrt()


def nan_argmax(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the largest number is; -1 where all are NaN."""
    largest = x.nan_to_num(float("-inf"), float("inf"), float("-inf")).argmax(dim, keepdim)
    nothing = x.isnan().all() if dim is None else x.isnan().all(dim, keepdim)
    return torch.where(nothing, -1, largest)


def nan_argmin(x: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Where the smallest number is; -1 where all are NaN."""
    return nan_argmax(-x, dim, keepdim)


def matrix_norm(x: Tensor, order: float | str, dim: tuple[int, int], keepdim: bool = False) -> Tensor:
    """Of the matrices in two axes: of order 1 the largest sum of a column, of infinite order that of a row, of order 2
    the largest singular value, "nuc" the sum of them; of a negative order the smallest."""
    if order in ("nuc", 2, -2):
        values = torch.linalg.svdvals(x.movedim(dim, (-2, -1)))
        norm = values.sum(-1) if order == "nuc" else values.amax(-1) if order == 2 else values.amin(-1)
        return norm[..., None, None].movedim((-2, -1), dim) if keepdim else norm
    summed, compared = dim if order in (1, -1) else dim[::-1]
    sums = x.abs().sum(summed, keepdim=True)
    norm = sums.amin(compared, keepdim=True) if str(order).startswith("-") else sums.amax(compared, keepdim=True)
    return norm if keepdim else norm.squeeze(dim)


def peak_signal_noise_ratio(x: Tensor, y: Tensor, peak: float) -> Tensor:
    """In decibel, over the whole batch."""
    return 20 * math.log10(peak) - 10 * (x - y).square().mean().log10()
