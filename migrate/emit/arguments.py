"""What the arguments of a `forward` are called."""

from __future__ import annotations

from converters.graph import Call, Graph, Value, values
from migrate.emit.handover import input_sides
from migrate.emit.names import AUTOMATIC_INPUT, identifier, unique


def argument_names(graph: Graph) -> list[str]:
    """The arguments of `forward`: the user's names for inputs, else `x`, or `x1`, `x2` for several.

    What an embedding reads first is called `tokens`, what is true or false `mask`; what an encoder and a decoder read,
    `source` and `target`.
    """
    inputs, embedded, sides = values(graph.inputs), _embedded(graph), input_sides(graph)
    names: list[str] = []
    taken: set[str] = set()
    own_names = [identifier(value.name) for value in inputs]
    kinds = [
        ("mask" if value.dtype == "bool" else "tokens" if value in embedded else "x")
        if not name or AUTOMATIC_INPUT.fullmatch(name)
        else ""
        for value, name in zip(inputs, own_names, strict=True)
    ]
    for number, (value, own, kind) in enumerate(zip(inputs, own_names, kinds, strict=True)):
        if kind:
            place = kinds[: number + 1].count(kind)
            own = sides.get(value) or (kind if kinds.count(kind) == 1 else f"{kind}{place}")
        names.append(unique(own, taken))
    return names


def _embedded(graph: Graph) -> set[Value]:
    """The inputs that go into an embedding as they are."""
    modules = {module.key: module for module in graph.modules}
    calls = [call for call in graph.nodes if isinstance(call, Call) and call.kind == "module"]
    return {v for call in calls if modules[call.target].constructor == "nn.Embedding" for v in call.operands}
