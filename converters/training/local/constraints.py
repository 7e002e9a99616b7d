"""What holds for a weight after every update. `dims`: the axes over which its norm is taken."""

from collections.abc import Sequence

import torch
from torch import Tensor

EPSILON = 1e-7


def norm(x: Tensor, dims: Sequence[int]) -> Tensor:
    return x.square().sum(tuple(dims), keepdim=True).sqrt()


@torch.no_grad()
def max_norm(x: Tensor, limit: float = 2.0, dims: Sequence[int] = (1,)) -> None:
    """Vectors that are longer become as long as the limit."""
    length = norm(x, dims)
    x.mul_(length.clamp(0, limit) / (EPSILON + length))


@torch.no_grad()
def min_max_norm(
    x: Tensor, least: float = 0.0, most: float = 1.0, rate: float = 1.0, dims: Sequence[int] = (1,)
) -> None:
    """Vectors are brought between two lengths, a part of the way (`rate`) at each update."""
    length = norm(x, dims)
    x.mul_((rate * length.clamp(least, most) + (1 - rate) * length) / (EPSILON + length))


@torch.no_grad()
def unit_norm(x: Tensor, dims: Sequence[int] = (1,)) -> None:
    x.div_(EPSILON + norm(x, dims))


@torch.no_grad()
def non_negative(x: Tensor) -> None:
    x.clamp_(min=0)
