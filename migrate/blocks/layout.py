"""A sum of channels-last images, one of which is there channels first as well, is made channels first.

So the blocks of a network look alike whatever the first of them was given: ConvNeXt's first stage follows a
normalization, which leaves channels last.
"""

from __future__ import annotations

from dataclasses import replace

from converters.arrangement import Perm
from converters.graph import Call, Graph, Tree, Value, map_tree, values

FIRST, LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def channels_first_sums(graph: Graph) -> Graph:
    """The graph with such sums channels first, and permuted back where somebody wants them so."""
    first: dict[Value, Value] = {}  # channels last -> the same data channels first
    same: dict[Value, Value] = {}
    nodes: list[Call] = []

    def current(leaf: Tree) -> Tree:
        return same.get(leaf, leaf) if isinstance(leaf, Value) else leaf

    def moved(value: Value, origin: str) -> Value:
        if value not in first:
            first[value] = _channels_first(value)
            nodes.append(Call("method", "permute", (value, *FIRST), {}, first[value], origin))
        return first[value]

    changed = False
    for call in graph.nodes:
        assert isinstance(call, Call)
        call = replace(call, args=map_tree(current, call.args), kwargs=map_tree(current, call.kwargs))
        if call.kind == "method" and call.target == "permute" and call.args[1:] == FIRST:
            if call.args[0] in first:
                same[call.outputs] = first[call.args[0]]
                continue
            first[call.args[0]] = call.outputs
        if _is_sum(call) and any(value in first for value in call.args):
            args = tuple(moved(value, call.origin) for value in call.args)
            total = first[call.outputs] = _channels_first(call.outputs)
            nodes.append(replace(call, args=args, outputs=total))
            call = Call("method", "permute", (total, *LAST), {}, call.outputs, call.origin)
            changed = True
        nodes.append(call)
    if not changed:
        return graph
    graph = replace(graph, nodes=_alive(nodes, graph), outputs=map_tree(current, graph.outputs))
    made = {v for call in graph.nodes for v in values(call.outputs)}
    tensors = {
        k: v if v in made or v not in first | same else first.get(v, same.get(v, v)) for k, v in graph.tensors.items()
    }
    return replace(graph, tensors=tensors)


def _channels_first(value: Value) -> Value:
    shape = tuple(value.sizes[axis] for axis in FIRST)
    return replace(value, name=f"{value.name}:first", shape=shape, arrangement=Perm(FIRST), mask=None)


def _is_sum(call: Call) -> bool:
    return call.kind == "operator" and call.target == "+" and all(
        isinstance(v, Value) and v.rank == 4 and v.arrangement.is_as_written and v.sizes == call.outputs.sizes
        for v in call.args
    )  # fmt: skip


def _alive(nodes: list[Call], graph: Graph) -> tuple[Call, ...]:
    """The calls whose outputs somebody reads."""
    wanted, kept = set(values(graph.outputs)), []
    for call in reversed(nodes):
        if wanted.intersection(values(call.outputs)):
            wanted.update(call.operands)
            kept.append(call)
    return tuple(reversed(kept))
