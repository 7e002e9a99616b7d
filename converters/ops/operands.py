"""What the ops of Keras work on: tensors, numbers, and arrays that the file states; and how their axes come out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.arrangement import Flat, Perm, as_written, positive
from converters.graph import Tree, Value
from converters.layer import LayerHandle

Axis = int | tuple[int, ...] | None
SIGNS = frozenset("+ - * / // % ** @ == != < <= > >= & | ^ ~ neg []".split())


def write(layer: LayerHandle, target: str, *operands: Tree, **options: Tree) -> Value:
    """One torch call with one result, by a target as the tables name it.

    `F.relu`, `torch.maximum` and `local.cbrt` are functions, `+` is an operator, `exp` a method of the first operand.
    """
    if target in SIGNS:
        result: Value = layer.operator(target, *operands)
    elif "." in target:
        result = layer.function(target, *operands, **options)
    else:
        result = layer.method(target, operands[0], *operands[1:], **options)
    return result


def is_float(x: Value) -> bool:
    return x.dtype.startswith(("float", "bfloat"))


def array_of(operand: Any) -> Any:
    """Arrays and lists as numpy arrays, arrays of one number as that number; the rest as it is."""
    if isinstance(operand, (list, tuple)) and not any(isinstance(item, Value) for item in operand):
        operand = np.asarray(operand)
    if isinstance(operand, np.ndarray) and operand.ndim == 0:
        return operand.item()
    return operand


def operands(layer: LayerHandle, *inputs: Any, roles: Sequence[str] = ("first", "constant", "other")) -> list[Any]:
    """What an elementwise op works on: tensors aligned as in numpy, arrays as buffers, numbers as they are."""
    inputs = tuple(array_of(x) for x in inputs)
    tensors = [x for x in inputs if isinstance(x, Value)]
    arrays = [x for x in inputs if isinstance(x, np.ndarray)]
    rank = max(x.rank for x in tensors)
    higher = any(array.ndim > rank for array in arrays)
    if higher or (arrays and any(isinstance(x.arrangement, Flat) for x in tensors)):
        inputs = tuple(layer.coerce(x, as_written(x.rank)) if isinstance(x, Value) else x for x in inputs)
    model = next(x for x in inputs if isinstance(x, Value) and x.rank == rank)
    buffers = [
        layer.constant(roles[i], laid_out(x, model)) if isinstance(x, np.ndarray) else x for i, x in enumerate(inputs)
    ]
    if higher:
        return buffers
    aligned = iter(layer.align([x for x in inputs if not isinstance(x, np.ndarray)]))
    return [buffers[i] if isinstance(x, np.ndarray) else next(aligned) for i, x in enumerate(inputs)]


def laid_out(array: Any, like: Value) -> Any:
    """An array whose axes lie as those of a tensor do, without the leading ones that broadcasting puts back."""
    if isinstance(like.arrangement, Perm) and not like.arrangement.is_as_written and array.ndim <= like.rank:
        array = array.reshape(*[1] * (like.rank - array.ndim), *array.shape).transpose(like.arrangement.axes)
    while array.ndim > 1 and array.shape[0] == 1:
        array = array[0]
    return array


def tensor(layer: LayerHandle, operand: Any, role: str) -> Value:
    """A tensor of its own: a number or array becomes a buffer."""
    if isinstance(operand, Value):
        return operand
    return layer.constant(role, np.asarray(operand))


def promoted(layer: LayerHandle, inputs: Sequence[Any], *, floating: bool = False) -> list[Any]:
    """Whole numbers and bools as floats where Keras computes in floats: with a float literal, or if `floating`.

    One float tensor among them is enough: PyTorch promotes the others by itself, except bools in a difference.
    """
    tensors = [x for x in inputs if isinstance(x, Value)]
    wanted = floating or any(isinstance(x, float) for x in inputs)
    if not wanted or any(is_float(x) for x in tensors):
        return list(inputs)
    first = max(tensors, key=lambda x: x.rank)
    return [layer.floating(x) if x is first else x for x in inputs]


def same_type(layer: LayerHandle, inputs: Sequence[Any]) -> list[Any]:
    """All floats as soon as one is: for torch functions that do not promote."""
    floating = any(isinstance(x, float) or (isinstance(x, Value) and is_float(x)) for x in inputs)
    return [layer.floating(x) if isinstance(x, Value) and floating else x for x in inputs]


# -- axes of results ---------------------------------------------------------------------------------------


def perm_of(x: Value) -> tuple[int, ...]:
    """Keras axis of each physical axis."""
    return x.arrangement.axes if isinstance(x.arrangement, Perm) else tuple(range(x.rank))


def without_axes(x: Value, axes: Sequence[int]) -> Perm:
    """The arrangement after Keras axes (counted from the front) are gone."""
    kept = [axis for axis in perm_of(x) if axis not in axes]
    names = {axis: number for number, axis in enumerate(sorted(kept))}
    return Perm(tuple(names[axis] for axis in kept))


def reduced(y: Value, x: Value, axis: Axis, keepdims: bool) -> Value:
    """The result of a reduction with its axes named."""
    if keepdims or y.rank == x.rank:
        return y.arranged(x.arrangement)
    return y.arranged(without_axes(x, keras_axes(axis, x.rank)))


def keras_axes(axis: Axis, rank: int) -> tuple[int, ...]:
    """An axis argument as axes counted from the front, sorted."""
    if axis is None:
        return tuple(range(rank))
    return tuple(sorted(positive(a, rank) for a in ([axis] if isinstance(axis, int) else axis)))


def with_axes(axes: Sequence[int], new: Sequence[int]) -> tuple[tuple[int, ...], list[int | None]]:
    """Where new axes of size 1 go. `axes`: the physical order of the others, `new`: all in numbers of the result.

    Returns the physical order of the result, and for each of its axes the position in `axes`, None for a new one.
    A new axis lies behind the one that comes before it in Keras, or before the next where that is the batch.
    """
    order = list(axes)
    rank = len(axes) + len(new)
    if rank in (4, 5) and not set(new) ^ set(range(1, rank - 1)):
        order = [0, rank - 1, *new]  # (N, 1, 1, C): the same memory as (N, C, 1, 1)
        order = order if order[:2] == list(axes) else list(axes)
    for axis in sorted(set(new) - set(order)):
        if axis - 1 in order and (axis - 1 or axis + 1 not in order):
            order.insert(order.index(axis - 1) + 1, axis)
        elif axis + 1 in order:
            order.insert(order.index(axis + 1), axis)
        else:
            order.insert(0 if axis == 0 else len(order), axis)
    return tuple(order), [None if axis in new else list(axes).index(axis) for axis in order]
