"""The expressions. Constructors simplify as they go, so that what is left of a layout change is at most

reshape(transpose(reshape(leaf))), whose outer reshape costs nothing when it is written row by row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Protocol

from converters.arrangement import Flat, Perm
from converters.errors import UserError

Shape = tuple[int, ...]


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
