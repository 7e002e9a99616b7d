"""What the parts of a U-Net are called: `down1`, `bottleneck`, `up1`, `head`, by what is upsampled and joined.

What is kept for a later join is called `skip1`, `skip2` ...
"""

from __future__ import annotations

from collections.abc import Mapping

from converters.graph import Call, Graph, Module, Value, values
from migrate.blocks.prefixes import layer_name
from migrate.emit.names import is_automatic

LEVELS_AT_LEAST = 2


def hourglass(graph: Graph) -> dict[str, str]:
    """Names by the keys of modules; none where the graph is no U-Net of one block a level, or has the user's names."""
    modules = {module.key: module for module in graph.modules}
    calls = [call for call in graph.nodes if isinstance(call, Call)]
    makers = {value: call for call in calls for value in values(call.outputs)}
    wide = _levels(graph)
    if len(wide) < LEVELS_AT_LEAST:
        return {}
    joined, kept = {join.outputs for join in wide}, _kept(wide, makers)
    down = [call.target for call in calls if call.outputs in kept and call.kind == "module"]
    up = [call.target for call in calls if call.kind == "module" and set(call.operands) & joined]
    names = _numbered("down", down) | _numbered("up", up)
    deepest = makers[next(iter(wide.values()))].operands[0]
    rest = {makers[deepest].target: "bottleneck"} if deepest in makers else {}
    last = [module for module in graph.modules if module.state][-1:]
    rest |= {module.key: "head" for module in last if is_automatic(layer_name(module.origin), module.class_name)}
    gates = [call.target for call in calls if call.kind == "module" and len(call.operands) == 2 and _feeds(call, wide)]
    names |= {key: name for key, name in _numbered("gate", gates).items() if key not in names}
    names |= {key: name for key, name in rest.items() if key in modules and key not in names}
    blocks = [module for module in graph.modules if module.graph is not None and module.key not in gates]
    return names if all(_is_unnamed(m) and m.key in names for m in blocks) and blocks else {}


def skips(graph: Graph) -> dict[Value, str]:
    """What is put beside something upsampled, and is read before: its names, in the order in which it is made."""
    makers = {value: call for call in graph.nodes if isinstance(call, Call) for value in values(call.outputs)}
    kept, readers = _kept(_levels(graph), makers), graph.readers()
    made = [v for call in graph.nodes for v in values(call.outputs) if v in kept and len(readers[v]) > 1]
    return {value: f"skip{number}" if len(made) > 1 else "skip" for number, value in enumerate(made, 1)}


def _kept(wide: Mapping[Call, Value], makers: Mapping[Value, Call]) -> list[Value]:
    """What is beside what is upsampled; of what a gate made of two things, that which was there first."""
    places = {value: number for number, value in enumerate(makers)}
    beside = [value for join, other in wide.items() for value in join.operands if value != other]
    return [_before_gate(value, makers, places) for value in beside]


def _before_gate(value: Value, makers: Mapping[Value, Call], places: Mapping[Value, int]) -> Value:
    maker = makers.get(value)
    gates = maker is not None and len(maker.operands) == 2 and (maker.target == "*" or maker.kind == "module")
    return min(maker.operands, key=lambda v: places.get(v, -1)) if maker is not None and gates else value


def _levels(graph: Graph) -> dict[Call, Value]:
    """What puts two tensors side by side of which one is upsampled; and that one."""
    modules = {module.key: module for module in graph.modules}
    calls = [call for call in graph.nodes if isinstance(call, Call)]
    makers = {value: call for call in calls for value in values(call.outputs)}
    joins = [call for call in calls if call.target == "torch.cat" and len(call.operands) == 2]
    wide = {join: next((v for v in join.operands if _is_upsampled(v, makers, modules)), None) for join in joins}
    return {join: value for join, value in wide.items() if value is not None}


def _is_upsampled(value: Value, makers: dict[Value, Call], modules: dict[str, Module]) -> bool:
    maker = makers.get(value)
    if maker is None:
        return False
    layer = modules[maker.target].constructor if maker.kind == "module" else ""
    return maker.target == "F.interpolate" or layer.startswith("nn.ConvTranspose")


def _feeds(gate: Call, wide: Mapping[Call, Value]) -> bool:
    return any(gate.outputs in join.operands for join in wide)


def _numbered(word: str, keys: list[str]) -> dict[str, str]:
    return {key: f"{word}{number}" for number, key in enumerate(keys, 1)}


def _is_unnamed(module: Module) -> bool:
    """Whether it is a block, or a stage of blocks, to which the user's names give none."""
    if module.graph is not None and module.graph.sequential and not module.origin:
        return all(map(_is_unnamed, module.graph.modules))
    return module.graph is not None and module.graph.block is not None and not module.graph.block.prefix
