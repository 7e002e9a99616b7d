"""Shapes in prose, for docstrings and comments."""

from __future__ import annotations

from collections.abc import Iterator

from converters.graph import Value
from migrate.lower.pen import BATCH_SIZES, SEQUENCE_SIZES, SPATIAL_SIZES

Sizes = tuple[int, ...]
SHRINKS_AT_MOST = 64
GROWS_AT_MOST = 16
ATTENTION = 4  # the rank of a mask of heads, queries and keys
CUT_AT_MOST = 15  # less than what sizes that are tried differ by


def shape_text(value: Value) -> str:
    """(N, 3, H / 2, W / 2): a letter for each dynamic size, and how far it is from that of the input."""
    if value.dtype == "size" or value.shape is None:
        return ""
    sizes = [str(size) if size is not None else _open(value, axis) for axis, size in enumerate(value.shape)]
    return f"({', '.join(sizes)})"


def _open(value: Value, axis: int) -> str:
    letter = _letter(value, axis)
    if axis == 0 or not value.tried:
        return letter
    tried = tuple(shape[axis] or 0 for shape in value.tried)
    if tried == BATCH_SIZES and tried != tuple(shape[0] for shape in value.tried):
        return "N"  # that of the samples is moved here
    found = (
        f"{letter}{text}" for base in _bases(letter, value.rank) for change in CHANGES for text in change(base, tried)
    )
    return next(found, f"{letter}'")


def _bases(letter: str, rank: int) -> tuple[Sizes, ...]:
    """What lowering tries for this axis of an input: of one with its channels first, of one as Keras has it."""
    if letter not in "DHW":
        return SEQUENCE_SIZES[:1]
    place = "DHW"[5 - rank :].index(letter)
    return SPATIAL_SIZES[place + 1], SPATIAL_SIZES[place]


def _same(base: Sizes, now: Sizes) -> Iterator[str]:
    if now == base:
        yield ""


def _halved(base: Sizes, now: Sizes) -> Iterator[str]:
    """By a power of two, rounded up or down."""
    for n in (2, 4, 8, 16, 32, 64):
        if all(size in (before // n, -(-before // n)) for size, before in zip(now, base, strict=True)):
            yield f" / {n}"


def _shrunk(base: Sizes, now: Sizes) -> Iterator[str]:
    for n in range(2, SHRINKS_AT_MOST):
        if now == tuple(-(-size // n) for size in base):
            yield f" / {n}"


def _grown(base: Sizes, now: Sizes) -> Iterator[str]:
    for n in range(2, GROWS_AT_MOST):
        if now == tuple(size * n for size in base):
            yield f" * {n}"


def _cut(base: Sizes, now: Sizes) -> Iterator[str]:
    moved = {size - before for size, before in zip(now, base, strict=True)}
    if len(moved) == 1 and abs(by := moved.pop()) <= CUT_AT_MOST:
        yield f" {'+' if by > 0 else '-'} {abs(by)}"


# What was done to a size that was once `base` and is `now`, for the two that were tried; the plainest first.
CHANGES = (_same, _halved, _shrunk, _grown, _cut)


def _letter(value: Value, axis: int) -> str:
    if axis == 0:
        return "N"
    if value.rank == ATTENTION and value.dtype == "bool":
        return "NHTS"[axis]
    keras = getattr(value.arrangement, "axes", tuple(range(value.rank)))[axis]
    if value.rank in (4, 5):
        return "DHWC"[(5 - value.rank) + keras - 1] if keras < value.rank - 1 else "C"
    return "TSUV"[min(keras - 1, 3)]
