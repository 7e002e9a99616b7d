"""What the arguments of a `forward` are called."""

from __future__ import annotations

from converters.graph import Call, Graph, Value, values
from migrate.emit.handover import input_sides
from migrate.emit.names import AUTOMATIC_INPUT, identifier, unique


def argument_names(graph: Graph) -> list[str]:
    """The arguments of `forward`: the user's names for inputs, else `x`, or `x1`, `x2` for several.

    What an embedding reads first is called `tokens`; what an encoder and a decoder read, `source` and `target`.
    """
    inputs, embedded, sides = values(graph.inputs), _embedded(graph), input_sides(graph)
    names: list[str] = []
    taken: set[str] = set()
    own_names = [identifier(value.name) for value in inputs]
    automatic = [not name or bool(AUTOMATIC_INPUT.fullmatch(name)) for name in own_names]
    for number, (own, unnamed) in enumerate(zip(own_names, automatic, strict=True), 1):
        if unnamed:
            kind = "tokens" if inputs[number - 1] in embedded else "x"
            own = sides.get(inputs[number - 1]) or (kind if sum(automatic) == 1 else f"{kind}{number}")
        names.append(unique(own, taken))
    return names


def _embedded(graph: Graph) -> set[Value]:
    """The inputs that go into an embedding as they are."""
    modules = {module.key: module for module in graph.modules}
    calls = [call for call in graph.nodes if isinstance(call, Call) and call.kind == "module"]
    return {v for call in calls if modules[call.target].constructor == "nn.Embedding" for v in call.operands}
