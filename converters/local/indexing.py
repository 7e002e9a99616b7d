"""Picking and placing elements by numbers."""

import torch
from torch import Tensor


def take_along_axis(x: Tensor, indices: Tensor, dim: int) -> Tensor:
    """Elements along an axis by their numbers, of which negative ones count from the end."""
    return x.gather(dim, indices.long() % x.shape[dim])


def one_hot(x: Tensor, num_classes: int) -> Tensor:
    """Whether a number is each of the classes, in a new last axis. F.one_hot raises an error for other numbers."""
    return x.unsqueeze(-1) == torch.arange(num_classes, device=x.device)


def scatter(x: Tensor, indices: Tensor, updates: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of x with `updates` at x[i, j, ...] for each row (i, j, ...) of `indices`."""
    return x.index_put(indices.long().unbind(-1), updates, accumulate=accumulate)
