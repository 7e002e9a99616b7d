"""Expressions and arrays: `evaluate` reads the file's, `restore` writes them."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

import numpy as np

from converters.weights.expressions import Concat, Constant, Flip, Leaf, Reshape, Slice, Transpose, Weight

Array = np.ndarray[Any, Any]
Read = Callable[[Leaf], Array]


def numpy_dtype(name: str) -> np.dtype[Any]:
    """bfloat16 has no numpy type: its bits travel as uint16."""
    return np.dtype("uint16" if name == "bfloat16" else name)


def evaluate(weight: Weight, read: Read) -> Array:
    """The array, as a view of what `read` returns wherever numpy can."""
    match weight:
        case Leaf():
            return read(weight)
        case Constant(value=value):
            return _constant_array(weight, value)
        case Transpose(base=base, axes=axes):
            return evaluate(base, read).transpose(axes)
        case Reshape(base=base):
            return evaluate(base, read).reshape(weight.shape)
        case Slice(base=base, axis=axis, start=start, stop=stop):
            return evaluate(base, read)[(slice(None),) * axis + (slice(start, stop),)]
        case Flip(base=base, axes=axes):
            return np.flip(evaluate(base, read), axes)
        case Concat(parts=parts, axis=axis):
            return np.concatenate([evaluate(part, read) for part in parts], axis=axis)
    raise TypeError(f"not a weight expression: {weight!r}")


def _constant_array(weight: Weight, value: float | tuple[float, ...]) -> Array:
    if weight.dtype == "bfloat16":
        bits = np.asarray(value, np.float32).view(np.uint32) >> 16  # exact for 0, 1 and other short fractions
        return np.broadcast_to(bits.astype(np.uint16).reshape(weight.shape if bits.ndim else ()), weight.shape)
    array = np.asarray(value, numpy_dtype(weight.dtype))
    return np.broadcast_to(array.reshape(weight.shape) if array.ndim else array, weight.shape)


def restore(weight: Weight, array: Array, arrays: MutableMapping[str, Array]) -> None:
    """The inverse of `evaluate`: writes the elements of `array` back into `arrays[leaf.key]`, in place.

    Elements that come from constants are dropped. The arrays are C-contiguous and of the leaves' shapes.
    """
    match weight:
        case Constant():
            pass
        case Transpose(base=base, axes=axes):
            restore(base, array.transpose(np.argsort(axes)), arrays)
        case Reshape(base=base):
            restore(base, array.reshape(base.shape), arrays)
        case Flip(base=base, axes=axes):
            restore(base, np.flip(array, axes), arrays)
        case Concat(parts=parts, axis=axis):
            stops = np.cumsum([part.shape[axis] for part in parts])[:-1]
            for part, piece in zip(parts, np.split(array, stops, axis=axis), strict=True):
                restore(part, piece, arrays)
        case Slice():
            _write(weight, array, arrays)
        case Leaf(key=key):
            arrays[key][...] = array


def _write(part: Slice, array: Array, arrays: MutableMapping[str, Array]) -> None:
    """Through a window on the file's arrays; a part of what numpy has to copy, into a copy of the whole."""
    view = evaluate(part, lambda leaf: arrays[leaf.key])
    if any(np.shares_memory(view, arrays[leaf.key]) for leaf in part.leaves()):
        view[...] = array
        return
    whole = evaluate(part.base, lambda leaf: arrays[leaf.key]).copy()
    whole[(slice(None),) * part.axis + (slice(part.start, part.stop),)] = array
    restore(part.base, whole, arrays)
