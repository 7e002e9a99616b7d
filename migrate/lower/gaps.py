"""What cannot be converted, told without converting."""

from __future__ import annotations

from converters.errors import Gap, Unsupported
from converters.graph import Graph, Node
from converters.layers.refused import REFUSED as REFUSED_LAYERS
from converters.ops.refused import REFUSED as REFUSED_OPS
from converters.registry import lookup


def unknown(op: str) -> Unsupported:
    """The refusal of something that has no converter."""
    kind, _, name = op.partition(".")
    if name == "Lambda":
        return Unsupported(
            "a Lambda holds Python bytecode, which is never run here",
            "in Keras, replace it by a built-in layer or keras.ops and save the model again",
        )
    if refusal := REFUSED_LAYERS.get(op) or REFUSED_OPS.get(op):
        return Unsupported(*refusal)
    if kind == "tf":
        return Unsupported(
            f"the TensorFlow function {op!r:.80} has no converter",
            "in Keras, replace it by a layer or another function, and save the model again",
        )
    what = {"layers": "layer class", "ops": "op", "activations": "activation"}.get(kind, kind)
    return Unsupported(
        f"the {what} {name!r:.80} has no converter",
        "if it is your own class: in Keras, rebuild the model from built-in layers and save it again",
    )


def check_known(graph: Graph) -> list[Gap]:
    """The gaps that can be seen without converting: unknown layers and config keys, nested models included."""
    gaps, seen = [], set()
    for node in graph.nodes:
        assert isinstance(node, Node)
        layer = node.layer
        if layer.path in seen:
            continue
        seen.add(layer.path)
        if layer.graph is not None:
            gaps += check_known(layer.graph)
            continue
        try:
            if layer.refusal is not None:
                raise Unsupported(*layer.refusal)
            converter = lookup(node.op)
            if converter is None:
                raise unknown(node.op)
            converter.config(layer.config)
        except Unsupported as error:
            gaps.append(Gap(layer.path, layer.class_name, error.reason, error.way_out))
    return gaps
