"""Arrangements at work: which one an input gets, and the calls that move a value from one to another."""

from __future__ import annotations

from converters.arrangement import (
    ANY,
    AXIS,
    SPATIAL,
    Arrangement,
    Flat,
    Perm,
    as_written,
    movement,
    moves_only_units,
)
from converters.graph import Graph, Node, Value, values
from converters.layer import LayerHandle
from converters.registry import lookup


def input_arrangement(graph: Graph, source: Value) -> Arrangement:
    """Images are taken channels first if the first consumer that tells of them is spatial."""
    rank = source.rank
    if rank not in (4, 5):
        return as_written(rank)
    followed, pending = {source}, graph.nodes
    for node in pending:
        assert isinstance(node, Node)
        used = [v for v in values((node.args, node.kwargs)) if v in followed]
        if not used:
            continue
        if node.layer.graph is not None:
            inner = values(node.layer.graph.inputs)[values((node.args, node.kwargs)).index(used[0])]
            return input_arrangement(node.layer.graph, inner)
        converter = lookup(node.op)
        if converter is None or converter.layout is SPATIAL or getattr(converter.layout, "images", False):
            return SPATIAL([source], node.layer.config)[0]
        if converter.layout not in (ANY, AXIS) and not getattr(converter.layout, "follows", False):
            break
        followed.update(v for v in node.outputs if v is not None)
    return as_written(rank)


def rearranged(handle: LayerHandle, value: Value, target: Arrangement) -> Value:
    """The value in another arrangement, by as few calls as it takes."""
    return _permuted(handle, _unflatten(handle, value) if isinstance(value.arrangement, Flat) else value, target)


def _permuted(handle: LayerHandle, value: Value, target: Arrangement) -> Value:
    """One permute, or a reshape where only axes of size 1 move."""
    assert isinstance(value.arrangement, Perm) and isinstance(target, Perm)
    if value.arrangement == target:
        return value
    moves = movement(value.arrangement, target)
    if moves_only_units(moves, value.sizes):
        sizes = [handle.size(value, axis) for axis in moves]
        if [s for s in sizes if isinstance(s, Value)] == sizes[:1]:
            sizes[0] = -1  # the batch, which reshape can work out
        moved: Value = handle.method("reshape", value, *sizes)
    else:
        swapped = [axis for axis, source in enumerate(moves) if axis != source]
        if len(swapped) == 2:
            moved = handle.method("transpose", value, *swapped)
        else:
            moved = handle.method("permute", value, *moves)
    return moved.arranged(target)


def _unflatten(handle: LayerHandle, value: Value) -> Value:
    """Flattened features, put back into the order of Keras."""
    assert isinstance(value.arrangement, Flat)
    last, parts, start = value.rank - 1, [], 0
    for block in value.arrangement.blocks:
        width = 1
        for size in block.sizes:
            width *= size
        part = value
        if len(value.arrangement.blocks) > 1:
            part = handle.index(value, ..., slice(start, start + width))
        start += width
        if not block.is_as_written:
            part = handle.method("unflatten", part, last, tuple(block.sizes[axis] for axis in block.axes))
            order = sorted(range(len(block.axes)), key=block.axes.__getitem__)
            part = handle.method("permute", part, *range(last), *(last + axis for axis in order))
            part = handle.method("flatten", part, last)
        parts.append(part)
    whole: Value = parts[0] if len(parts) == 1 else handle.function("torch.cat", parts, dim=-1)
    return whole.arranged(as_written(value.rank))
