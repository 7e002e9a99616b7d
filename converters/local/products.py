"""Products of rows, and products that slide."""

import torch.nn.functional as F
from torch import Tensor


def correlation(x: Tensor) -> Tensor:
    """The correlation of each row with each other."""
    x = x - x.mean(dim=-1, keepdim=True)
    covariance = x @ x.mT
    spread = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    return (covariance / (spread[..., :, None] * spread[..., None, :])).clamp(-1, 1)


def correlate(x: Tensor, y: Tensor, mode: str) -> Tensor:
    """The product of two vectors at every shift: where they overlap whole, in part, or as long as the longer one."""
    last = len(y) - 1
    if mode == "valid":
        return F.conv1d(x[None], y[None, None])[0]
    full = F.conv1d(x[None], y[None, None], padding=last)[0]
    if mode == "full":
        return full
    size = max(len(x), len(y))
    return full.narrow(0, (len(full) - size) // 2, size)
