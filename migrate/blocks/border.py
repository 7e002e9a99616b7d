"""What a block does to the size of an image that goes through it, or to the steps of a sequence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from converters.arrangement import keras_shape
from converters.graph import Call, Module, Value, leaves, values

SPATIAL = 4  # the rank of a batch of images
SEQUENCE = 3  # the rank of a batch of sequences
VIEWS = {"reshape", "flatten", "unflatten"}
TURNS = {"permute", "transpose"}
PADDING = "F.pad"
FIXED = {"F.interpolate"}


def is_extent(axis: int, value: Value) -> bool:
    """Whether an axis is the height or width of images."""
    axes = getattr(value.arrangement, "axes", ())
    return value.rank == SPATIAL == len(axes) and axes[axis] in (1, 2) and value.dtype != "bool"


def any_extent(calls: Iterable[Call], modules: Mapping[str, Module]) -> bool:
    """Whether a part takes images of any size: nothing in it has a size of theirs."""
    return not any(_fixes(call, modules.get(call.target)) for call in calls)


def is_steps(axis: int, value: Value) -> bool:
    """Whether an axis is that of the steps of sequences."""
    axes = getattr(value.arrangement, "axes", ())
    return value.rank == SEQUENCE == len(axes) and axes[axis] == 1


def any_steps(calls: Iterable[Call], modules: Mapping[str, Module]) -> bool:
    """Whether a part takes any number of steps and leaves it as it is: nothing in it names that, or turns the axes."""
    calls = list(calls)
    padded = {call.outputs for call in calls if call.target == PADDING}  # what reads it makes it as long as before
    tensors = [v for call in calls for v in (*call.operands, *values(call.outputs)) if v.rank == SEQUENCE]
    tensors = [v for v in tensors if v not in padded]
    steps = {v.sizes[axis] for v in tensors for axis in range(SEQUENCE) if is_steps(axis, v)}
    if len(steps) != 1 or not any_extent(calls, modules):
        return False
    return not any(call.target in TURNS or steps & set(_numbers(call)) for call in _within(calls, modules))


def _numbers(call: Call) -> Iterator[int]:
    return (leaf for leaf in leaves((call.args, call.kwargs)) if type(leaf) is int)


def _within(calls: Iterable[Call], modules: Mapping[str, Module]) -> Iterator[Call]:
    """Calls, and those of the blocks that they are of."""
    for call in calls:
        yield call
        inner = modules[call.target].graph if call.kind == "module" else None
        if inner is not None:
            yield from _within(inner.nodes, {m.key: m for m in inner.modules})  # type: ignore[arg-type]  # calls by now


def _fixes(call: Call, module: Module | None) -> bool:
    if call.kind == "attribute" and module is not None:
        return len([size for size in module.args[0] if size != 1]) > 1
    if call.kind == "module" and module is not None:
        inner = module.graph
        own = {m.key: m for m in inner.modules} if inner is not None else {}
        several = bool(module.args) and isinstance(module.args[0], tuple) and len(module.args[0]) > 1  # a LayerNorm's
        return several or (inner is not None and not any_extent(inner.nodes, own))  # type: ignore[arg-type]  # calls by now
    return call.target in FIXED or (call.kind == "method" and call.target in VIEWS)


def difference(before: int | None, after: int | None) -> int | None:
    return after - before if before is not None and after is not None else None


def shrinking(before: Value, after: Value) -> int | None:
    """By what the height and width of an image are divided, rounded; 0 where that is not one number, None unknown."""
    pairs = _sizes(before, after)
    if not pairs:
        return None
    return next((n for n in range(1, 9) if all(made in (size // n, -(-size // n)) for size, made in pairs)), 0)


def rounds_up(ends: Sequence[tuple[Value, Value]]) -> bool:
    """Whether sizes that cannot be divided are there, and all are rounded up."""
    found = False
    for before, after in ends:
        ratio, pairs = shrinking(before, after), _sizes(before, after)
        if None in before.sizes[1:] or not ratio or any(made != -(-size // ratio) for size, made in pairs):
            return False
        found = found or any(size % ratio for size, _ in pairs)
    return found


def is_even(image: Value) -> bool:
    """Whether height and width are known to be even."""
    return image.rank == SPATIAL and all(size is not None and size % 2 == 0 for size in _extent(image))


def _sizes(before: Value, after: Value) -> list[tuple[int, int]]:
    """Height and width of an image, before and after; none where they are not known."""
    if before.rank != SPATIAL or after.rank != SPATIAL:
        return []
    pairs = list(zip(_extent(before), _extent(after), strict=True))
    return [(size, made) for size, made in pairs if size and made] if all(map(all, pairs)) else []


def _extent(image: Value) -> tuple[int | None, ...]:
    """Height and width; where they are dynamic, those that lowering tried."""
    shapes = image.tried or (image.sizes,)
    return tuple(size for shape in shapes for size in keras_shape(image.arrangement, shape)[1:3])
