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


class StochasticDepth(nn.Dropout):
    """Drops whole samples in training, each with probability `p`, and scales up what stays."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        keep = x.new_empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_(1 - self.p)
        return x * keep / (1 - self.p)
