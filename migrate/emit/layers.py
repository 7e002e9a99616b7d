"""What is to be said of several layers of a model together, or of a layer and what it reads."""

from __future__ import annotations

from converters.graph import Call, Graph, Value, values
from migrate.blocks.prefixes import layer_name
from migrate.emit.names import is_automatic

ONE_BIAS = "bias_hh"  # of nn.LSTM, nn.GRU and nn.RNN, where Keras has one bias only
REPEATED = 3


def flattened(graph: Graph) -> dict[str, str]:
    """`64 * 4 * 4` for the inputs of a layer that reads flattened images, by the layer's key."""
    makers = {call.outputs: call for call in graph.nodes if isinstance(call, Call) and isinstance(call.outputs, Value)}
    modules = {module.key: module for module in graph.modules}
    found = {}
    for call in graph.nodes:
        if not isinstance(call, Call) or call.kind != "module" or modules[call.target].constructor != "nn.Linear":
            continue
        maker = makers.get(call.args[0])
        while maker is not None and maker.kind == "module" and modules[maker.target].constructor == "nn.Dropout":
            maker = makers.get(maker.args[0])
        if maker is None or maker.target != "flatten" or maker.args[1:] != (1,):
            continue
        sizes = [size for size in maker.args[0].sizes[1:] if size != 1]
        if len(sizes) > 1 and None not in sizes:
            found[call.target] = " * ".join(map(str, sizes))
    return found


def makers_of_outputs(graph: Graph) -> list[str]:
    """What the user calls the layers that make the outputs, where there are several; none if one has no name."""
    origins = {value: call.origin for call in graph.nodes if isinstance(call, Call) for value in values(call.outputs)}
    classes = {module.origin: module.class_name for module in graph.modules}
    made = [origins.get(value, "") for value in values(graph.outputs)]
    named = all(path in classes and not is_automatic(layer_name(path), classes[path]) for path in made)
    return [layer_name(path) for path in made] if named and len(set(made)) == len(made) > 1 else []


def one_bias(graph: Graph) -> set[str]:
    """The keys of recurrent layers, where they have many second biases and all of those stay zero."""
    held = [m for m in graph.modules if any(ONE_BIAS in name for name in m.state) or m.graph is not None]
    alike = all(m.frozen == {name for name in m.state if ONE_BIAS in name} and m.trainable and m.frozen for m in held)
    lines = sum(len(m.frozen) for m in held)
    return {m.key for m in held} if alike and lines >= REPEATED and len({m.comment for m in held}) == 1 else set()
