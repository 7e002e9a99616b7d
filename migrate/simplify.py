"""Lowered graph -> the same graph with less in it: dead calls, repeated calls, permutes that weights can absorb."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

from converters.arrangement import Block, Flat
from converters.graph import Call, Graph, Module, Tree, Value, map_tree, values
from converters.layer import compact

PURE = {"function", "method", "operator", "attribute", "size", "rename"}
RANDOM = ("F.dropout", "F.alpha_dropout", "F.feature", "torch.rand", "local.noise")
REDUCTIONS = {"mean", "sum", "amax", "amin"}
VIEWS = {"reshape", "flatten", "unflatten"}
ELEMENTWISE = {
    "F.relu", "F.relu6", "F.leaky_relu", "F.elu", "F.selu", "F.celu", "F.gelu", "F.silu", "F.mish", "F.softplus",
    "F.softsign", "F.hardtanh", "F.hardswish", "F.hardsigmoid", "F.logsigmoid", "sigmoid", "tanh", "relu", "exp",
}  # fmt: skip
PER_FEATURE = {"nn.BatchNorm1d", "nn.Dropout"}  # modules whose every parameter has one number per feature
CONVOLUTIONS = {"nn.Conv1d", "nn.Conv2d", "nn.Conv3d"}


def simplify(graph: Graph) -> Graph:
    """The simplified graph, nested models included. Shapes and meaning stay as they are."""
    modules = tuple(
        replace(module, graph=simplify(module.graph)) if module.graph is not None else module
        for module in graph.modules
    )
    graph = replace(graph, modules=modules)
    for step in (_number_values, _drop_dead, _absorb_reorders, _fold_padding, _keep_dims, _drop_dead):
        graph = step(graph)
    return graph.check()


def count_permutes(graph: Graph) -> int:
    """How many permutes happen at run time, nested models counted once for each call."""
    nested = {module.key: count_permutes(module.graph) for module in graph.modules if module.graph is not None}
    total = 0
    for call in graph.nodes:
        assert isinstance(call, Call)
        total += nested.get(call.target, 0) if call.kind == "module" else call.target in ("permute", "transpose")
    return total


def _calls(graph: Graph) -> list[Call]:
    return [call for call in graph.nodes if isinstance(call, Call)]


def _substituted(tree: Tree, new: Mapping[Value, Value]) -> Tree:
    """Values replaced; what is the same data is still read with the axes that it had here."""
    return map_tree(
        lambda leaf: new.get(leaf, leaf).arranged(leaf.arrangement) if isinstance(leaf, Value) else leaf, tree
    )


def _drop_dead(graph: Graph) -> Graph:
    """Calls whose outputs nobody reads."""
    alive = set(values(graph.outputs))
    kept = []
    for call in reversed(_calls(graph)):
        if alive.intersection(values(call.outputs)):
            alive.update(call.operands)
            kept.append(call)
    return replace(graph, nodes=tuple(reversed(kept)))


def _number_values(graph: Graph) -> Graph:
    """Equal calls on equal operands are one call; chains of views and of permutes are one, or none."""
    new: dict[Value, Value] = {}
    known: dict[Hashable, Value] = {}
    makers: dict[Value, Call] = {}
    kept: list[Call] = []
    for call in _calls(graph):
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
        order = _order(call)
        while before is not None and before.kind == "method" and before.target in ("permute", "transpose"):
            inner = _order(before)
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


def _order(call: Call) -> list[int]:
    order = list(range(call.args[0].rank))
    if call.target == "permute":
        return [int(axis) for axis in call.args[1:]]
    first, second = call.args[1:]
    order[first], order[second] = order[second], order[first]
    return order


# -- weights that absorb a permute ---------------------------------------------------------------------------


def _absorb_reorders(graph: Graph) -> Graph:
    """Linear -> elementwise -> unflatten -> permute: the rows of the Linear are reordered instead."""
    for call in _calls(graph):
        if call.kind == "method" and call.target in ("permute", "transpose"):
            graph = _absorb(graph, call) or graph
    return graph


def _absorb(graph: Graph, permute: Call) -> Graph | None:
    calls = _calls(graph)
    makers = {value: call for call in calls for value in values(call.outputs)}
    uses = Counter(v for call in calls for v in call.operands) + Counter(values(graph.outputs))
    modules = {module.key: module for module in graph.modules}
    called = Counter(call.target for call in calls if call.kind == "module")
    view = makers.get(permute.args[0])
    if view is None or view.target not in ("reshape", "unflatten") or uses[permute.args[0]] != 1:
        return None
    flat, sizes, order = view.args[0], view.outputs.shape, _order(permute)
    if flat.rank != 2 or order[0] != 0 or None in sizes[1:]:
        return None
    found: list[Module] = []
    value, reordered = flat, set[Value]()
    while True:
        reordered.add(value)
        maker = makers.get(value)
        if maker is None or uses[value] != 1:
            return None
        if maker.kind == "module" and called[maker.target] == 1:
            module = modules[maker.target]
            found.append(module)
            if module.constructor == "nn.Linear":
                break
            if module.constructor not in PER_FEATURE:
                return None
        elif maker.kind not in ("function", "method") or maker.target not in ELEMENTWISE:
            return None
        value = maker.args[0]
    block = Flat(2, (Block(tuple(sizes[1:]), tuple(axis - 1 for axis in order[1:])),))
    changed = {
        m.key: replace(m, state={k: w.reorder(0, block) if w.rank else w for k, w in m.state.items()}) for m in found
    }
    unflatten = replace(
        view, target="unflatten", args=(flat, 1, permute.outputs.shape[1:]), kwargs={}, outputs=permute.outputs
    )
    tensors = {v: value.arranged(block) if value in reordered else value for v, value in graph.tensors.items()}
    return replace(
        graph,
        tensors=tensors,
        modules=tuple(changed.get(module.key, module) for module in graph.modules),
        nodes=tuple(unflatten if call is permute else call for call in calls if call is not view),
    )


def _fold_padding(graph: Graph) -> Graph:
    """Zeros of the same width on both sides, read by one convolution only, become its `padding`."""
    calls = _calls(graph)
    uses = Counter(v for call in calls for v in call.operands) + Counter(values(graph.outputs))
    called = Counter(call.target for call in calls if call.kind == "module")
    makers = {value: call for call in calls for value in values(call.outputs)}
    modules = {module.key: module for module in graph.modules}
    new: dict[Call, Call] = {}
    for call in calls:
        module = modules.get(call.target) if call.kind == "module" else None
        if module is None or module.constructor not in CONVOLUTIONS or called[call.target] != 1:
            continue
        pad = makers.get(call.args[0])
        widths = _symmetric(pad, int(module.constructor[-2]))
        if pad is None or widths is None or uses[call.args[0]] != 1 or "padding" in module.kwargs:
            continue
        modules[module.key] = replace(module, kwargs=_with_padding(module.kwargs, compact(widths)))
        new[call] = replace(call, args=(pad.args[0],))
    return replace(
        graph, nodes=tuple(new.get(call, call) for call in calls), modules=tuple(modules[m.key] for m in graph.modules)
    )


def _keep_dims(graph: Graph) -> Graph:
    """A reduction whose axes are put back with size 1 keeps them in the first place."""
    calls = _calls(graph)
    uses = Counter(v for call in calls for v in call.operands) + Counter(values(graph.outputs))
    makers = {call.outputs: call for call in calls if isinstance(call.outputs, Value) and uses[call.outputs] == 1}
    new: dict[Call, Call] = {}
    for call in calls:
        before = makers.get(call.args[0]) if call.kind == "method" and call.target in ("reshape", "unsqueeze") else None
        if (
            before is None
            or before.kind != "method"
            or before.target not in REDUCTIONS
            or set(before.kwargs) != {"dim"}
        ):
            continue
        dims = before.kwargs["dim"] if isinstance(before.kwargs["dim"], tuple) else (before.kwargs["dim"],)
        kept = tuple(1 if axis in dims else size for axis, size in enumerate(before.args[0].shape))
        if kept == call.outputs.shape:
            new[call] = replace(before, kwargs={**before.kwargs, "keepdim": True}, outputs=call.outputs)
    return replace(graph, nodes=tuple(new.get(call, call) for call in _calls(graph)))


def _with_padding(kwargs: Mapping[str, Any], padding: Any) -> dict[str, Any]:
    """`padding` where people write it: after the stride."""
    before = {key: value for key, value in kwargs.items() if key == "stride"}
    return {**before, "padding": padding, **{k: v for k, v in kwargs.items() if k not in before}}


def _symmetric(pad: Call | None, rank: int) -> tuple[int, ...] | None:
    """The padding of each spatial axis, if a call pads all of them, each alike on both sides, with zeros."""
    if pad is None or pad.kind != "function" or pad.target != "F.pad" or pad.kwargs or len(pad.args) != 2:
        return None
    widths = pad.args[1]
    if len(widths) != 2 * rank or any(not isinstance(w, int) or w < 0 for w in widths):
        return None
    if any(widths[i] != widths[i + 1] for i in range(0, len(widths), 2)):
        return None
    return tuple(reversed(widths[::2]))
