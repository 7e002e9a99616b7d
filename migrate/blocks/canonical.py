"""Calls in the order in which a person would write them, whatever order the file holds.

From the outputs backwards, longest branch first, so that what belongs together stands together and equal parts
of a network come out alike. `a + b` and `a * b` take the operand with fewer calls behind it first: `x + f(x)`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from converters.graph import Call, Graph, Tree, Value, map_tree, values
from migrate.blocks.layout import channels_first_sums
from migrate.blocks.norms import channel_norms

COMMUTATIVE = {"+", "*"}
CHEAP = ("size", "attribute")


def canonical(graph: Graph) -> Graph:
    """The same graph in canonical order, nested models included; modules in order of use."""
    modules = tuple(replace(m, graph=canonical(m.graph)) if m.graph is not None else m for m in graph.modules)
    return arranged(channel_norms(channels_first_sums(replace(graph, modules=modules))))


def arranged(graph: Graph) -> Graph:
    """One graph in canonical order."""
    graph = replace(graph, nodes=tuple(one_use_each(graph)))
    levels = _levels(graph)
    uses = Counter(v for call in graph.nodes for v in call.operands)  # type: ignore[union-attr]  # calls by now
    makers = {value: call for call in graph.nodes for value in values(call.outputs)}

    def joined(value: Tree, sign: str) -> bool:
        """Whether an operand is a sum itself: `a + b + c` stays as it is."""
        maker = makers.get(value)
        return isinstance(maker, Call) and maker.target == sign and uses[value] == 1

    nodes = []
    for call in graph.nodes:
        assert isinstance(call, Call)
        if call.kind == "operator" and call.target in COMMUTATIVE and len(values(call.args)) == 2:
            left, right = call.args
            if levels[right] < levels[left] and not joined(left, call.target) and levels[right] > 0:
                call = replace(call, args=(right, left))
        elif call.kind == "operator" and call.target == "+" and _is_negative(call.args[1]):
            call = replace(call, target="-", args=(call.args[0], -call.args[1]))
        nodes.append(call)
    return ordered(replace(graph, nodes=tuple(nodes)))


def _is_negative(operand: Tree) -> bool:
    return isinstance(operand, (int, float)) and operand < 0


def one_use_each(graph: Graph) -> list[Call]:
    """Sizes and parameters are written where they are used, each time: one call for every use."""
    cheap: dict[Value, Call] = {}
    kept = set(values(graph.outputs))
    calls: list[Call] = []
    for call in graph.nodes:
        assert isinstance(call, Call)
        if call.kind in CHEAP and call.outputs not in kept:
            cheap[call.outputs] = call
            continue

        def inlined(leaf: object) -> object:
            if not isinstance(leaf, Value) or leaf not in cheap:
                return leaf
            made = replace(leaf, name=f"{leaf.name.partition('@')[0]}@{len(calls)}")
            calls.append(replace(cheap[leaf], outputs=made))
            return made

        args, kwargs = map_tree(inlined, call.args), map_tree(inlined, call.kwargs)
        calls.append(replace(call, args=args, kwargs=kwargs))
    return calls


def _levels(graph: Graph) -> dict[Value, int]:
    """The longest way from the inputs to each value, in calls.

    A flip is none of them: of two branches, the one that reads its input backwards comes second.
    """
    levels = dict.fromkeys(values(graph.inputs), 1)
    for call in graph.nodes:
        assert isinstance(call, Call)
        level = max((levels[v] for v in call.operands), default=-1) + (call.target != "flip")
        levels.update(dict.fromkeys(values(call.outputs), level))
    return levels


def ordered(graph: Graph, *, by_place: bool = False) -> Graph:
    """Calls in post-order from the outputs; modules in order of their first call.

    `by_place`: of what is put side by side, the first comes first, not the longest.
    """
    levels = _levels(graph)
    makers = {value: call for call in graph.nodes for value in values(call.outputs)}
    done: dict[Call, None] = {}
    pending: list[tuple[Call, bool]] = [(makers[v], False) for v in reversed(values(graph.outputs)) if v in makers]  # type: ignore[misc]
    while pending:
        call, ready = pending.pop()
        if call in done:
            continue
        if ready:
            done[call] = None
            continue
        pending.append((call, True))
        branches = [v for v in call.operands if v in makers]
        if not by_place or call.target != "torch.cat":
            branches.sort(key=lambda v: -levels[v])
        pending += [(makers[v], False) for v in reversed(branches)]  # type: ignore[misc]  # the last is taken first
    first = {
        call.target: number for number, call in reversed(list(enumerate(done))) if call.kind in ("module", "attribute")
    }
    modules = sorted(graph.modules, key=lambda module: first.get(module.key, len(done)))
    return replace(graph, nodes=tuple(done), modules=tuple(modules))
