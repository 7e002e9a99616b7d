"""`x * f(x)`, where f looks at the whole image through a few layers: squeeze-and-excite, found inside other blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from converters.graph import Call, Graph, Value, values
from migrate.blocks.merging import unify
from migrate.blocks.pattern import Member, Pattern, Tokens, heavy, shared_modules

CALLS_AT_LEAST = 4
CALLS_AT_MOST = 10


def gates(graph: Graph, tokens: Tokens) -> Iterator[Pattern]:
    """Patterns of gates that are there at least twice."""
    uses = graph.uses()
    makers = {v: call for call in graph.nodes if isinstance(call, Call) for v in values(call.outputs)}
    shared = shared_modules(graph)
    found = []
    for call in graph.nodes:
        assert isinstance(call, Call)
        if call.kind == "operator" and call.target == "*" and len(call.operands) == 2:
            branch = _branch(call, makers, uses)
            if (
                branch
                and any(heavy(c, tokens.modules) for c in branch)
                and not shared.intersection(c.target for c in branch)
            ):
                found.append(Member((*branch, call), call.outputs))
    for pattern in unify(found, tokens):
        if len(pattern.members) > 1:
            yield pattern


def _branch(product: Call, makers: dict[Value, Call], uses: Counter[Value]) -> list[Call]:
    """The calls from one factor to the other, if they are a chain that starts with a mean."""
    for start, gate in (product.args, product.args[::-1]):
        chain: list[Call] = []
        value = gate
        while value != start and value in makers and uses[value] == 1 and len(chain) < CALLS_AT_MOST:
            maker = makers[value]
            if len(maker.operands) != 1:
                break
            chain.insert(0, maker)
            value = maker.operands[0]
        if value == start and len(chain) >= CALLS_AT_LEAST - 1 and any(call.target == "mean" for call in chain[:2]):
            return chain
    return []
