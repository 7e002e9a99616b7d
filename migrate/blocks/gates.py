"""`x * f(x)`, where f looks at the whole image through a few layers: squeeze-and-excite, found inside other blocks.

`x * f(x, g)`, where f adds what layers make of both: the attention gates of a U-Net.
"""

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
    places = {call: number for number, call in enumerate(graph.nodes)}
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
            elif not branch and (calls := _attention(call, makers, uses)) is not None:
                own = sorted(calls[0], key=places.__getitem__)
                if not shared.intersection(c.target for c in own):
                    found.append(Member((*own, call), call.outputs, frozenset({calls[1]})))
    for pattern in unify(found, tokens):
        if len(pattern.members) > 1:
            yield pattern


def _attention(product: Call, makers: dict[Value, Call], uses: Counter[Value]) -> tuple[list[Call], Value] | None:
    """The calls that gate a factor by a sum of what layers make of it and of another value; that value."""
    for start, gate in (product.args, product.args[::-1]):
        after, value = _chain(gate, makers, uses)
        total = makers.get(value)
        if total is None or total.target != "+" or len(total.operands) != 2 or uses[value] != 1:
            continue
        if not any(call.target == "sigmoid" for call in after):
            continue
        ways = [_chain(operand, makers, uses, start) for operand in total.operands]
        others = [end for _, end in ways if end != start]
        if len(others) == 1 and all(any(call.kind == "module" for call in calls) for calls, _ in ways):
            return [*ways[0][0], *ways[1][0], total, *after], others[0]
    return None


def _chain(
    value: Value, makers: dict[Value, Call], uses: Counter[Value], start: Value | None = None
) -> tuple[list[Call], Value]:
    """What makes a value, one call after the other that only the next one reads, and the value where that begins.

    With a `start`, from there or from what others read too.
    """
    calls: list[Call] = []
    while value != start and value in makers and uses[value] == 1 and len(calls) < CALLS_AT_MOST:
        maker = makers[value]
        if len(maker.operands) != 1:
            break
        calls.insert(0, maker)
        value = maker.operands[0]
    return calls, value


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
