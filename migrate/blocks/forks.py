"""Two or more chains of layers from one value, put side by side: found inside larger blocks, as a gate is.

NASNet halves an image so: one half of the channels from every second pixel, the other from those between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from converters.graph import Call, Graph, Value, values
from migrate.blocks.families import in_cells
from migrate.blocks.merging import unify
from migrate.blocks.pattern import Member, Pattern, Tokens, heavy, shared_modules

CALLS_AT_MOST = 10


def forks(graph: Graph, tokens: Tokens) -> Iterator[Pattern]:
    """Patterns of forks that are there at least twice, in models of which the larger blocks read two others."""
    if not in_cells(graph):
        return
    uses, shared = graph.uses(), shared_modules(graph)
    makers = {v: call for call in graph.nodes if isinstance(call, Call) for v in values(call.outputs)}
    found = []
    for call in graph.nodes:
        assert isinstance(call, Call)
        chains = [_chain(value, makers, uses) for value in call.operands] if call.target == "torch.cat" else []
        alike = all(chains) and len({chain[0].operands[0] for chain in chains}) == 1
        if alike and all(any(heavy(c, tokens.modules) for c in chain) for chain in chains):
            calls = (*(c for chain in chains for c in chain), call)
            if not shared.intersection(c.target for c in calls):
                found.append(Member(calls, call.outputs))
    yield from (pattern for pattern in unify(found, tokens) if len(pattern.members) > 1)


def _chain(value: Value, makers: dict[Value, Call], uses: Counter[Value]) -> list[Call]:
    """The calls that lead to a value, each the only reader of the one before."""
    chain: list[Call] = []
    while value in makers and uses[value] == 1 and len(makers[value].operands) == 1 and len(chain) < CALLS_AT_MOST:
        chain.insert(0, makers[value])
        value = makers[value].operands[0]
    return chain
