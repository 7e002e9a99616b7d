"""Noise in training that PyTorch has no module for."""

import torch
from torch import Tensor, nn


class GaussianNoise(nn.Module):
    """Adds normal noise in training."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, x: Tensor) -> Tensor:
        return x + self.std * torch.randn_like(x) if self.training else x


class GaussianDropout(nn.Module):
    """Multiplies by normal noise of mean 1 in training; its spread is that of Dropout at this rate."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.std = (rate / (1 - rate)) ** 0.5

    def forward(self, x: Tensor) -> Tensor:
        return x * (1 + self.std * torch.randn_like(x)) if self.training else x


class SharedDropout(nn.Module):
    """Dropout that decides once for all elements along `shared` axes."""

    def __init__(self, rate: float, shared: tuple[int, ...]) -> None:
        super().__init__()
        self.rate, self.shared = rate, shared

    def forward(self, x: Tensor) -> Tensor:
        sizes = [1 if axis in self.shared else size for axis, size in enumerate(x.shape)]
        return x * nn.functional.dropout(x.new_ones(sizes), self.rate) if self.training else x


class SampleDropout(nn.Dropout):
    """Dropout of whole samples, as of the residual branch of a network with stochastic depth."""

    def forward(self, x: Tensor) -> Tensor:
        return x * super().forward(x.new_ones(x.shape[0], *[1] * (x.ndim - 1))) if self.training else x


class StochasticDepth(nn.Module):
    """Drops all of a sample in training, with probability `rate`; what stays is scaled up."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        keep = 1 - self.rate
        drawn = torch.rand((x.shape[0],) + (1,) * (x.ndim - 1), dtype=x.dtype, device=x.device)
        return x / keep * (drawn + keep).floor()
