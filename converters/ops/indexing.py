"""Ops that pick elements: by a key, by numbers, by position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from converters.arrangement import ANY, AS_WRITTEN, AXIS, Perm, as_written, positive
from converters.graph import Value
from converters.layer import LayerHandle
from converters.ops.elementwise import as_type
from converters.ops.operands import array_of, perm_of, tensor, with_axes, write
from converters.ops.shaping import moved, shortened
from converters.registry import converts


@converts("ops.GetItem", layout=AXIS)
def get_item(layer: LayerHandle, x: Value, key: Any) -> Value:
    """x[key]. The parts of the key follow their axes to where these lie in memory."""
    parts = full_key(layer, x, list(key) if isinstance(key, (list, tuple)) else [key])
    old = [i for i, part in enumerate(parts) if part is not None]
    kept = [i for i, part in enumerate(parts) if part is None or isinstance(part, slice)]
    names = {i: number for number, i in enumerate(kept)}
    y = x
    for dim, i in reversed([(dim, old[axis]) for dim, axis in enumerate(perm_of(x))]):
        part = parts[i]
        if isinstance(part, slice) and part.step is not None and part.step < 0:
            y, parts[i] = backwards(layer, y, dim, part)
    physical = [old[axis] for axis in perm_of(x)]
    staying = [i for i in physical if i in names]
    order, sources = with_axes([names[i] for i in staying], [names[i] for i, p in enumerate(parts) if p is None])
    entries = _merged(physical, staying, parts, sources)
    if any(entry != slice(None) for entry in entries):
        y = layer.index(y, *shortened(entries))
    return y.arranged(Perm(order))


def _merged(physical: list[int], staying: list[int], parts: list[Any], sources: list[int | None]) -> list[Any]:
    """The key in physical order: new axes where `sources` is None, numbers where their axis lies."""
    entries: list[Any] = []
    waiting = list(physical)
    for source in sources:
        if source is None:
            entries.append(None)
            continue
        while waiting[0] != staying[source]:
            entries.append(parts[waiting.pop(0)])
        entries.append(parts[waiting.pop(0)])
    return [*entries, *(parts[i] for i in waiting)]


def full_key(layer: LayerHandle, x: Value, key: list[Any]) -> list[Any]:
    """One part for each Keras axis of `x`, and None for each new one."""
    if any(not (part is None or part is Ellipsis or isinstance(part, (int, slice))) for part in key):
        layer.unsupported("its key is computed or holds arrays", "use take or take_along_axis in Keras")
    if any(isinstance(p, slice) and any(isinstance(v, Value) for v in (p.start, p.stop, p.step)) for p in key):
        layer.unsupported("it slices at a place that is computed", "slice at fixed places in Keras")
    named = sum(part is not None and part is not Ellipsis for part in key)
    rest = [slice(None)] * (x.rank - named)
    at = next((i for i, part in enumerate(key) if part is Ellipsis), None)
    return [*key, *rest] if at is None else [*key[:at], *rest, *key[at + 1 :]]


def backwards(layer: LayerHandle, x: Value, dim: int, part: slice) -> tuple[Value, slice]:
    """A slice with a negative step, which PyTorch does not know: a flip, then a slice of what came out."""
    size = x.sizes[dim]
    flipped = write(layer, "flip", x, dim)
    if part.start is None and part.stop is None:
        return flipped, slice(None, None, -part.step if part.step != -1 else None)
    if size is None:
        layer.unsupported("it slices backwards along an axis of unknown size", "flip the axis in Keras, then slice")
    start, stop, step = part.indices(size)
    return flipped, slice(size - 1 - start or None, size - 1 - stop, -step if step != -1 else None)


@converts("ops.Take", layout=AXIS)
def take(layer: LayerHandle, x: Any, indices: Any, *, axis: int | None = None) -> Value:
    """Negative numbers count from the end. Without an axis, the elements in a row in the order of Keras."""
    x = tensor(layer, array_of(x), "table")
    if axis is None:
        x = layer.coerce(x, as_written(x.rank))
        x = write(layer, "flatten", x).arranged(as_written(1)) if x.rank > 1 else x
    at = positive(axis or 0, x.rank)
    dim = layer.axis(x, at)
    wanted = array_of(indices)
    if isinstance(wanted, (int, float)):
        wanted = int(wanted)
    if isinstance(wanted, np.ndarray):
        wanted = as_slice(wanted, x.sizes[dim])
    rank = wanted.rank if isinstance(wanted, Value) else np.ndim(wanted) if not isinstance(wanted, slice) else 1
    if not isinstance(wanted, (int, slice)):
        wanted = layer.coerce(tensor(layer, wanted, "indices"), as_written(rank))
        wanted = wanted if wanted.dtype in ("int32", "int64") else write(layer, "long", wanted)
    order: list[int] = []
    for a in perm_of(x):
        order += range(at, at + rank) if a == at else [a if a < at else a + rank - 1]
    key = [wanted if i == dim else slice(None) for i in range(dim + 1)]
    picked: Value = layer.index(x, *key)
    return picked.arranged(Perm(tuple(order)))


def as_slice(numbers: Any, size: int | None) -> Any:
    """Evenly spaced numbers as a slice, others as they are."""
    if numbers.ndim != 1 or not len(numbers) or numbers[0] < 0:
        return numbers
    steps = set(np.diff(numbers).tolist())
    if len(steps) > 1 or any(step <= 0 for step in steps):
        return numbers
    step = int(next(iter(steps), 1))
    stop = int(numbers[-1]) + 1
    return slice(int(numbers[0]) or None, stop if stop != size else None, step if step != 1 else None)


@converts("ops.TakeAlongAxis", layout=AXIS)
def take_along_axis(layer: LayerHandle, x: Any, indices: Any, *, axis: int | None = None) -> Value:
    x = tensor(layer, array_of(x), "table")
    places = tensor(layer, array_of(indices), "indices")
    if axis is None:
        x = write(layer, "flatten", layer.coerce(x, as_written(x.rank))).arranged(as_written(1))
    elif places.rank == x.rank:
        places = layer.coerce(places, x.arrangement)
    dim = layer.axis(x, axis or 0)
    x, places = (_spread(layer, a, b, dim) for a, b in ((x, places), (places, x)))
    return write(layer, "local.take_along_axis", x, places, dim).arranged(x.arrangement)


def _spread(layer: LayerHandle, x: Value, like: Value, dim: int) -> Value:
    """Axes of size 1 as long as those of the other tensor, all but one axis."""
    sizes = [-1] * x.rank
    for axis, (mine, theirs) in enumerate(zip(x.sizes, like.sizes, strict=True)):
        if axis != dim and mine == 1 and theirs != 1:
            sizes[axis] = layer.size(like, axis)
    return write(layer, "expand", x, *sizes).arranged(x.arrangement) if set(sizes) != {-1} else x


@converts("ops.OneHot", layout=ANY)
def one_hot(
    layer: LayerHandle, x: Value, *, num_classes: int, axis: int = -1, dtype: str | None = None, sparse: bool = False
) -> Value:
    """A number outside of the classes gives zeros, where F.one_hot raises an error."""
    if sparse:
        layer.unsupported("it makes a sparse tensor", "leave sparse=True out in Keras")
    x = layer.coerce(x, as_written(x.rank))
    hot = as_type(layer, write(layer, "local.one_hot", x, num_classes), dtype or "float32")
    rank = x.rank + 1
    to = positive(axis, rank)
    return layer.rename(hot, Perm(tuple(moved(rank, -1, to).index(a) for a in range(rank))))


@converts("ops.MultiHot", layout=AS_WRITTEN)
def multi_hot(
    layer: LayerHandle,
    inputs: Value,
    *,
    num_classes: int,
    axis: int = -1,
    dtype: str | None = None,
    sparse: bool = False,
) -> Value:
    """Ones at all the classes of a row of numbers."""
    if sparse or axis not in (-1, inputs.rank):
        layer.unsupported("multi_hot that is sparse or has its classes not last", "leave sparse and axis out in Keras")
    hot = write(layer, "any", write(layer, "local.one_hot", inputs, num_classes), dim=1 if inputs.rank > 1 else 0)
    return as_type(layer, hot, dtype or "float32").arranged(as_written(max(inputs.rank, 1)))


@converts("ops.ScatterUpdate", layout=AS_WRITTEN)
def scatter_update(
    layer: LayerHandle, inputs: Any, indices: Any, updates: Any, *, reduction: Literal["add"] | None = None
) -> Value:
    """Elements (or rows) at given places replaced, or added to."""
    given = zip((inputs, indices, updates), ("inputs", "indices", "updates"), strict=True)
    x, places, new = (tensor(layer, array_of(v), role) for v, role in given)
    return write(layer, "local.scatter", x, places, new, *([True] if reduction else [])).arranged(as_written(x.rank))


@converts("ops.Scatter", layout=AS_WRITTEN)
def scatter(layer: LayerHandle, indices: Any, values: Any, *, shape: Sequence[int]) -> Value:
    """Zeros with values at given places; what meets at one place is added."""
    places, new = tensor(layer, array_of(indices), "indices"), tensor(layer, array_of(values), "values")
    zeros = write(layer, "new_zeros", new, tuple(shape))
    return write(layer, "local.scatter", zeros, places, new, True).arranged(as_written(len(shape)))
