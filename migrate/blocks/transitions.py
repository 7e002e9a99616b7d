"""What stands between the blocks of a network, the same each time: the transitions of DenseNet."""

from __future__ import annotations

from collections.abc import Iterator

from converters.graph import Graph, values
from migrate.blocks.chains import straight_chains
from migrate.blocks.merging import unify
from migrate.blocks.pattern import Member, Pattern, Tokens, heavy

CALLS_AT_LEAST = 3


def transitions(graph: Graph, tokens: Tokens) -> Iterator[Pattern]:
    """Patterns of whole chains that lead from one block to the next, at least two members each."""
    blocks = {m.key for m in graph.modules if m.graph is not None and m.graph.block is not None}
    made = {value for call in graph.nodes if call.target in blocks for value in values(call.outputs)}  # type: ignore[union-attr]
    readers, found = graph.readers(), []
    for chain in straight_chains(graph, tokens):
        after = readers.get(chain[-1].outputs, [])
        between = chain[0].operands[0] in made and after and all(call.target in blocks for call in after)
        if between and len(chain) >= CALLS_AT_LEAST and any(heavy(call, tokens.modules) for call in chain):
            found.append(Member(tuple(chain), chain[-1].outputs))
    yield from (pattern for pattern in unify(found, tokens) if len(pattern.members) > 1)
