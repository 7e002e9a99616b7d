"""Ops that join tensors, or take one apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from converters.arrangement import AS_WRITTEN, AXIS, Arrangement, Flat, Perm, as_written, positive
from converters.graph import Value, values
from converters.layer import LayerHandle
from converters.layers.merging import JOINED, concatenate
from converters.ops.operands import (
    array_of,
    laid_out,
    operands,
    perm_of,
    promoted,
    tensor,
    with_axes,
    without_axes,
    write,
)  # fmt: skip
from converters.registry import converts

Sections = int | tuple[int, ...]


def PARTS(inputs: Sequence[Any], config: Mapping[str, Any]) -> list[Arrangement]:
    """As the Concatenate layer has it; without an axis, the order of Keras."""
    if config.get("axis") is None or any(x.rank != inputs[0].rank for x in inputs):
        return AS_WRITTEN(inputs, config)
    return JOINED(inputs, config)


PARTS.follows = True  # type: ignore[attr-defined]  # an image before it may be channels first


@converts("ops.Concatenate", layout=PARTS)
def concatenation(layer: LayerHandle, xs: Sequence[Any], *, axis: int | None = 0) -> Value:
    """Types of numbers are promoted, as in Keras."""
    if len(values(list(xs))) == len(xs) and axis is not None:
        return concatenate(layer, xs, axis=axis)  # type: ignore[no-any-return]  # one value
    if axis is None:
        return write(layer, "torch.cat", [_row(layer, x, f"part{i}") for i, x in enumerate(xs)]).arranged(as_written(1))
    return _joined(layer, xs, axis)


@converts("ops.Append", layout=PARTS)
def append(layer: LayerHandle, x1: Any, x2: Any, *, axis: int | None = None) -> Value:
    return concatenation(layer, [x1, x2], axis=axis)  # type: ignore[no-any-return]  # one value


@converts("ops.Hstack", "ops.Vstack", "ops.Dstack", layout=AS_WRITTEN)
def stack_along(layer: LayerHandle, xs: Sequence[Any]) -> Value:
    """Joined along axis 1, 0 or 2."""
    axis = {"Hstack": 1, "Vstack": 0, "Dstack": 2}[layer.class_name]
    parts = [tensor(layer, array_of(x), f"part{i}") for i, x in enumerate(xs)]
    if layer.class_name == "Dstack":
        parts = [write(layer, "torch.atleast_3d", x) if x.rank < 3 else x for x in parts]
    axis = min(axis, parts[0].rank - 1)
    return write(layer, "torch.cat", parts, dim=axis).arranged(as_written(parts[0].rank))


def _row(layer: LayerHandle, x: Any, role: str) -> Value:
    """All elements in a row."""
    part = tensor(layer, array_of(x), role)
    return write(layer, "flatten", part).arranged(as_written(1)) if part.rank > 1 else part


def _joined(layer: LayerHandle, xs: Sequence[Any], axis: int) -> Value:
    """Tensors and arrays side by side. Arrays are laid out as the tensors are."""
    like = values(list(xs))[0]
    if isinstance(like.arrangement, Flat):
        like = layer.coerce(like, as_written(like.rank))
    parts: list[Value] = []
    for number, x in enumerate(xs):
        if isinstance(x, Value):
            parts.append(layer.coerce(x, like.arrangement))
        else:
            array = laid_out(np.asarray(x), like)
            parts.append(layer.constant(f"part{number}", array.reshape(*[1] * (like.rank - array.ndim), *array.shape)))
    return write(layer, "torch.cat", parts, dim=layer.axis(like, axis)).arranged(like.arrangement)


@converts("ops.Stack", layout=AXIS)
def stack(layer: LayerHandle, x: Sequence[Any], *, axis: int = 0) -> Value:
    """A new axis, which lies where it breaks no order; numbers are stacked as tensors of their own."""
    parts = [
        tensor(layer, v, f"part{i}")
        for i, v in enumerate(operands(layer, *x, roles=[f"part{i}" for i in range(len(x))]))
    ]
    like = values(list(x))[0]
    new = positive(axis, like.rank + 1)
    names = [a for a in range(like.rank + 1) if a != new]
    order, _ = with_axes([names[a] for a in perm_of(parts[0])], [new])
    return write(layer, "torch.stack", promoted(layer, parts), dim=order.index(new)).arranged(Perm(order))


@converts("ops.Split", "ops.ArraySplit", layout=AXIS)
def split(layer: LayerHandle, x: Value, *, indices_or_sections: Sections, axis: int = 0) -> list[Value]:
    return split_along(layer, x, indices_or_sections, axis)


@converts("ops.Hsplit", "ops.Vsplit", "ops.Dsplit", layout=AXIS)
def split_named(layer: LayerHandle, x: Value, *, indices_or_sections: Sections) -> list[Value]:
    axis = {"Hsplit": 1, "Vsplit": 0, "Dsplit": 2}[layer.class_name]
    return split_along(layer, x, indices_or_sections, min(axis, x.rank - 1))


def split_along(layer: LayerHandle, x: Value, sections: Sections, axis: int) -> list[Value]:
    """Equal parts, or the parts between places."""
    dim = layer.axis(x, axis)
    size = x.sizes[dim]
    if isinstance(sections, int) and size is not None and size % sections == 0:
        return list(layer.method("chunk", x, sections, dim=dim))
    return list(layer.method("tensor_split", x, sections, dim=dim))


@converts("ops.Unstack", layout=AXIS)
def unstack(layer: LayerHandle, x: Value, *, num: int | None = None, axis: int = 0) -> list[Value]:
    """One tensor for each place along an axis."""
    at = positive(axis, x.rank)
    return [y.arranged(without_axes(x, [at])) for y in layer.method("unbind", x, layer.axis(x, at))]


@converts("ops.Meshgrid", layout=AS_WRITTEN)
def meshgrid(layer: LayerHandle, *x: Any, indexing: str = "xy") -> list[Value]:
    parts = [_row(layer, v, f"part{i}") for i, v in enumerate(x)]
    grids = layer.function("torch.meshgrid", *parts, indexing=indexing)
    return [grid.arranged(as_written(len(parts))) for grid in grids]
