"""Masks: each spelled once, and the steps that one keeps moved to the front once for all recurrent layers under it."""

from __future__ import annotations

from dataclasses import replace

from converters.graph import Call, Graph, Tree, Value, map_tree, values
from migrate.simplify.calls import calls_of, makers_of

Key = tuple[bool, ...]  # for each axis of a view, up to the last that it adds, whether it adds it
READERS = {"local.carry_forward", "local.last_valid", "local.last_state"}  # they see the steps that count only


def sorted_once(graph: Graph) -> Graph:
    """`valid_first(carry_forward(y, mask), mask)` is y in all steps that count, which are all that is read later."""
    calls = calls_of(graph)
    makers, readers, outputs = makers_of(calls), graph.readers(), set(values(graph.outputs))
    new: dict[Value, Value] = {}
    for call in calls:
        before = makers.get(call.args[0]) if call.target == "local.valid_first" else None
        if before is None or before.target != "local.carry_forward" or before.args[1] != call.args[1]:
            continue
        if all(_passes_over(layer, call.args[1], readers, outputs) for layer in readers.get(call.outputs, ())):
            new[call.outputs] = before.args[0]

    def current(leaf: Tree) -> Tree:
        return new.get(leaf, leaf) if isinstance(leaf, Value) else leaf

    return replace(graph, nodes=tuple(replace(call, args=map_tree(current, call.args)) for call in calls))


def _passes_over(layer: Call, mask: Value, readers: dict[Value, list[Call]], outputs: set[Value]) -> bool:
    """Whether of a recurrent layer's outputs those alone are read that count: not its end, which comes after them."""
    first, *others = values(layer.outputs)
    if layer.kind != "module" or outputs.intersection((first, *others)) or any(readers.get(v) for v in others):
        return False
    return all(reader.target in READERS and reader.args[1] == mask for reader in readers.get(first, ()))


def spelled_once(graph: Graph) -> Graph:
    """`mask.unsqueeze(1)[:, None]` as `mask[:, None, None]`, equal views as one, and `a & b & b` as `a & b`."""
    views: dict[Value, tuple[Value, Key]] = {}  # what a view of a mask shows, and how
    known: dict[tuple[Value, Key], Value] = {}
    parts: dict[Value, set[Value]] = {}  # what a mask is the conjunction of
    new: dict[Value, Value] = {}
    nodes = []

    def current(leaf: Tree) -> Tree:
        return new.get(leaf, leaf) if isinstance(leaf, Value) else leaf

    for call in calls_of(graph):
        if new:
            call = replace(call, args=map_tree(current, call.args), kwargs=map_tree(current, call.kwargs))
        key = _key(call)
        if key is not None:
            base, inner = views.get(call.args[0], (call.args[0], ()))
            key = _composed(inner, key)
            views[call.outputs] = base, key
            if (same := known.setdefault((base, key), call.outputs)) != call.outputs:
                new[call.outputs] = same
                continue
            if inner:
                call = Call("operator", "[]", (base, _brackets(key)), {}, call.outputs, call.origin)
        elif call.target == "&" and call.outputs.dtype == "bool":
            left, right = (parts.get(value, {value}) for value in call.args)
            parts[call.outputs] = left | right
            if right <= left and call.args[0].sizes == call.outputs.sizes:
                new[call.outputs] = call.args[0]
                continue
        nodes.append(call)
    if not new and nodes == calls_of(graph):
        return graph
    tensors = {keras: current(value) for keras, value in graph.tensors.items()}
    return replace(graph, nodes=tuple(nodes), outputs=map_tree(current, graph.outputs), tensors=tensors)


def _key(call: Call) -> Key | None:
    """What a view of a mask adds, if that is all it does."""
    source = call.args[0] if call.args else None
    if not isinstance(source, Value) or source.dtype != "bool" or call.kwargs:
        return None
    if call.kind == "method" and call.target == "unsqueeze":
        return (*(False,) * (call.args[1] % (source.rank + 1)), True)
    key = call.args[1] if call.kind == "operator" and call.target == "[]" else None
    if not isinstance(key, tuple) or any(part not in (None, slice(None)) for part in key):
        return None
    return tuple(part is None for part in key)


def _composed(inner: Key, outer: Key) -> Key:
    """The key of a view of a view."""
    rest, key = list(inner), list[bool]()
    for added in outer:
        key.append(added or (rest.pop(0) if rest else False))
    key += rest
    while key and not key[-1]:
        key.pop()
    return tuple(key)


def _brackets(key: Key) -> tuple[slice | None, ...]:
    return tuple(None if added else slice(None) for added in key)
