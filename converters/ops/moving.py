"""Ops that turn, repeat, pad or cut out elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from converters.arrangement import AS_WRITTEN, AXIS, Perm, as_written, positive
from converters.graph import Value
from converters.layer import LayerHandle, compact
from converters.ops.operands import Axis, array_of, perm_of, tensor, write
from converters.ops.shaping import inserted
from converters.registry import converts

Sizes = int | tuple[int, ...]


@converts("ops.Flip", "ops.Fliplr", "ops.Flipud", layout=AXIS)
def flip(layer: LayerHandle, x: Value, *, axis: Axis = None) -> Value:
    axis = {"Fliplr": 1, "Flipud": 0}.get(layer.class_name, axis)
    dims = layer.axes(x, axis)
    return write(layer, "flip", x, dims[0] if len(dims) == 1 else dims)


@converts("ops.Rot90", layout=AXIS)
def rot90(layer: LayerHandle, array: Value, *, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Value:
    """A turn swaps the sizes of two axes; they keep their numbers."""
    first, second = (layer.axis(array, a) for a in axes)
    if k % 4 == 2 and array.sizes[first] != array.sizes[second]:
        layer.unsupported("k=2 of sides that differ, which Keras scrambles on TensorFlow", "flip both axes in Keras")
    return write(layer, "rot90", array, k, (first, second)) if k % 4 else array


@converts("ops.Roll", layout=AXIS)
def roll(layer: LayerHandle, x: Value, *, shift: Sizes, axis: Axis = None) -> Value:
    """Without an axis, all elements in a row, in the order of Keras."""
    if axis is None:
        return write(layer, "roll", layer.coerce(x, as_written(x.rank)), shift)
    dims = layer.axis(x, axis) if isinstance(axis, int) else tuple(layer.axis(x, a) for a in axis)
    return write(layer, "roll", x, shift, dims)


@converts("ops.Tile", layout=AXIS)
def tile(layer: LayerHandle, x: Value, *, repeats: Sizes) -> Value:
    """Fewer numbers than axes are those of the last ones; more add axes in front."""
    counts = [repeats] if isinstance(repeats, int) else list(repeats)
    counts = [1] * (x.rank - len(counts)) + counts
    if len(counts) > x.rank:
        x = inserted(layer, x, range(len(counts) - x.rank))
    return write(layer, "repeat", x, *(counts[axis] for axis in perm_of(x)))


@converts("ops.Repeat", layout=AXIS)
def repeat(layer: LayerHandle, x: Value, *, repeats: Sizes, axis: int | None = None) -> Value:
    """Each element as often as it says, one behind the other."""
    options: dict[str, Any] = {"dim": layer.axis(x, axis)} if axis is not None else {}
    if axis is None:
        x = layer.coerce(x, as_written(x.rank))
    counts: Any = compact(repeats) if isinstance(repeats, tuple) else repeats
    if isinstance(counts, tuple):
        options["output_size"] = sum(counts)
        counts = layer.constant("repeats", np.asarray(counts))
    y = write(layer, "repeat_interleave", x, counts, **options)
    return y if axis is not None else y.arranged(as_written(1))


@converts("ops.Pad", layout=AXIS)
def pad(
    layer: LayerHandle,
    x: Value,
    constant_values: Any = None,
    *,
    pad_width: Any,
    mode: Literal["constant", "reflect", "symmetric", "CONSTANT", "REFLECT", "SYMMETRIC"] = "constant",
) -> Value:
    """F.pad wants the last axis first. It reflects the spatial axes only, and knows no `symmetric`."""
    pairs = _pairs(pad_width, x.rank)
    widths = [pairs[axis] for axis in perm_of(x)]
    value = array_of(constant_values)
    if isinstance(value, Value):
        layer.unsupported("the value that it pads with is computed", "give it as a number in Keras")
    while len(widths) > 1 and not any(widths[0]):
        widths.pop(0)
    flat = tuple(width for pair in reversed(widths) for width in pair)
    if mode.lower() == "constant":
        return write(layer, "F.pad", x, flat, **({"value": value} if value else {}))
    if mode.lower() == "reflect" and 3 <= x.rank <= 5 and len(widths) <= x.rank - 2:
        full = (*flat, *(0,) * (2 * (x.rank - 2) - len(flat)))
        return write(layer, "F.pad", x, full, mode="reflect")
    return write(layer, "local.pad_mirrored", x, flat, *([False] if mode.lower() == "symmetric" else []))


def _pairs(width: Any, rank: int) -> list[tuple[int, int]]:
    """(before, after) of each axis; one number or one pair counts for all."""
    if isinstance(width, int):
        return [(width, width)] * rank
    if len(width) == 1:
        width = width * rank
    if len(width) == 2 and all(isinstance(w, int) for w in width):
        width = (width,) * rank
    return [(w, w) if isinstance(w, int) else (w[0], w[-1]) for w in width]


@converts("ops.Tril", "ops.Triu", layout=AS_WRITTEN)
def triangle(layer: LayerHandle, x: Value, *, k: int = 0) -> Value:
    """Of the matrices in the last two axes, the part below (above) a diagonal; the rest is zero."""
    return write(layer, layer.class_name.lower(), x, *([k] if k else []))


@converts("ops.Diagonal", "ops.Trace", layout=AXIS)
def diagonal(layer: LayerHandle, x: Value, *, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Value:
    """The diagonal becomes the last axis; the trace is its sum."""
    pair = [positive(axis1, x.rank), positive(axis2, x.rank)]
    kept = [axis for axis in perm_of(x) if axis not in pair]
    y = write(layer, "diagonal", x, offset, *(layer.axis(x, a) for a in pair))
    names = {axis: number for number, axis in enumerate(sorted(kept))}
    if layer.class_name == "Trace":
        return write(layer, "sum", y, dim=-1).arranged(Perm(tuple(names[a] for a in kept)))
    return y.arranged(Perm((*(names[a] for a in kept), len(kept))))


@converts("ops.Diag", layout=AS_WRITTEN)
def diag(layer: LayerHandle, x: Value, *, k: int = 0) -> Value:
    y = write(layer, "diag", x, *([k] if k else []))
    return y.arranged(as_written(y.rank))


@converts("ops.Diagflat", layout=AS_WRITTEN)
def diag_flat(layer: LayerHandle, x: Value, *, k: int = 0) -> Value:
    return write(layer, "torch.diagflat", x, *([k] if k else [])).arranged(as_written(2))


@converts("ops.Slice", layout=AXIS)
def cut(layer: LayerHandle, inputs: Value, start_indices: Any, *, shape: Sequence[int]) -> Value:
    """A block of a given shape; -1 takes all that is left."""
    starts = _starts(layer, start_indices)
    slices = [slice(a or None, a + n if n != -1 else None) for a, n in zip(starts, shape, strict=True)]
    full = [slice(None) if s == slice(None, n) else s for s, n in zip(slices, inputs.keras_shape, strict=True)]
    return layer.index(inputs, *(full[axis] for axis in perm_of(inputs)))  # type: ignore[no-any-return]  # one value


@converts("ops.SliceUpdate", layout=AXIS)
def slice_update(layer: LayerHandle, inputs: Value, start_indices: Any, updates: Any) -> Value:
    """The tensor with a block of it replaced."""
    starts = _starts(layer, start_indices)
    block = tensor(layer, array_of(updates), "updates")
    block = layer.coerce(block, inputs.arrangement)
    return write(layer, "local.with_block", inputs, block, tuple(starts[axis] for axis in perm_of(inputs)))


def _starts(layer: LayerHandle, start_indices: Any) -> list[int]:
    starts = array_of(start_indices)
    if not isinstance(starts, np.ndarray):
        layer.unsupported("the place that it cuts at is computed", "give it as numbers in Keras")
    return [int(start) for start in starts]
