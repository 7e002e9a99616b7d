"""Ops that give the same elements other axes: nothing moves in memory until somebody needs an order."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from converters.arrangement import ANY, AS_WRITTEN, AXIS, Flat, Perm, as_written, positive
from converters.graph import Value
from converters.layer import LayerHandle
from converters.layers.reshaping import flatten, renamed, reshaped
from converters.ops.operands import Axis, keras_axes, perm_of, with_axes, without_axes, write
from converters.registry import converts


@converts("ops.Reshape", layout=ANY, reshapes=True)
def reshape(layer: LayerHandle, x: Value, *, newshape: int | tuple[int | None, ...]) -> Value:
    """The first size is the batch's wherever the others leave room for nothing else."""
    sizes = [-1 if size is None else size for size in ((newshape,) if isinstance(newshape, int) else newshape)]
    if sizes.count(-1) > 1 and sizes[0] == -1:
        return _several_unknown(layer, x, sizes[1:])
    rest, own = sizes[1:], x.sizes[1:]
    known = x.rank > 0 and None not in own and -1 not in rest
    if sizes[0] == -1 and rest and known and prod(rest) == prod(int(s or 0) for s in own):
        return behind_batch(layer, x, rest)
    x = layer.coerce(x, as_written(x.rank))
    return write(layer, "reshape", x, *sizes).arranged(as_written(len(sizes)))


@converts("ops.DynamicReshape", layout=AS_WRITTEN, reshapes=True)
def dynamic_reshape(layer: LayerHandle, x: Value, sizes: Sequence[Any]) -> Value:
    """No op of Keras: sizes that functions of TensorFlow take from tensors at run time."""
    return write(layer, "reshape", x, *sizes).arranged(as_written(len(sizes)))


def _several_unknown(layer: LayerHandle, x: Value, rest: list[int]) -> Value:
    """The batch, and one more size that Keras knows at run time only: that of an axis that stays."""
    if rest.count(-1) > 1:
        layer.unsupported(f"it reshapes to {[-1, *rest]}, with several unknown sizes", "state all but one in Keras")
    return behind_batch(layer, x, rest)


def behind_batch(layer: LayerHandle, x: Value, sizes: list[int]) -> Value:
    """A reshape that leaves the batch alone. Axes that only merge or split where they lie need no permute."""
    if len(sizes) == 1 and x.rank > 2 and sizes[0] != -1:
        return flatten(layer, x)  # type: ignore[no-any-return]  # one value
    if isinstance(x.arrangement, Flat) or x.arrangement.is_as_written:
        return reshaped(layer, x, sizes)
    plan = _in_place(x, sizes)
    if plan is None:
        return reshaped(layer, x, sizes)
    order, axes = plan
    x = layer.coerce(x, Perm(order))
    return regrouped(layer, x, [sizes[axis - 1] for axis in axes[1:]]).arranged(Perm(axes))


def regrouped(layer: LayerHandle, x: Value, sizes: list[int]) -> Value:
    """A reshape behind the batch in the words that say what happens: flatten or unflatten, where that is all."""
    old, new = list(x.sizes[1:]), sizes
    at = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)) - 1)
    fewer = len(old) - len(new)
    if fewer > 0 and old[at + fewer + 1 :] == new[at + 1 :]:
        last = at + fewer + 1
        return write(layer, "flatten", x, at + 1, *([last] if last < x.rank - 1 else []))
    if fewer < 0 and old[at + 1 :] == new[at + 1 - fewer :]:
        return write(layer, "unflatten", x, at + 1, tuple(new[at : at + 1 - fewer]))
    return write(layer, "reshape", x, -1, *new)


def _in_place(x: Value, sizes: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """(the order of axes before, after) a reshape whose groups of axes each lie together, else None.

    Within a group the order must be that of Keras: a permute of the group alone, as in a shuffle of channels.
    """
    order = perm_of(x)
    shape = x.keras_shape[1:]
    if order[0] != 0 or None in shape or -1 in sizes:
        return None
    groups = _groups([int(s or 0) for s in shape], sizes)
    if groups is None:
        return None
    before, after = [0], [0]
    for source, target in sorted(groups, key=lambda group: min(order.index(axis + 1) for axis in group[0])):
        at = sorted(order.index(axis + 1) for axis in source)
        if at != list(range(at[0], at[0] + len(at))):
            return None
        before += [axis + 1 for axis in source]
        after += [axis + 1 for axis in target]
    return tuple(before), tuple(after)


def _groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]] | None:
    """Runs of old and new axes that hold the same elements, as short as they can be."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) and j < len(new):
        source, target = [i], [j]
        a, b = old[i], new[j]
        while a != b:
            if a < b and source[-1] + 1 < len(old):
                source.append(source[-1] + 1)
                a *= old[source[-1]]
            elif b < a and target[-1] + 1 < len(new):
                target.append(target[-1] + 1)
                b *= new[target[-1]]
            else:
                return None
        groups.append((source, target))
        i, j = source[-1] + 1, target[-1] + 1
    if not groups or prod(old[i:]) != 1 or prod(new[j:]) != 1:
        return None
    groups[-1][0].extend(range(i, len(old)))
    groups[-1][1].extend(range(j, len(new)))
    return groups


@converts("ops.Ravel", layout=AS_WRITTEN)
def ravel(layer: LayerHandle, x: Value) -> Value:
    return write(layer, "flatten", x).arranged(as_written(1))


@converts("ops.Transpose", layout=ANY, reshapes=True)
def transpose(layer: LayerHandle, x: Value, *, axes: tuple[int, ...] | None = None) -> Value:
    """Only the axes get other names: what follows asks for the order that it needs."""
    return renamed(layer, x, tuple(positive(a, x.rank) for a in axes) if axes else tuple(reversed(range(x.rank))))


@converts("ops.Swapaxes", layout=ANY, reshapes=True)
def swap_axes(layer: LayerHandle, x: Value, *, axis1: int, axis2: int) -> Value:
    order = list(range(x.rank))
    first, second = positive(axis1, x.rank), positive(axis2, x.rank)
    order[first], order[second] = second, first
    return renamed(layer, x, tuple(order))


@converts("ops.Moveaxis", layout=ANY, reshapes=True)
def move_axis(
    layer: LayerHandle, x: Value, *, source: int | tuple[int, ...], destination: int | tuple[int, ...]
) -> Value:
    return renamed(layer, x, moved(x.rank, source, destination))


def moved(rank: int, source: int | Sequence[int], destination: int | Sequence[int]) -> tuple[int, ...]:
    """The axes of a tensor after numpy's `moveaxis`."""
    sources = [positive(a, rank) for a in ([source] if isinstance(source, int) else source)]
    targets = [positive(a, rank) for a in ([destination] if isinstance(destination, int) else destination)]
    order = [axis for axis in range(rank) if axis not in sources]
    for target, axis in sorted(zip(targets, sources, strict=True)):
        order.insert(target, axis)
    return tuple(order)


@converts("ops.ExpandDims", layout=AXIS)
def expand_dims(layer: LayerHandle, x: Value, *, axis: int | tuple[int, ...]) -> Value:
    axes = [axis] if isinstance(axis, int) else list(axis)
    return inserted(layer, x, [positive(a, x.rank + len(axes)) for a in axes])


def inserted(layer: LayerHandle, x: Value, new: Sequence[int]) -> Value:
    """`x` with new axes of size 1, in numbers of the result."""
    names = [axis for axis in range(x.rank + len(new)) if axis not in new]
    order, sources = with_axes([names[axis] for axis in perm_of(x)], sorted(new))
    arrangement = Perm(order)
    if len(new) == 1:
        at = sources.index(None)
        return write(layer, "unsqueeze", x, at if at < x.rank else -1).arranged(arrangement)
    key = [None if source is None else slice(None) for source in sources]
    expanded: Value = layer.index(x, *shortened(key))
    return expanded.arranged(arrangement)


def shortened(key: Sequence[Any]) -> list[Any]:
    """A key for indexing without the full slices at its end, which say nothing."""
    key = list(key)
    while len(key) > 1 and key[-1] == slice(None):
        key.pop()
    return key


@converts("ops.Squeeze", layout=AXIS)
def squeeze(layer: LayerHandle, x: Value, *, axis: Axis = None) -> Value:
    """Without an axis, those whose size is known to be 1: a batch of one stays, which TensorFlow would drop."""
    if axis is None:
        axes = tuple(a for a, size in enumerate(x.keras_shape) if size == 1)
    else:
        axes = keras_axes(axis, x.rank)
    if not axes:
        return x
    dims = layer.axes(x, axes)
    return write(layer, "squeeze", x, dims[0] if len(dims) == 1 else dims).arranged(without_axes(x, axes))


@converts("ops.BroadcastTo", layout=AS_WRITTEN)
def broadcast_to(layer: LayerHandle, x: Value, *, shape: tuple[int | None, ...]) -> Value:
    """A size that is not stated is that of the tensor."""
    own = [*[None] * (len(shape) - x.rank), *x.sizes]
    sizes = [-1 if size in (None, -1, mine) and mine != 1 else size for size, mine in zip(shape, own, strict=True)]
    if any(mine is None and size != -1 for size, mine in zip(sizes[len(shape) - x.rank :], x.sizes, strict=True)):
        layer.unsupported(
            f"it broadcasts an axis of unknown size to {list(shape)}", "state the size of the axis in Keras"
        )
    if -1 in sizes[: len(shape) - x.rank]:
        layer.unsupported(f"it broadcasts to {list(shape)}", "state the sizes of the new axes in Keras")
    return write(layer, "expand", x, *sizes).arranged(as_written(len(shape)))
