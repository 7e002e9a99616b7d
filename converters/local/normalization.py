"""Normalizations that PyTorch has in another form."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class UnscaledBatchNorm1d(nn.BatchNorm1d):
    """BatchNorm that learns an offset but no scale (Keras: scale=False): its weight stays 1."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(num_features, eps, momentum)
        self.weight.requires_grad_(False)


class UnscaledBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm that learns an offset but no scale (Keras: scale=False): its weight stays 1."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(num_features, eps, momentum)
        self.weight.requires_grad_(False)


class UnscaledBatchNorm3d(nn.BatchNorm3d):
    """BatchNorm that learns an offset but no scale (Keras: scale=False): its weight stays 1."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(num_features, eps, momentum)
        self.weight.requires_grad_(False)


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels of images (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class BatchNorm(nn.Module):
    """BatchNorm over axis 1 that keeps the biased variance of a batch, as Keras does; nn.BatchNorm: the unbiased."""

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, scale: bool = True, offset: bool = True
    ) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features)) if scale else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if offset else None
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        dims = [axis for axis in range(x.ndim) if axis != 1]
        var, mean = torch.var_mean(x, dims, correction=0, keepdim=True)
        with torch.no_grad():
            self.running_mean.lerp_(mean.flatten(), self.momentum)
            self.running_var.lerp_(var.flatten(), self.momentum)
        x = (x - mean) * torch.rsqrt(var + self.eps)
        if self.weight is not None:
            x = x * self.weight.view_as(mean)
        return x if self.bias is None else x + self.bias.view_as(mean)


class Normalization(nn.Module):
    """(x - mean) / deviation of the data that Keras saw in `adapt`. `shape` broadcasts against the input."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("variance", torch.ones(shape))
        self.register_buffer("count", torch.zeros((), dtype=torch.int32))  # of samples that they were computed of

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.variance.sqrt().clamp(min=1e-7)


class Denormalization(Normalization):
    """The inverse: mean + x * deviation."""

    def forward(self, x: Tensor) -> Tensor:
        return self.mean + x * self.variance.sqrt().clamp(min=1e-7)
