"""A LayerNorm over the channels of images: one layer that permutes within, as in ConvNeXt's downsamplings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from converters.arrangement import Perm
from converters.graph import Call, Graph, Value
from migrate.blocks.layout import FIRST, LAST

CHANNEL_NORM = "local.LayerNorm2d"


def channel_norms(graph: Graph) -> Graph:
    """permute -> nn.LayerNorm -> permute back, where nobody else reads what is between, as `LayerNorm2d`."""
    norms = {module.key: module for module in graph.modules if module.constructor == "nn.LayerNorm"}
    calls = [call for call in graph.nodes if isinstance(call, Call)]
    called, uses = Counter(call.target for call in calls if call.kind == "module"), graph.uses()
    makers = {call.outputs: call for call in calls if call.kind in ("module", "method") and len(call.operands) == 1}
    unordered = {value for value in graph.tensors.values() if not isinstance(value.arrangement, Perm)}
    made, gone, same = dict[Call, Call](), set[Call](), dict[Value, Value]()
    for back in calls:
        norm = makers.get(back.args[0]) if _permutes(back, FIRST) else None
        if norm is None or norm.target not in norms or called[norm.target] != 1 or uses[norm.outputs] != 1:
            continue
        there = makers.get(norm.args[0])
        if there is None or not _permutes(there, LAST) or uses[there.outputs] != 1:
            continue
        if {there.outputs, norm.outputs} & unordered:
            continue
        made[back] = replace(norm, args=there.args[:1], outputs=back.outputs)
        gone |= {there, norm}
        same |= {there.outputs: there.args[0], norm.outputs: back.outputs}
    changed = {call.target for call in made.values()}
    return replace(
        graph,
        nodes=tuple(made.get(call, call) for call in calls if call not in gone),
        modules=tuple(replace(m, constructor=CHANNEL_NORM) if m.key in changed else m for m in graph.modules),
        tensors={source: _moved(value, same) for source, value in graph.tensors.items()},
    )


def _moved(value: Value, same: Mapping[Value, Value]) -> Value:
    """Where a tensor that lay channels last is now."""
    if value not in same:
        return value
    assert isinstance(value.arrangement, Perm)  # as asked above
    return same[value].arranged(Perm(tuple(value.arrangement.axes[axis] for axis in FIRST)))


def _permutes(call: Call, order: tuple[int, ...]) -> bool:
    return call.kind == "method" and call.target == "permute" and call.args[1:] == order
