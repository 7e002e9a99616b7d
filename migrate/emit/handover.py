"""A recurrent layer that hands its states to another one, or a memory that is attended to: an encoder and a decoder.

Recurrent layers are `encoder` and `decoder`, what embeds for one of them is its `encoder_embedding`, and inputs without
a name are `source` and `target`.
"""

from __future__ import annotations

from collections.abc import Mapping

from converters.graph import Call, Graph, Module, Value, values
from migrate.blocks.prefixes import layer_name
from migrate.emit.names import is_automatic

ENCODER, DECODER = "encoder", "decoder"
RECURRENT = ("LSTM", "GRU", "RNN")
INPUTS = {ENCODER: "source", DECODER: "target"}


def encoder_and_decoder(graph: Graph) -> dict[str, str]:
    """Names by the keys of modules; none where it is not plain which side a layer is on. Users' names stay."""
    modules = {module.key: module for module in graph.modules}
    sides = _sides(graph, modules)
    read, readers = _readers(graph, modules, sides), dict[str, set[str]]()
    for call in graph.nodes:
        if isinstance(call, Call) and call.kind == "module" and modules[call.target].constructor == "nn.Embedding":
            readers.setdefault(call.target, set()).update(read.get(value, "") for value in values(call.outputs))
    embedding = {key: next(iter(of)) for key, of in readers.items() if len(of) == 1}
    recurrent = {key: side for key, side in sides.items() if modules[key].graph is None}
    found = _numbered(recurrent, "") | _numbered(embedding, "_embedding")
    automatic = {key for key in found if is_automatic(layer_name(modules[key].origin), modules[key].class_name)}
    return {key: name for key, name in found.items() if key in automatic} if automatic.issuperset(recurrent) else {}


def input_sides(graph: Graph) -> dict[Value, str]:
    """`source` and `target`, by the inputs that one side alone reads, where each side has one."""
    modules = {module.key: module for module in graph.modules}
    read = _readers(graph, modules, _sides(graph, modules))
    found = {value: INPUTS[read[value]] for value in values(graph.inputs) if value in read}
    return found if sorted(found.values()) == sorted(INPUTS.values()) else {}


def _numbered(sides: Mapping[str, str], ending: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for side in (ENCODER, DECODER):
        own = [key for key, of in sides.items() if of == side]
        numbers = [""] if len(own) == 1 else [str(number + 1) for number in range(len(own))]
        found |= {key: f"{side}{ending}{number}" for key, number in zip(own, numbers, strict=True)}
    return found


def _sides(graph: Graph, modules: Mapping[str, Module]) -> dict[str, str]:
    """`encoder` or `decoder` for every recurrent layer; empty where nothing is handed over, or a layer is both."""
    made_of: dict[Value, set[str]] = {}  # the recurrent layers that a value comes from
    calls = [call for call in graph.nodes if isinstance(call, Call)]
    before: dict[str, set[str]] = {}
    encoders, decoders = set[str](), set[str]()
    for call in calls:
        read = [made_of.get(value, set()) for value in call.operands]
        origins = set().union(*read)
        if _is_recurrent(call, modules):
            before.setdefault(call.target, set()).update(origins)
            given = set().union(*read[1:])
            if given:
                decoders.add(call.target)
                encoders |= given
            origins = {call.target}
        for value in values(call.outputs):
            made_of[value] = origins
    while more := {key for key in before if before[key] & decoders} - decoders - encoders:
        decoders |= more
    while more := set().union(*(before[key] for key in encoders)) - encoders:
        encoders |= more
    if not decoders or encoders & decoders or set(before) != encoders | decoders:
        return {}
    return {key: ENCODER if key in encoders else DECODER for key in before}


def _readers(graph: Graph, modules: Mapping[str, Module], sides: Mapping[str, str]) -> dict[Value, str]:
    """The one side whose recurrent layers read a value, or what other layers make of it."""
    if not sides:
        return {}
    read: dict[Value, set[str]] = {}
    for call in reversed([call for call in graph.nodes if isinstance(call, Call)]):
        recurrent = _is_recurrent(call, modules)
        after = set().union(*(read.get(value, set()) for value in values(call.outputs)))
        for value in call.operands[:1] if recurrent else call.operands:
            read.setdefault(value, set()).update({sides[call.target]} if recurrent else after)
    return {value: next(iter(of)) for value, of in read.items() if len(of) == 1}


def _is_recurrent(call: Call, modules: Mapping[str, Module]) -> bool:
    """Whether it runs along a sequence: a recurrent layer, or a block with attention."""
    if call.kind != "module":
        return False
    module = modules[call.target]
    if module.graph is None or module.graph.block is None:
        return module.constructor.rpartition(".")[2].endswith(RECURRENT)
    return any("Attention" in inner.constructor for inner in module.graph.block.template.graph.modules)
