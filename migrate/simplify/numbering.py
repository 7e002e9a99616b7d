"""Value numbering: equal calls on equal operands are one, views of views and permutes of permutes too."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace

from converters.graph import Call, Graph, Tree, Value, map_tree, values
from migrate.simplify.calls import calls_of, order_of

PURE = {"function", "method", "operator", "attribute", "size", "rename"}
RANDOM = ("F.dropout", "F.alpha_dropout", "F.feature", "torch.rand", "local.noise")
VIEWS = {"reshape", "flatten", "unflatten"}


def _substituted(tree: Tree, new: Mapping[Value, Value]) -> Tree:
    """Values replaced; what is the same data is still read with the axes that it had here."""
    return map_tree(
        lambda leaf: new.get(leaf, leaf).arranged(leaf.arrangement) if isinstance(leaf, Value) else leaf, tree
    )


def drop_dead(graph: Graph) -> Graph:
    """Calls whose outputs nobody reads."""
    alive = set(values(graph.outputs))
    kept = []
    for call in reversed(calls_of(graph)):
        if alive.intersection(values(call.outputs)):
            alive.update(call.operands)
            kept.append(call)
    return replace(graph, nodes=tuple(reversed(kept)))


def number_values(graph: Graph) -> Graph:
    """Equal calls on equal operands are one call; chains of views and of permutes are one, or none."""
    new: dict[Value, Value] = {}
    known: dict[Hashable, Value] = {}
    makers: dict[Value, Call] = {}
    kept: list[Call] = []
    for call in calls_of(graph):
        call = replace(call, args=_substituted(call.args, new), kwargs=_substituted(call.kwargs, new))
        call = _merged(call, makers)
        output = call.outputs
        if isinstance(output, Value) and call.kind in PURE and not call.target.startswith(RANDOM):
            if call.kind == "rename":
                new[output] = call.args[0]
                continue
            key = (call.kind, call.target, _frozen(call.args), _frozen(call.kwargs))
            if key in known:
                new[output] = known[key]
                continue
            known[key] = output
        kept.append(call)
        for value in values(call.outputs):
            makers[value] = call
    tensors = {source: _substituted(value, new) for source, value in graph.tensors.items()}
    return replace(graph, nodes=tuple(kept), outputs=_substituted(graph.outputs, new), tensors=tensors)


def _frozen(tree: Tree) -> Hashable:
    """A tree as a key; 1, 1.0 and True differ."""
    if isinstance(tree, (list, tuple)):
        return (type(tree).__name__, *map(_frozen, tree))
    if isinstance(tree, Mapping):
        return tuple((key, _frozen(value)) for key, value in tree.items())
    if isinstance(tree, slice):
        return ("slice", _frozen((tree.start, tree.stop, tree.step)))
    return tree if isinstance(tree, Value) else (type(tree).__name__, repr(tree))


def _merged(call: Call, makers: Mapping[Value, Call]) -> Call:
    """A view of a view, or a permute of a permute, as one call; a rename where nothing is left."""
    if call.kind == "operator" and call.target in ("&", "|") and call.args[0] == call.args[1]:
        return replace(call, kind="rename", target="", args=call.args[:1])  # masks that meet again
    if whole := _unsqueezed_first(call, makers):
        return replace(call, kind="rename", target="", args=(whole,), kwargs={})
    if call.kind != "method" or not isinstance(call.args[0], Value):
        return call
    source = call.args[0]
    before = makers.get(source)
    if call.target in ("permute", "transpose"):
        order = order_of(call)
        while before is not None and before.kind == "method" and before.target in ("permute", "transpose"):
            inner = order_of(before)
            order, source = [inner[axis] for axis in order], before.args[0]
            before = makers.get(source)
        if order == sorted(order):
            return replace(call, kind="rename", target="", args=(source,))
        return replace(call, target="permute", args=(source, *order)) if source is not call.args[0] else call
    if call.target in VIEWS:
        while before is not None and before.kind == "method" and before.target in VIEWS:
            source = before.args[0]
            if source.shape == call.outputs.shape:
                return replace(call, kind="rename", target="", args=(source,), kwargs={})
            before = makers.get(source)
    return call


def _unsqueezed_first(call: Call, makers: Mapping[Value, Call]) -> Value | None:
    """h for `h[0].unsqueeze(0)` where h has one row: the state of a recurrent layer that another one starts from."""
    if call.kind != "method" or call.target != "unsqueeze" or call.args[1:] != (0,):
        return None
    before = makers.get(call.args[0])
    if before is None or before.target != "[]" or before.args[1] != 0 or before.args[1] is False:
        return None
    source = before.args[0]
    return source if isinstance(source, Value) and source.sizes[0] == 1 else None
