"""What the parts of a U-Net are called: `down1`, `bottleneck`, `up1`, `head`, by what is upsampled and joined."""

from __future__ import annotations

from converters.graph import Call, Graph, Module, Value, values
from migrate.blocks.prefixes import layer_name
from migrate.emit.names import is_automatic

LEVELS_AT_LEAST = 2


def hourglass(graph: Graph) -> dict[str, str]:
    """Names by the keys of modules; none where the graph is no U-Net of one block a level, or has the user's names."""
    modules = {module.key: module for module in graph.modules}
    calls = [call for call in graph.nodes if isinstance(call, Call)]
    makers = {value: call for call in calls for value in values(call.outputs)}
    joins = [call for call in calls if call.target == "torch.cat" and len(call.operands) == 2]
    wide = {join: next((v for v in join.operands if _is_upsampled(v, makers, modules)), None) for join in joins}
    levels = [join for join, value in wide.items() if value is not None]
    if len(levels) < LEVELS_AT_LEAST:
        return {}
    skips = [value for join in levels for value in join.operands if value != wide[join]]
    down = [call.target for call in calls if call.outputs in skips and call.kind == "module"]
    up = [call.target for call in calls if call.kind == "module" and set(call.operands) & {j.outputs for j in levels}]
    names = _numbered("down", down) | _numbered("up", up)
    deepest = makers[wide[levels[0]]].operands[0]  # type: ignore[index]  # levels have one
    rest = {makers[deepest].target: "bottleneck"} if deepest in makers else {}
    last = [module for module in graph.modules if module.state][-1:]
    rest |= {module.key: "head" for module in last if is_automatic(layer_name(module.origin), module.class_name)}
    names |= {key: name for key, name in rest.items() if key in modules and key not in names}
    blocks = [module for module in graph.modules if module.graph is not None]
    return names if all(_is_unnamed(m) and m.key in names for m in blocks) and blocks else {}


def _is_upsampled(value: Value, makers: dict[Value, Call], modules: dict[str, Module]) -> bool:
    maker = makers.get(value)
    if maker is None:
        return False
    layer = modules[maker.target].constructor if maker.kind == "module" else ""
    return maker.target == "F.interpolate" or layer.startswith("nn.ConvTranspose")


def _numbered(word: str, keys: list[str]) -> dict[str, str]:
    return {key: f"{word}{number}" for number, key in enumerate(keys, 1)}


def _is_unnamed(module: Module) -> bool:
    return module.graph is not None and module.graph.block is not None and not module.graph.block.prefix
