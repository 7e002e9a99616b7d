"""Evenly spaced numbers between tensors: torch.linspace takes numbers only."""

import torch
from torch import Tensor


def linspace(start: Tensor, stop: Tensor, num: int, endpoint: bool = True) -> Tensor:
    """`num` steps from start to stop, in a new first axis."""
    start, stop = torch.broadcast_tensors(start, stop)
    steps = torch.arange(num, dtype=start.dtype, device=start.device).reshape(-1, *[1] * start.ndim)
    return start + steps * ((stop - start) / max(num - endpoint, 1))


def geomspace(start: Tensor, stop: Tensor, num: int, endpoint: bool = True) -> Tensor:
    """`num` steps, each by the same factor, from start to stop, which have one sign."""
    return start.sign() * linspace(start.abs().log(), stop.abs().log(), num, endpoint).exp()


def vander(x: Tensor, columns: int, increasing: bool = False) -> Tensor:
    """The powers of each element, (N, columns); torch.vander has no gradient from the third on."""
    powers = torch.arange(columns, dtype=x.dtype, device=x.device)
    return x.unsqueeze(-1) ** (powers if increasing else powers.flip(0))
