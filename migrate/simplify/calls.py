"""The calls of a lowered graph."""

from __future__ import annotations

from collections.abc import Iterable

from converters.graph import Call, Graph, Value, values


def calls_of(graph: Graph) -> list[Call]:
    """In the order in which they run."""
    return [call for call in graph.nodes if isinstance(call, Call)]


def makers_of(calls: Iterable[Call]) -> dict[Value, Call]:
    """Which call makes each value."""
    return {value: call for call in calls for value in values(call.outputs)}


def order_of(call: Call) -> list[int]:
    """The axes that a permute or transpose takes, in its order."""
    order = list(range(call.args[0].rank))
    if call.target == "permute":
        return [int(axis) for axis in call.args[1:]]
    first, second = call.args[1:]
    order[first], order[second] = order[second], order[first]
    return order
