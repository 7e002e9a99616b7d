"""Expressions as json, as they stand in migration.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converters.errors import UserError
from converters.weights.expressions import (
    Concat,
    Constant,
    Flip,
    Leaf,
    Reshape,
    Slice,
    Transpose,
    Weight,
    concat,
    constant,
)


def to_json(weight: Weight) -> list[Any]:
    """A weight expression as nested lists: ["transpose", [1, 0], ["leaf", "layers/dense/vars/0"]]."""
    match weight:
        case Leaf(key=key):
            return ["leaf", key, list(weight.shape), weight.dtype]
        case Constant(value=value):
            return ["constant", value, list(weight.shape), weight.dtype]
        case Transpose(base=base, axes=axes):
            return ["transpose", list(axes), to_json(base)]
        case Reshape(base=base, shape=shape):
            return ["reshape", list(shape), to_json(base)]
        case Slice(base=base, axis=axis, start=start, stop=stop):
            return ["slice", [axis, start, stop], to_json(base)]
        case Flip(base=base, axes=axes):
            return ["flip", list(axes), to_json(base)]
        case Concat(parts=parts, axis=axis):
            return ["concat", axis, *map(to_json, parts)]
    raise TypeError(f"not a weight expression: {weight!r}")


def from_json(data: Sequence[Any]) -> Weight:
    """The inverse of `to_json`."""
    match data:
        case ["leaf", str(key), shape, str(dtype)]:
            return Leaf(tuple(shape), dtype, key)
        case ["constant", value, shape, str(dtype)]:
            return constant(value, shape, dtype)
        case ["transpose", axes, base]:
            return from_json(base).transpose(*axes)
        case ["reshape", shape, base]:
            return from_json(base).reshape(*shape)
        case ["slice", [axis, start, stop], base]:
            return from_json(base).slice(axis, start, stop)
        case ["flip", axes, base]:
            return from_json(base).flip(*axes)
        case ["concat", axis, *parts]:
            return concat([from_json(part) for part in parts], axis)
    raise UserError(
        "a weight expression in migration.json cannot be read",
        expected="lists that start with leaf, constant, transpose, reshape, slice, flip or concat",
        found=repr(data)[:80],
        remedy="convert the model again",
    )
