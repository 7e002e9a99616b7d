"""What stands alone among blocks and is like them: the reductions between the stages of Inception, NASNet's stem.

It becomes a class too, though there is one of it only: the model reads as a list of blocks then.
"""

from __future__ import annotations

from collections.abc import Iterator

from converters.graph import Graph, Module
from migrate.blocks.branches import is_wide
from migrate.blocks.families import Families
from migrate.blocks.pattern import Pattern, Tokens, exact, heavy

LAYERS_AT_LEAST = 3
BLOCKS_AT_LEAST = 2


def singles(graph: Graph, tokens: Tokens) -> Iterator[Pattern]:
    """Patterns of one member each: what puts branches side by side, in a model of blocks that do so."""
    blocks = [module for module in graph.modules if _puts_side_by_side(module)]
    if len(blocks) < BLOCKS_AT_LEAST:
        return
    width = max(len(call.operands) for call in graph.nodes if call.target in {module.key for module in blocks})  # type: ignore[union-attr]
    found = Families(graph, tokens, width)
    for interval in found.alone():
        part = found.member_of(interval)
        layers = sum(heavy(call, tokens.modules) for call in part.calls)
        if layers >= LAYERS_AT_LEAST and any(is_wide(call) for call in part.calls) and len(part.inputs) == 1:
            yield exact([part], tokens.modules)


def _puts_side_by_side(module: Module) -> bool:
    block = module.graph.block if module.graph is not None else None
    return block is not None and any(is_wide(call) for call in block.template.graph.nodes)
