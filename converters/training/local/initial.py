"""Initial values as Keras draws them. All functions work in place."""

import torch
from torch import Tensor
from torch.nn import init

TRUNCATED = 0.87962566103423978  # the standard deviation of a normal distribution that ends at 2


@torch.no_grad()
def truncated_normal(x: Tensor, std: float, mean: float = 0.0) -> Tensor:
    """A normal distribution without what is further out than two standard deviations."""
    return init.trunc_normal_(x, mean, std, mean - 2 * std, mean + 2 * std)


@torch.no_grad()
def variance_scaling(
    x: Tensor, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal"
) -> Tensor:
    """Values with the variance scale / fan. `mode`: `fan_in`, `fan_out`, or `fan_avg`, their mean."""
    fan_in, fan_out = x[0].numel(), x[:, 0].numel()
    std = (scale / {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]) ** 0.5
    if distribution == "uniform":
        return init.uniform_(x, -(3**0.5) * std, 3**0.5 * std)
    if distribution == "truncated_normal":
        return truncated_normal(x, std / TRUNCATED)
    return init.normal_(x, 0.0, std)


@torch.no_grad()
def forget_gate_bias(x: Tensor) -> Tensor:
    """The bias of an LSTM: zero, and one for the forget gate, the second of four."""
    x.zero_()
    x[len(x) // 4 : len(x) // 2] = 1
    return x
