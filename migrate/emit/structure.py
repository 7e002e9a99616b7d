"""What a person would call a block, from what it does, where the user's names do not say it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from string import ascii_uppercase

from converters.graph import Call, Graph, Module, Value, values
from migrate.blocks.activations import CHOSEN
from migrate.blocks.instances import every_module
from migrate.blocks.parameters import DILATION
from migrate.blocks.template import WIDENED, Template

NORMS = ("BatchNorm", "LayerNorm", "GroupNorm")
ACTIVATIONS = {
    "F.relu": "ReLU", "F.relu6": "ReLU6", "F.silu": "SiLU", "F.gelu": "GELU", "F.hardswish": "Hardswish",
    "F.elu": "ELU", "F.leaky_relu": "LeakyReLU", "F.selu": "SELU", "tanh": "Tanh", "sigmoid": "Sigmoid",
}  # fmt: skip
RECURRENT = ("LSTM", "GRU", "RNN")
# Words of a user's prefix that name a kind of block, if another word stands before them.
KINDS = {"block", "layer", "cell", "unit", "module", "encoder", "decoder", "head", "tower", "branch", "stack"}


def block_class(template: Template) -> str:
    """`Bottleneck`, `InvertedResidual`, `SqueezeExcite` …"""
    if named := _from_prefix(template.prefixes):
        return named
    if _gates_by_another(template.graph):
        return "AttentionGate"
    name = _from_structure(template)
    if name == "ResidualBlock" and _is_temporal(template):
        return "TemporalBlock"
    if name == "InceptionBlock" and _joins_sums(template.graph):
        name = "Cell"
    if name == "InceptionBlock" and _reads_grids(template.graph):
        return "FactorizedReduction"
    kind = {"InceptionBlock": "ReductionBlock", "Cell": "ReductionCell", "ResidualBlock": "DownsamplingBlock"}
    return kind.get(name, name) if template.shrinking.isdigit() else name


def _gates_by_another(graph: Graph) -> bool:
    """Whether it multiplies what it reads first by what it makes of that and of something else."""
    read, last = values(graph.inputs), graph.nodes[-1]
    return len(read) == 2 and isinstance(last, Call) and last.target == "*" and read[0] in last.operands


def _is_temporal(template: Template) -> bool:
    """Whether it is the block of a temporal convolutional network: of sequences, ever wider dilated."""
    layers = every_module(template.graph)
    return DILATION in template.parameters and any(m.constructor == "nn.Conv1d" for m in layers)


def _joins_sums(graph: Graph) -> bool:
    """Whether what is put side by side are sums, of two ways each, as in the cells of NASNet."""
    makers = {call.outputs: call for call in graph.nodes if isinstance(call, Call) and isinstance(call.outputs, Value)}
    wide = [call for call in makers.values() if call.target == "torch.cat"]
    made = [makers[value].target for value in wide[-1].operands if value in makers] if wide else []
    return made.count("+") >= 2


def _reads_grids(graph: Graph) -> bool:
    """Whether its branches each begin with a part of the pixels, every second one or so."""
    slices = [call.args[1] for call in graph.nodes if isinstance(call, Call) and call.target == "[]"]
    joined = [call for call in graph.nodes if isinstance(call, Call) and call.target == "torch.cat"]
    steps = [key for key in slices if any(isinstance(part, slice) and part.step not in (None, 1) for part in key)]
    return len(joined) == 1 and len(steps) == len(joined[0].operands)


def lettered(templates: Iterable[Template]) -> dict[Graph, str]:
    """`InceptionA`, `InceptionB` … where a model has several kinds of blocks with branches, in order of appearance."""
    kinds = [template.graph for template in templates if block_class(template) in ("InceptionBlock", "ReductionBlock")]
    return (
        dict(zip(kinds, (f"Inception{letter}" for letter in ascii_uppercase), strict=False)) if len(kinds) > 1 else {}
    )


def _from_prefix(prefixes: list[str]) -> str:
    """`encoder_layer_3` -> EncoderLayer, where all members are called so."""
    found = {tuple(re.findall(r"[a-z]+", prefix.lower())) for prefix in prefixes}
    words = found.pop() if len(found) == 1 else ()
    if len(words) == 2 and words[1] in KINDS and words[0] not in KINDS | {"conv", "my", "model"}:
        return f"{words[0].capitalize()}{words[1].capitalize()}"
    return ""


def _from_structure(template: Template) -> str:
    graph = template.graph
    modules = {module.key: module for module in graph.modules}
    parts = [part for call in graph.nodes for part in _parts(call, modules)]  # type: ignore[arg-type]  # calls by now
    joins = {
        _target(call)
        for call in graph.nodes
        if isinstance(call, Call) and len(call.operands) > 1 and _target(call) in ("+", "*", "torch.cat")
    }
    kinds = [kind for kind, _ in parts]
    convolutions = [detail for kind, detail in parts if kind in ("conv", "depthwise")]
    if "attention" in kinds:
        if "linear" not in kinds:
            return "AttentionBlock"
        looks_back = any(call.kwargs.get("is_causal") is True for call in graph.nodes if isinstance(call, Call))
        single = "TransformerBlock" if looks_back else "TransformerEncoderLayer"
        return "TransformerDecoderLayer" if kinds.count("attention") > 1 else single
    if joins == {"*"} and kinds and kinds[0] == "mean":
        return "SqueezeExcite"
    if "torch.cat" in joins and _is_made_of_the_first(graph):
        return "DenseLayer" if len(joins) == 1 and _is_chain_and_input(graph) else "InceptionBlock"
    if "+" in joins and "depthwise" in kinds:
        gated = any(
            m.graph is not None and m.graph.block and key not in template.conditions for key, m in modules.items()
        )
        if gated and "linear" not in kinds and "LayerNorm" not in kinds:
            return "MBConv"
        first = kinds[:1] == ["conv"] or (
            kinds[:1] == ["depthwise"] and "linear" not in kinds and convolutions[1:2] == [1]
        )
        return (
            "ConvNeXtBlock"
            if "linear" in kinds or "LayerNorm" in kinds
            else "InvertedResidual"
            if first
            else "ResidualBlock"
        )
    if (
        "+" in joins
        and len(convolutions) >= 3
        and convolutions[0] == 1
        and convolutions[1] != 1
        and "block" not in kinds
    ):
        return "Bottleneck"
    if "+" in joins:
        return "MLPBlock" if kinds and set(kinds) & {"linear"} and not convolutions else "ResidualBlock"
    if kinds[:1] == ["BatchNorm"] and kinds.count("conv") == 1 and template.shrinking.isdigit():
        return "Transition"
    return _chain(kinds, [c for c in graph.nodes if isinstance(c, Call)], joins)


def _is_made_of_the_first(graph: Graph) -> bool:
    """Whether what is put side by side are branches, not one of them with what all blocks read."""
    more = values(graph.inputs)[1:]
    wide = [call for call in graph.nodes if isinstance(call, Call) and call.target == "torch.cat"]
    return not any(value in more for call in wide for value in call.operands)


def _chain(kinds: list[str], calls: list[Call], joins: set[str]) -> str:
    """A name of the parts, where they are few: ConvBNReLU."""
    if joins:
        return "Block"
    if any(kind in RECURRENT for kind in kinds):
        return f"{next(kind for kind in kinds if kind in RECURRENT)}Block"
    if kinds.count("depthwise") >= 1 and "conv" in kinds:
        return "DepthwiseSeparable" if kinds.count("BatchNorm") != 1 else "SeparableConv"
    names = {"conv": "Conv", "linear": "Linear", "BatchNorm": "BN", "LayerNorm": "LN", "deconv": "Deconv"}
    words = [names.get(kind, kind if kind in (*ACTIVATIONS.values(), "Act") else "") for kind in kinds]
    if all(words) and 2 <= len(words) <= 3:
        return "".join(words)
    if set(words) <= {"Conv", "BN", "", "Act", *ACTIVATIONS.values()} and kinds.count("conv") == 2:
        return "DoubleConv"
    return "ConvBlock" if "conv" in kinds else "DenseBlock" if "linear" in kinds else "Block"


def _parts(call: Call, modules: dict[str, Module]) -> Iterator[tuple[str, object]]:
    """(kind, kernel size) of what a call does."""
    if call.kind == "module":
        module = modules[call.target]
        whole = module.graph is not None and module.graph.sequential and not module.kwargs  # of copies, a block
        inner = module.graph.modules if module.graph is not None and whole else (module,)
        if module.graph is not None and WIDENED in module.kwargs:  # at least two of a unit
            unit = module.graph.modules[0]
            inner = (*(unit.graph.modules if unit.graph is not None and unit.graph.sequential else (unit,)), module)
        for part in inner:
            yield _kind(part), part.args[2] if ".Conv" in part.constructor and len(part.args) > 2 else 0
    elif _target(call) in ACTIVATIONS:
        yield ACTIVATIONS[_target(call)], 0
    elif _target(call) in ("mean", "amax"):
        yield "mean", 0


def _kind(module: Module) -> str:
    if module.graph is not None:
        return "block"
    if module.constructor == CHOSEN:
        return "Act"
    name = module.constructor.rpartition(".")[2]
    if "Attention" in name:
        return "attention"
    if name.startswith("ConvTranspose"):
        return "deconv"
    if name.startswith("Conv"):
        return "depthwise" if "groups" in module.kwargs and module.kwargs["groups"] != 1 else "conv"
    found = next((kind for kind in (*NORMS, *RECURRENT) if kind in name), None)
    return found or {"Linear": "linear"}.get(name, name)


def _target(call: Call) -> str:
    return str(call.args[2]) if call.kind == "optional" else call.target


def _is_chain_and_input(graph: Graph) -> bool:
    last = graph.nodes[-1]
    return isinstance(last, Call) and len(last.operands) == 2 and graph.inputs in last.operands
