"""What a block does to the size of an image that goes through it."""

from __future__ import annotations

from collections.abc import Sequence

from converters.arrangement import keras_shape
from converters.graph import Value


def difference(before: int | None, after: int | None) -> int | None:
    return after - before if before is not None and after is not None else None


def shrinking(before: Value, after: Value) -> int | None:
    """By what the height and width of an image are divided, rounded; None where that is not one number."""
    pairs = _sizes(before, after)
    if not pairs:
        return None
    return next((n for n in range(1, 9) if all(made in (size // n, -(-size // n)) for size, made in pairs)), None)


def rounds_up(ends: Sequence[tuple[Value, Value]]) -> bool:
    """Whether sizes that cannot be divided are there, and all are rounded up."""
    found = False
    for before, after in ends:
        ratio, pairs = shrinking(before, after), _sizes(before, after)
        if None in before.sizes[1:] or ratio is None or any(made != -(-size // ratio) for size, made in pairs):
            return False
        found = found or any(size % ratio for size, _ in pairs)
    return found


def _sizes(before: Value, after: Value) -> list[tuple[int, int]]:
    """Height and width of an image, before and after; none where they are not known."""
    if before.rank != 4 or after.rank != 4:
        return []
    pairs = list(zip(_extent(before), _extent(after), strict=True))
    return [(size, made) for size, made in pairs if size and made] if all(map(all, pairs)) else []


def _extent(image: Value) -> tuple[int | None, ...]:
    """Height and width; where they are dynamic, those that lowering tried."""
    shapes = image.tried or (image.sizes,)
    return tuple(size for shape in shapes for size in keras_shape(image.arrangement, shape)[1:3])
