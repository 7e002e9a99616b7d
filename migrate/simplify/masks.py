"""Steps that a mask keeps, moved to the front once for all recurrent layers that follow each other under it."""

from __future__ import annotations

from dataclasses import replace

from converters.graph import Call, Graph, Tree, Value, map_tree, values
from migrate.simplify.calls import calls_of, makers_of

READERS = {"local.carry_forward", "local.last_valid", "local.last_state"}  # they see the steps that count only


def sorted_once(graph: Graph) -> Graph:
    """`valid_first(carry_forward(y, mask), mask)` is y in all steps that count, which are all that is read later."""
    calls = calls_of(graph)
    makers, readers, outputs = makers_of(calls), graph.readers(), set(values(graph.outputs))
    new: dict[Value, Value] = {}
    for call in calls:
        before = makers.get(call.args[0]) if call.target == "local.valid_first" else None
        if before is None or before.target != "local.carry_forward" or before.args[1] != call.args[1]:
            continue
        if all(_passes_over(layer, call.args[1], readers, outputs) for layer in readers.get(call.outputs, ())):
            new[call.outputs] = before.args[0]

    def current(leaf: Tree) -> Tree:
        return new.get(leaf, leaf) if isinstance(leaf, Value) else leaf

    return replace(graph, nodes=tuple(replace(call, args=map_tree(current, call.args)) for call in calls))


def _passes_over(layer: Call, mask: Value, readers: dict[Value, list[Call]], outputs: set[Value]) -> bool:
    """Whether of a recurrent layer's outputs those alone are read that count: not its end, which comes after them."""
    first, *others = values(layer.outputs)
    if layer.kind != "module" or outputs.intersection((first, *others)) or any(readers.get(v) for v in others):
        return False
    return all(reader.target in READERS and reader.args[1] == mask for reader in readers.get(first, ()))
