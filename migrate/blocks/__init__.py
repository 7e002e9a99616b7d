"""Repeated parts of a lowered graph become classes with parameters, proved by replay.

`with_blocks` turns a graph into one whose modules are instances of templates; nothing is computed in another way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from converters.graph import Graph
from migrate.blocks.bystanders import families
from migrate.blocks.canonical import canonical
from migrate.blocks.chains import units
from migrate.blocks.families import cells
from migrate.blocks.forks import forks
from migrate.blocks.gates import gates
from migrate.blocks.instances import replaced
from migrate.blocks.models import alike_models, chained_models
from migrate.blocks.outline import outline
from migrate.blocks.pattern import Pattern, Tokens, in_order
from migrate.blocks.singles import singles
from migrate.blocks.stages import staged
from migrate.blocks.template import build
from migrate.blocks.transitions import transitions

__all__ = ["canonical", "forms", "with_blocks"]


def forms(graph: Graph) -> Iterator[Graph]:
    """The graph with blocks, with and without small units in them: the shorter text is the better one."""
    if not has_ties(graph):
        yield with_blocks(graph)
        yield with_blocks(graph, small=True)


def has_ties(graph: Graph) -> bool:
    """Whether modules of it are to be found under two names, which a block would change."""
    return bool(graph.ties) or any(has_ties(m.graph) for m in graph.modules if m.graph is not None)


def with_blocks(graph: Graph, *, small: bool = False) -> Graph:
    """The graph with its repeated parts as blocks, nested models included.

    `small`: chains of a few layers become units first, of which larger blocks are made then.
    """
    graph = alike_models(graph)
    modules = tuple(
        replace(m, graph=with_blocks(m.graph, small=small)) if m.graph is not None and m.graph.block is None else m
        for m in graph.modules
    )
    graph = replace(graph, modules=modules)
    steps = (
        [gates, forks, units, families, cells, singles, transitions]
        if small
        else [gates, forks, families, cells, singles, transitions, units]
    )
    for find in steps:
        for pattern in list(find(graph, Tokens(graph.modules))):
            graph = collapsed(graph, pattern)
    return staged(chained_models(graph))


def collapsed(graph: Graph, pattern: Pattern) -> Graph:
    """The graph with one pattern as a block; where that takes too many parameters, with its exact parts as blocks."""
    pattern = in_order(pattern, graph)
    template = build(pattern)
    if template is not None:
        outline(template, pattern)
        return replaced(graph, pattern, template)
    return graph
