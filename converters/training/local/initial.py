"""Initial values as Keras draws them, where torch.nn.init has no function for them. All of them work in place."""

import torch
from torch import Tensor


@torch.no_grad()
def truncated_normal(x: Tensor, std: float, mean: float = 0.0) -> Tensor:
    """A normal distribution without what is further out than two standard deviations."""
    return torch.nn.init.trunc_normal_(x, mean, std, mean - 2 * std, mean + 2 * std)


@torch.no_grad()
def forget_gate_bias(x: Tensor) -> Tensor:
    """The bias of an LSTM: zero, and one for the forget gate, the second of four."""
    x.zero_()
    x[len(x) // 4 : len(x) // 2] = 1
    return x
