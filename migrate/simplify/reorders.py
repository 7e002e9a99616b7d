"""Permutes of features that the rows of a Linear can absorb."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from converters.arrangement import Block, Flat
from converters.graph import Call, Graph, Module, Value
from migrate.simplify.calls import calls_of, makers_of, order_of

ELEMENTWISE = {
    "F.relu", "F.relu6", "F.leaky_relu", "F.elu", "F.selu", "F.celu", "F.gelu", "F.silu", "F.mish", "F.softplus",
    "F.softsign", "F.hardtanh", "F.hardswish", "F.hardsigmoid", "F.logsigmoid", "sigmoid", "tanh", "relu", "exp",
}  # fmt: skip
PER_FEATURE = {"nn.BatchNorm1d", "nn.Dropout"}  # modules whose every parameter has one number per feature


def absorb_reorders(graph: Graph) -> Graph:
    """Linear -> elementwise -> unflatten -> permute: the rows of the Linear are reordered instead."""
    for call in calls_of(graph):
        if call.kind == "method" and call.target in ("permute", "transpose"):
            graph = _absorb(graph, call) or graph
    return graph


def _absorb(graph: Graph, permute: Call) -> Graph | None:
    calls = calls_of(graph)
    makers, uses = makers_of(calls), graph.uses()
    modules = {module.key: module for module in graph.modules}
    called = Counter(call.target for call in calls if call.kind == "module")
    view = makers.get(permute.args[0])
    if view is None or view.target not in ("reshape", "unflatten") or uses[permute.args[0]] != 1:
        return None
    flat, sizes, order = view.args[0], view.outputs.shape, order_of(permute)
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
