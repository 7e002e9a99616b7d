"""Padding with what is inside, and blocks that are replaced."""

import torch
import torch.nn.functional as F
from torch import Tensor


def pad_mirrored(x: Tensor, widths: tuple[int, ...], reflect: bool = True) -> Tensor:
    """Mirrors the ends of any axes; `reflect` does not repeat the element at the edge. `widths` as in F.pad."""
    for number in range(len(widths) // 2):
        before, after = widths[2 * number : 2 * number + 2]
        dim, edge = x.ndim - 1 - number, int(reflect)
        size = x.shape[dim]
        front = x.narrow(dim, edge, before).flip(dim)
        back = x.narrow(dim, size - edge - after, after).flip(dim)
        x = torch.cat((front, x, back), dim=dim)
    return x


def with_block(x: Tensor, block: Tensor, starts: tuple[int, ...]) -> Tensor:
    """A copy of x with `block` written into it, its first element at `starts`."""
    ends = [size - start - taken for size, start, taken in zip(x.shape, starts, block.shape, strict=True)]
    around = [width for sides in reversed(list(zip(starts, ends, strict=True))) for width in sides]
    inside = F.pad(torch.ones_like(block, dtype=torch.bool), around)
    return torch.where(inside, F.pad(block, around), x)
