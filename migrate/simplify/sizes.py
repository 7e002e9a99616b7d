"""Sizes of axes that were stated when the axes were made."""

from __future__ import annotations

from dataclasses import replace

from converters.graph import Graph, Tree, Value, map_tree
from migrate.simplify.calls import calls_of, makers_of


def stated_sizes(graph: Graph) -> Graph:
    """`steps` for `x.unflatten(0, (-1, steps)).shape[1]`: TimeDistributed layers take it of the one before."""
    calls = calls_of(graph)
    makers, known, new = makers_of(calls), dict[Value, Tree](), []
    for call in calls:
        made = makers.get(call.args[0]) if call.kind == "size" else None
        if made is not None and (made.kind, made.target) == ("method", "unflatten"):
            _, first, sizes = made.args
            place = int(call.target) - first
            if 0 <= place < len(sizes) and sizes[place] != -1:
                known[call.outputs] = known.get(sizes[place], sizes[place])
        args, kwargs = map_tree(
            lambda leaf: known.get(leaf, leaf) if isinstance(leaf, Value) else leaf, [call.args, call.kwargs]
        )
        new.append(replace(call, args=args, kwargs=kwargs))
    return replace(graph, nodes=tuple(new))
