"""A graph as a string of segments: what stands between places where only one value is alive."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from converters.graph import Call, Graph, Value, values
from migrate.blocks.pattern import Member


@dataclass(frozen=True, eq=False)
class Segment:
    """Calls between two cuts, and the value at the second."""

    calls: tuple[Call, ...]
    output: Value


def segments(graph: Graph, width: int = 1, beside: Collection[Value] = ()) -> list[Segment]:
    """The calls of a graph in canonical order, cut wherever at most `width` values are alive, not counting `beside`.

    A cut's value is what the last call before it made.
    """
    calls = [call for call in graph.nodes if isinstance(call, Call)]
    last = {v: n for n, call in enumerate(calls) for v in call.operands} | dict.fromkeys(
        values(graph.outputs), len(calls)
    )
    alive = {v for v in values(graph.inputs) if v in last and v not in beside}
    found: list[Segment] = []
    current: list[Call] = []
    for number, call in enumerate(calls):
        if call.operands and {*call.operands, *values(call.outputs)} <= set(beside):
            continue  # it makes a mask, and belongs to no part
        current.append(call)
        made = [v for v in values(call.outputs) if last.get(v, -1) > number]
        alive = {v for v in alive if last[v] > number} | set(made)
        if len(made) == 1 and len(alive) <= width:
            found.append(Segment(tuple(current), made[0]))
            current = []
        alive.difference_update(beside)
    return found


def member(parts: Sequence[Segment], beside: frozenset[Value] = frozenset()) -> Member:
    """Neighbouring segments as one part of the graph."""
    return Member(tuple(call for part in parts for call in part.calls), parts[-1].output, beside)
