"""How a value lies in memory, and the arithmetic of its axes. The only file that knows channel order.

A Keras tensor (N, H, W, C) is kept in PyTorch as (N, C, H, W): its arrangement is `Perm((0, 3, 1, 2))`,
physical axis i holds Keras axis p[i]. A flattened tensor whose features come in the producer's order is
`Flat`: a layer that owns weights along that axis can reorder them instead of the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Perm:
    """Physical axis i holds Keras axis `axes[i]`. The empty `Perm` belongs to values of unknown rank."""

    axes: tuple[int, ...]

    @property
    def is_as_written(self) -> bool:
        return self.axes == tuple(range(len(self.axes)))


@dataclass(frozen=True)
class Vector(Perm):
    """(N, C) that Keras has with more axes, `rank` in all: those that `axes` does not name have size 1."""

    rank: int


@dataclass(frozen=True)
class Block:
    """A run of features: a tensor of Keras shape `sizes`, its axes permuted by `axes`, then flattened."""

    sizes: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def is_as_written(self) -> bool:
        moved = [axis for axis in self.axes if self.sizes[axis] != 1]
        return moved == sorted(moved)


@dataclass(frozen=True)
class Flat:
    """The last axis holds one or more flattened tensors (more after a concatenation), in the producer's order."""

    rank: int
    blocks: tuple[Block, ...]

    @property
    def is_as_written(self) -> bool:
        return all(block.is_as_written for block in self.blocks)


Arrangement = Perm | Flat


def as_written(rank: int) -> Perm:
    return Perm(tuple(range(rank)))


def channels_first(rank: int) -> Perm:
    """The arrangement of (N, ..., C) data that is stored as (N, C, ...)."""
    return as_written(rank) if rank < 3 else Perm((0, rank - 1, *range(1, rank - 1)))


def second(axis: int, rank: int) -> Perm:
    """The arrangement that has Keras axis `axis` where PyTorch keeps channels, the others in order."""
    axis = positive(axis, rank)
    return Perm((0, axis, *(a for a in range(1, rank) if a != axis))) if rank > 1 and axis else as_written(rank)


def positive(axis: int, rank: int) -> int:
    """`axis` counted from the front. Raises IndexError if it is outside of -rank..rank-1."""
    if not -rank <= axis < rank:
        raise IndexError(f"axis {axis} is out of bounds for a tensor of rank {rank}")
    return axis % rank


def keras_shape(arrangement: Arrangement, shape: Shape) -> Shape:
    """Physical shape -> the shape that Keras sees."""
    if isinstance(arrangement, Flat) or not arrangement.axes:
        return shape
    return tuple(shape[arrangement.axes.index(axis)] for axis in range(len(shape)))


def physical_shape(arrangement: Arrangement, shape: Shape) -> Shape:
    """The shape that Keras sees -> physical shape."""
    if isinstance(arrangement, Flat) or not arrangement.axes:
        return shape
    return tuple(shape[axis] for axis in arrangement.axes)


def physical_axis(arrangement: Arrangement, axis: int, rank: int) -> int:
    """Where Keras axis `axis` (may be negative) lies in memory."""
    axis = positive(axis, rank)
    return axis if isinstance(arrangement, Flat) else arrangement.axes.index(axis)


def movement(source: Perm, target: Perm) -> tuple[int, ...]:
    """The argument of `permute` that takes data from one arrangement to the other."""
    return tuple(source.axes.index(axis) for axis in target.axes)


def moves_only_units(movement: Sequence[int], shape: Shape) -> bool:
    """Whether a permute leaves the order in memory alone because it moves no axis but those of size 1."""
    moved = [axis for axis in movement if shape[axis] != 1]
    return moved == sorted(moved)


def flattened(arrangement: Arrangement, shape: Shape) -> Arrangement:
    """What `x.flatten(1)` makes of data of this physical shape (every size but the batch known)."""
    if isinstance(arrangement, Flat):
        return Flat(2, arrangement.blocks)
    sizes = keras_shape(arrangement, shape)[1:]
    if any(size is None for size in sizes) or arrangement.axes[0] != 0:
        return as_written(2)
    block = Block(tuple(int(s or 0) for s in sizes), tuple(axis - 1 for axis in arrangement.axes[1:]))
    return as_written(2) if block.is_as_written else Flat(2, (block,))


def joined(arrangements: Sequence[Arrangement], widths: Sequence[int]) -> Arrangement:
    """The arrangement of a concatenation along the feature axis, `widths` features from each part."""
    blocks: list[Block] = []
    for arrangement, width in zip(arrangements, widths, strict=True):
        blocks += arrangement.blocks if isinstance(arrangement, Flat) else [Block((width,), (0,))]
    rank = next(a.rank if isinstance(a, Flat) else len(a.axes) for a in arrangements)
    flat = Flat(rank, tuple(blocks))
    return as_written(rank) if flat.is_as_written else flat


def width(block: Block) -> int:
    return prod(block.sizes)


class Layout(Protocol):
    """A rule: the arrangement that a converter wants for each of its inputs."""

    def __call__(self, inputs: Sequence[Any], config: Mapping[str, Any]) -> list[Arrangement]: ...


def SPATIAL(inputs: Sequence[Any], config: Mapping[str, Any]) -> list[Arrangement]:
    """Channels at axis 1, whichever axis the file's `data_format` gives them."""
    if config.get("data_format") == "channels_first":
        return [as_written(x.rank) for x in inputs]
    return [channels_first(x.rank) for x in inputs]


def ANY(inputs: Sequence[Any], config: Mapping[str, Any]) -> list[Arrangement]:
    """Whatever the inputs have. Where they disagree, channels first, so that equal blocks get equal text.

    Inputs of lower rank are as written: the converter aligns them with the others (`LayerHandle.align`).
    """
    rank = max((x.rank for x in inputs), default=0)
    found = {x.arrangement for x in inputs if x.rank == rank}
    if any(isinstance(a, Flat) for a in found) and (len(found) > 1 or any(x.rank != rank for x in inputs)):
        return AS_WRITTEN(inputs, config)
    whole = [x.arrangement for x in inputs if x.rank == rank and not follows_for_free(x)]
    common = next((a for a in whole or found if not a.is_as_written), as_written(rank))
    return [common if x.rank == rank else as_written(x.rank) for x in inputs]


def follows_for_free(x: Any) -> bool:
    """Whether another order of the axes is the same memory: all but one of them have size 1."""
    return sum(size != 1 for size in x.sizes[1:]) <= 1 and (
        not isinstance(x.arrangement, Perm) or x.arrangement.axes[0] == 0
    )


def AXIS(inputs: Sequence[Any], config: Mapping[str, Any]) -> list[Arrangement]:
    """As `ANY`, for layers with an axis argument, which the converter remaps; features must be in order."""
    wanted = ANY(inputs, config)
    return AS_WRITTEN(inputs, config) if any(isinstance(a, Flat) for a in wanted) else wanted


def AS_WRITTEN(inputs: Sequence[Any], config: Mapping[str, Any]) -> list[Arrangement]:
    """The order of Keras, because the order of the elements matters."""
    return [as_written(x.rank) for x in inputs]
