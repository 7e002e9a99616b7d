"""Rearrange: the patterns of einops, as reshape, permute, reshape."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from converters.arrangement import AS_WRITTEN, as_written
from converters.graph import Value
from converters.layer import LayerHandle
from converters.ops.operands import write
from converters.registry import converts

Groups = list[list[str]]


@converts("ops.Rearrange", layout=AS_WRITTEN)
def rearrange(layer: LayerHandle, tensor: Value, pattern: str, **lengths: Any) -> Value:
    """`b (h p) w c -> b h w (p c)`: axes are split, moved and merged."""
    before, _, after = pattern.partition("->")
    source, target = axis_groups(before), axis_groups(after)
    names, wanted = [name for group in source for name in group], [name for group in target for name in group]
    if len(source) != tensor.rank or sorted(names) != sorted(wanted):
        layer.unsupported(f"the pattern {pattern!r:.60}", "name each axis once on both sides, without ...")
    known = atom_sizes(source, tensor.sizes, lengths)
    dynamic = {group[0]: layer.size(tensor, axis) for axis, group in enumerate(source) if len(group) == 1}
    y = tensor
    if len(names) > len(source):
        y = write(layer, "reshape", y, *_sizes([[name] for name in names], known, dynamic))
    order = [names.index(name) for name in wanted]
    if order != sorted(order):
        y = write(layer, "permute", y, *order)
    if len(wanted) > len(target):
        y = write(layer, "reshape", y, *_sizes(target, known, dynamic))
    return y.arranged(as_written(y.rank))


def axis_groups(side: str) -> Groups:
    """`b (h p) c` -> [[b], [h, p], [c]]."""
    return [re.findall(r"\w+", part) for part in re.findall(r"\w+|\(.*?\)", side)]


def atom_sizes(groups: Groups, shape: Sequence[int | None], lengths: Mapping[str, int]) -> dict[str, int | None]:
    """The size of every axis of a pattern, None where it is known at run time only."""
    sizes: dict[str, int | None] = {}
    for group, total in zip(groups, shape, strict=True):
        sizes |= {name: lengths.get(name) for name in group}
        unknown = [name for name in group if sizes[name] is None]
        if total is not None and len(unknown) == 1:
            sizes[unknown[0]] = total // prod(sizes[name] or 1 for name in group)
    return sizes


def _sizes(groups: Groups, known: Mapping[str, int | None], dynamic: Mapping[str, Any]) -> list[Any]:
    """The arguments of a reshape; at most one of them is -1."""
    sizes: list[Any] = []
    free = sum(any(known[name] is None for name in group) for group in groups)
    for group in groups:
        factors = [known[name] for name in group]
        if None not in factors:
            sizes.append(prod(factor or 0 for factor in factors))
        elif free == 1 or len(group) > 1:
            sizes.append(-1)
        else:
            sizes.append(dynamic[group[0]])
    return sizes
