"""Blocks that follow each other -> stages, each an nn.Sequential."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from converters.graph import Call, Graph, Module, Value
from migrate.blocks.canonical import ordered
from migrate.blocks.prefixes import stage_of


def staged(graph: Graph) -> Graph:
    """Chains of blocks as stages: as the user's names say, else a new one wherever the shape of the data changes."""
    modules = {module.key: module for module in graph.modules}
    for run in runs(graph, modules):
        for stage in split(run, modules):
            if len(stage) > 1:
                graph = _joined(graph, stage, modules)
    return graph


def runs(graph: Graph, modules: dict[str, Module]) -> list[list[Call]]:
    """Blocks of which each is the only reader of the one before."""
    uses = graph.uses()
    called = Counter(call.target for call in graph.nodes if isinstance(call, Call) and call.kind == "module")
    found: list[list[Call]] = []
    last: dict[Value, list[Call]] = {}
    for call in graph.nodes:
        assert isinstance(call, Call)
        if (
            call.kind != "module"
            or modules[call.target].graph is None
            or len(call.args) != 1
            or called[call.target] > 1
        ):
            continue
        if modules[call.target].graph.block is None:  # type: ignore[union-attr]  # not None, as seen above
            continue
        run = last.pop(call.args[0], None) if uses[call.args[0]] == 1 else None
        if run is None:
            run = []
            found.append(run)
        run.append(call)
        last[call.outputs] = run
    return [run for run in found if len(run) > 1]


def split(run: list[Call], modules: dict[str, Module]) -> list[list[Call]]:
    """The stages of a run."""
    named = [stage_of(modules[call.target].graph.block.prefix) for call in run]  # type: ignore[union-attr]
    stages: list[list[Call]] = []
    for number, call in enumerate(run):
        new = named[number] != named[number - 1] if all(named) else _changes(call) and not _continues(run, number)
        if not stages or new or _template(call, modules) is not _template(stages[-1][-1], modules):
            stages.append([])
        stages[-1].append(call)
    return stages


def _template(call: Call, modules: dict[str, Module]) -> object:
    return modules[call.target].graph.block.template  # type: ignore[union-attr]  # a run holds blocks


def _changes(call: Call) -> bool:
    return bool(call.args[0].shape != call.outputs.shape)


def _continues(run: list[Call], number: int) -> bool:
    """Blocks that all widen the data a little, at one resolution, belong together."""
    return number > 0 and _only_widens(run[number]) and _only_widens(run[number - 1])


def _only_widens(call: Call) -> bool:
    before, after = call.args[0].sizes, call.outputs.sizes
    return len(before) == len(after) and before != after and before[2:] == after[2:]


def _joined(graph: Graph, stage: list[Call], modules: dict[str, Module]) -> Graph:
    """One call of an nn.Sequential in place of a stage."""
    own = [modules[call.target] for call in stage]
    inner = Graph("", stage[0].args[0], stage[-1].outputs, tuple(stage), tuple(own), sequential=True)
    key = f"stage {stage[-1].outputs.name}"
    module = Module(key, "sequential", (), {}, {}, "", trainable=any(m.trainable for m in own), graph=inner)
    call = Call("module", key, stage[0].args, {}, stage[-1].outputs, "")
    gone = {m.key for m in own}
    calls = [node for node in graph.nodes if isinstance(node, Call)]
    nodes = tuple(call if node is stage[-1] else node for node in calls if node not in stage[:-1])
    kept = tuple(m for m in graph.modules if m.key not in gone)
    return ordered(replace(graph, nodes=nodes, modules=(*kept, module)))
