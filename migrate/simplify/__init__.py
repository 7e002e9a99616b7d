"""Lowered graph -> the same graph with less in it: dead calls, repeated calls, permutes that weights can absorb."""

from __future__ import annotations

from dataclasses import replace

from converters.graph import Call, Graph
from migrate.simplify.attention import self_attention
from migrate.simplify.folding import fold_hard_sigmoid, fold_padding, fold_pooling, fold_strides, keep_dims
from migrate.simplify.literals import plain_numbers
from migrate.simplify.masks import sorted_once, spelled_once
from migrate.simplify.numbering import drop_dead, number_values
from migrate.simplify.pooling import pool_any_size
from migrate.simplify.reorders import absorb_reorders
from migrate.simplify.sizes import stated_sizes
from migrate.simplify.vectors import keep_vectors

__all__ = ["count_permutes", "simplify"]

STEPS = (
    number_values, stated_sizes, drop_dead, absorb_reorders, fold_padding, fold_pooling, fold_strides,
    fold_hard_sigmoid, keep_dims, keep_vectors, pool_any_size, self_attention, sorted_once, spelled_once,
    plain_numbers, drop_dead,
)  # fmt: skip


def simplify(graph: Graph) -> Graph:
    """The simplified graph, nested models included. Shapes and meaning stay as they are."""
    modules = tuple(
        replace(module, graph=simplify(module.graph)) if module.graph is not None else module
        for module in graph.modules
    )
    graph = replace(graph, modules=modules)
    for step in STEPS:
        graph = step(graph)
    return graph.check()


def count_permutes(graph: Graph) -> int:
    """How many permutes happen at run time, nested models counted once for each call, those of a LayerNorm2d too."""
    nested = {module.key: count_permutes(module.graph) for module in graph.modules if module.graph is not None}
    nested |= {module.key: 2 for module in graph.modules if module.constructor == "local.LayerNorm2d"}
    total = 0
    for call in graph.nodes:
        assert isinstance(call, Call)
        total += nested.get(call.target, 0) if call.kind == "module" else call.target in ("permute", "transpose")
    return total
