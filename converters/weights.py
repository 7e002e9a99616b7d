"""Weight expressions: how arrays of the model file become a tensor of the PyTorch model, and back.

An expression is stored, not just done: the same one maps the weights, an optimizer's slots, a gradient,
a newer checkpoint, and, by `restore`, trained PyTorch weights into the arrays of the Keras file.
Constructors simplify as they go, so that what is left of a layout change is at most
reshape(transpose(reshape(leaf))), whose outer reshape costs nothing when it is written row by row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, Protocol

import numpy as np

from converters.arrangement import Flat, Perm
from converters.errors import UserError

Shape = tuple[int, ...]
Array = np.ndarray[Any, Any]
Read = Callable[["Leaf"], Array]


class WeightSource(Protocol):
    """The arrays that a file holds for one layer."""

    def take(self, names: Sequence[str]) -> dict[str, Weight]:
        """The arrays of a layer by name, given all its names in the order in which Keras creates them.

        A name such as `cell/kernel` says in which sub-object Keras keeps the variable.
        Raises UserError where the file holds fewer or more arrays than names.
        """
        ...

    def child(self, name: str) -> WeightSource:
        """The arrays of a layer that this one wraps."""
        ...

    @property
    def count(self) -> int:
        """How many arrays there are in all."""
        ...


@dataclass(frozen=True)
class Weight:
    """An expression that gives an array of `shape` and numpy `dtype` name (`bfloat16` included)."""

    shape: Shape
    dtype: str

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def T(self) -> Weight:
        return self.transpose(*reversed(range(self.rank)))

    def transpose(self, *axes: int) -> Weight:
        """As numpy's, axes given in full."""
        if axes == tuple(range(self.rank)):
            return self
        if isinstance(self, Transpose):
            return self.base.transpose(*(self.axes[a] for a in axes))
        if isinstance(self, Reshape) and (groups := merged_axes(self.base.shape, self.shape)):
            inner = self.base.transpose(*(a for axis in axes for a in groups[axis]))
            return inner.reshape(*(self.shape[a] for a in axes))
        return Transpose(tuple(self.shape[a] for a in axes), self.dtype, self, axes)

    def reshape(self, *shape: int) -> Weight:
        """As numpy's; one size may be -1."""
        if -1 in shape:
            rest = -prod(shape)
            shape = tuple(prod(self.shape) // rest if size == -1 and rest else size for size in shape)
        if prod(shape) != prod(self.shape):
            raise UserError(
                f"a weight of shape {list(self.shape)} cannot be used as {list(shape)}",
                expected=f"{prod(shape)} elements",
                found=f"{prod(self.shape)} elements",
                remedy="check that the weights belong to this architecture",
            )
        base = self.base if isinstance(self, Reshape) else self
        return base if shape == base.shape else Reshape(shape, self.dtype, base)

    def slice(self, axis: int, start: int, stop: int) -> Weight:
        """Rows start..stop-1 along an axis."""
        if (start, stop) == (0, self.shape[axis]):
            return self
        if isinstance(self, Concat) and self.axis == axis:
            return concat(list(_overlapping(self, start, stop)), axis)
        shape = (*self.shape[:axis], stop - start, *self.shape[axis + 1 :])
        return Slice(shape, self.dtype, self, axis, start, stop)

    def split(self, parts: int, axis: int = -1) -> list[Weight]:
        """Equal parts along an axis, as the gates of a recurrent layer."""
        axis %= self.rank
        if self.shape[axis] % parts:
            raise UserError(f"a weight of shape {list(self.shape)} has no {parts} equal parts along axis {axis}")
        size = self.shape[axis] // parts
        return [self.slice(axis, i * size, (i + 1) * size) for i in range(parts)]

    def flip(self, *axes: int) -> Weight:
        """The order reversed along axes (Theano's convolution kernels)."""
        return Flip(self.shape, self.dtype, self, axes)

    def reorder(self, axis: int, order: Flat | Perm) -> Weight:
        """The rows along an axis in the order in which a flattened input, arranged as `order`, comes."""
        if isinstance(order, Perm) or order.is_as_written:
            return self
        parts, start = [], 0
        for block in order.blocks:
            size = prod(block.sizes)
            part, start = self.slice(axis, start, start + size), start + size
            before, after = part.shape[:axis], part.shape[axis + 1 :]
            axes = (
                *range(axis),
                *(axis + a for a in block.axes),
                *(axis + len(block.axes) + i for i in range(len(after))),
            )
            parts.append(part.reshape(*before, *block.sizes, *after).transpose(*axes).reshape(*before, size, *after))
        return concat(parts, axis)

    def leaves(self) -> Iterator[Leaf]:
        """The arrays of the file that it is made of."""
        for base in self._bases():
            yield from base.leaves()

    def _bases(self) -> tuple[Weight, ...]:
        return (self.base,) if isinstance(self, (Transpose, Reshape, Slice, Flip)) else ()


@dataclass(frozen=True)
class Leaf(Weight):
    """An array of the model file, by its path in it."""

    key: str

    def leaves(self) -> Iterator[Leaf]:
        yield self


@dataclass(frozen=True)
class Constant(Weight):
    """A value that no file holds: one number everywhere, or all of them in a flat tuple. Learns nothing."""

    value: float | tuple[float, ...]


@dataclass(frozen=True)
class Transpose(Weight):
    base: Weight
    axes: tuple[int, ...]


@dataclass(frozen=True)
class Reshape(Weight):
    base: Weight


@dataclass(frozen=True)
class Slice(Weight):
    base: Weight
    axis: int
    start: int
    stop: int


@dataclass(frozen=True)
class Flip(Weight):
    base: Weight
    axes: tuple[int, ...]


@dataclass(frozen=True)
class Concat(Weight):
    parts: tuple[Weight, ...] = field(default=())
    axis: int = 0

    def _bases(self) -> tuple[Weight, ...]:
        return self.parts


def concat(parts: Sequence[Weight], axis: int) -> Weight:
    """Parts side by side along an axis; their other sizes agree."""
    if len(parts) == 1:
        return parts[0]
    first, axis = parts[0], axis % parts[0].rank
    if len({(p.shape[:axis], p.shape[axis + 1 :], p.dtype) for p in parts}) != 1:
        raise UserError(f"weights of shapes {[list(p.shape) for p in parts]} cannot be joined along axis {axis}")
    shape = (*first.shape[:axis], sum(p.shape[axis] for p in parts), *first.shape[axis + 1 :])
    return Concat(shape, first.dtype, tuple(parts), axis)


def _overlapping(whole: Concat, start: int, stop: int) -> Iterator[Weight]:
    """What of each part lies between two places along the axis of a concat."""
    for part in whole.parts:
        size = part.shape[whole.axis]
        if start < size and stop > 0:
            yield part.slice(whole.axis, max(start, 0), min(stop, size))
        start, stop = start - size, stop - size


def constant(value: float | Sequence[float], shape: Sequence[int], dtype: str = "float32") -> Weight:
    return Constant(tuple(shape), dtype, value if isinstance(value, (int, float)) else tuple(value))


def merged_axes(base: Shape, shape: Shape) -> list[list[int]] | None:
    """Which axes of `base` each axis of `shape` merges, or None if the reshape splits an axis."""
    groups: list[list[int]] = []
    position = 0
    for size in shape:
        group: list[int] = []
        total = 1
        while position < len(base) and (total < size or (total == size and base[position] == 1 and group)):
            group.append(position)
            total *= base[position]
            position += 1
        if total != size:
            return None
        groups.append(group)
    return groups if position == len(base) else None


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
        case _:
            _view(weight, arrays)[...] = array


def _view(weight: Weight, arrays: MutableMapping[str, Array]) -> Array:
    """The window on the file's arrays that a chain of slices, reshapes and transposes looks through."""
    view = evaluate(weight, lambda leaf: arrays[leaf.key])
    if not any(np.shares_memory(view, arrays[leaf.key]) for leaf in weight.leaves()):
        raise TypeError(f"{weight!r} is a copy of its leaves and has no inverse")
    return view


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
