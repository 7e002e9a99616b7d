"""Keras' `same` where sizes are known at run time only."""

import torch
import torch.nn.functional as F
from torch import Tensor


def pad_same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], value: float = 0.0) -> Tensor:
    """Pads the spatial axes of (N, C, ...) for ceil(size / stride) outputs of a window; the odd cell goes last."""
    widths: list[int] = []
    for size, k, s in reversed(list(zip(x.shape[2:], kernel, stride, strict=True))):
        total = torch.sym_max((-(-size // s) - 1) * s + k - size, 0)
        widths += [total // 2, total - total // 2]
    return F.pad(x, widths, value=value)


def pad_image(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Pads (N, C, H, W) for ceil(size / stride) outputs of kernels no smaller than strides; the odd cell goes last."""
    height, width = (kernel - stride + -size % stride for size in x.shape[2:])
    return F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))


def average_pool_same(x: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
    """Average pooling of (N, C, ...) under Keras' `same`: cells that are added do not count."""
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
    inside = pad_same(torch.ones_like(x[:1, :1]), kernel, stride)
    return pool(pad_same(x, kernel, stride), kernel, stride) / pool(inside, kernel, stride)


def max_pool_same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """Max pooling of (N, C, H, W) to ceil(size / stride): an odd cell is added at the bottom and right."""
    height, width = (kernel - stride + -size % stride for size in x.shape[2:])
    pad = (width // 2, width - width // 2, height // 2, height - height // 2)
    return F.max_pool2d(F.pad(x, pad, value=float("-inf")), kernel, stride)
