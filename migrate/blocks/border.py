"""What a block does to the size of an image that goes through it."""

from __future__ import annotations

from converters.arrangement import keras_shape
from converters.graph import Value


def difference(before: int | None, after: int | None) -> int | None:
    return after - before if before is not None and after is not None else None


def shrinking(before: Value, after: Value) -> int | None:
    """By what the height and width of an image are divided, rounded; None where that is not one number."""
    if before.rank != 4 or after.rank != 4:
        return None
    sizes, new = _extent(before), _extent(after)
    if not all((*sizes, *new)):
        return None
    pairs = [(int(size or 0), made) for size, made in zip(sizes, new, strict=True)]
    return next((n for n in range(1, 9) if all(made in (size // n, -(-size // n)) for size, made in pairs)), None)


def _extent(image: Value) -> tuple[int | None, ...]:
    """Height and width; where they are dynamic, those that lowering tried."""
    shapes = image.tried or (image.sizes,)
    return tuple(size for shape in shapes for size in keras_shape(image.arrangement, shape)[1:3])
