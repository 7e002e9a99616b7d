"""Attention of a sequence to itself, of which nothing is hidden or dropped, needs the short class only."""

from __future__ import annotations

from dataclasses import replace

from converters.graph import Call, Graph, Module
from migrate.simplify.calls import calls_of

SIZES = ("heads", "head_dim")
USUAL = {"kv_dim": None, "bias": True, "dropout": 0.0}


def self_attention(graph: Graph) -> Graph:
    """The graph in which such layers are `local.SelfAttention`: same weights, one argument."""
    calls: dict[str, list[Call]] = {}
    for call in calls_of(graph):
        if call.kind == "module":
            calls.setdefault(call.target, []).append(call)
    short = {m.key for m in graph.modules if _is_plain(m) and all(map(_looks_at_itself, calls.get(m.key, ())))}
    if not short:
        return graph
    return replace(
        graph,
        modules=tuple(
            replace(m, constructor="local.SelfAttention", kwargs={key: m.kwargs[key] for key in SIZES})
            if m.key in short
            else m
            for m in graph.modules
        ),
        nodes=tuple(
            replace(call, args=call.args[:1]) if call.kind == "module" and call.target in short else call
            for call in calls_of(graph)
        ),
    )


def _is_plain(module: Module) -> bool:
    more = {key: value for key, value in module.kwargs.items() if key not in SIZES}
    return module.constructor == "local.MultiHeadAttention" and more.items() <= USUAL.items()


def _looks_at_itself(call: Call) -> bool:
    return not call.kwargs and len(call.args) == 3 and len(set(call.args)) == 1
