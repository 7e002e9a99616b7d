"""Blocks of pixels and channels, in Keras' order of channels."""

import torch.nn.functional as F
from torch import Tensor


def depth_to_space(x: Tensor, block: int) -> Tensor:
    """(N, b * b * C, H, W) -> (N, C, b * H, b * W). F.pixel_shuffle would read the channels as (C, b, b)."""
    x = x.unflatten(1, (block, block, -1))
    return x.permute(0, 3, 4, 1, 5, 2).flatten(4, 5).flatten(2, 3)


def space_to_depth(x: Tensor, block: int) -> Tensor:
    """(N, C, b * H, b * W) -> (N, b * b * C, H, W), the inverse."""
    x = x.unflatten(3, (-1, block)).unflatten(2, (-1, block))
    return x.permute(0, 3, 5, 1, 2, 4).flatten(1, 3)


def extract_patches(
    x: Tensor, size: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int] = (1, 1)
) -> Tensor:
    """(N, C, H, W) -> (N, kh * kw * C, rows, columns); F.unfold has the order (C, kh, kw)."""
    rows, columns = (
        (n - (k - 1) * d - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], size, stride, dilation, strict=True)
    )
    patches = F.unfold(x, size, dilation=dilation, stride=stride).unflatten(1, (x.shape[1], -1))
    return patches.transpose(1, 2).flatten(1, 2).unflatten(2, (rows, columns))
