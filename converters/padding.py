"""The arithmetic of Keras' padding, per spatial axis. `same` puts the odd cell at the end (right, bottom)."""

from __future__ import annotations

from collections.abc import Sequence

Pair = tuple[int, int]


def same(size: int, kernel: int, stride: int, dilation: int = 1) -> Pair:
    """Cells before and after one axis under `same`: ceil(size / stride) outputs."""
    reach = (kernel - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def same_of(
    sizes: Sequence[int | None], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[Pair] | None:
    """`same` of every axis, or None where it depends on a size that is only known at run time."""
    pairs = []
    for size, k, s, d in zip(sizes, kernel, stride, dilation, strict=True):
        if size is None and s > 1:
            return None
        pairs.append(same(size or 1 << 20, k, s, d))  # at stride 1 the size does not matter
    return pairs


def symmetric(pairs: Sequence[Pair]) -> tuple[int, ...] | None:
    """The width of each axis if both sides are alike: what a `padding=` argument can say."""
    return tuple(before for before, _ in pairs) if all(before == after for before, after in pairs) else None


def for_pad(pairs: Sequence[Pair]) -> tuple[int, ...]:
    """Widths in the order of `F.pad`: the last axis first."""
    return tuple(width for pair in reversed(pairs) for width in pair)


def transposed(kernel: int, stride: int, padding: str, output_padding: int | None, dilation: int) -> Pair:
    """(cells to cut on both sides, cells to cut in all; negative: to add at the end) of a transposed convolution.

    Unpadded it gives (size - 1) * stride + reach cells. Keras wants, for `valid`, (size - 1) * stride +
    max(reach, stride); for `same`, size * stride; with output_padding, (size - 1) * stride + reach (`same`:
    reach % 2) + output_padding. The difference does not depend on the size.
    """
    reach = (kernel - 1) * dilation + 1
    if padding == "valid":
        return 0, -(max(stride - reach, 0) if output_padding is None else output_padding)
    total = reach - (stride if output_padding is None else reach % 2 + output_padding)
    return max(total, 0) // 2, total
