"""Names for all classes and attributes of a lowered model: of layers, blocks, stages and nested models."""

from __future__ import annotations

import re
from collections import Counter

from converters.graph import Call, Graph, Module, values
from migrate.blocks.activations import CHOSEN
from migrate.blocks.prefixes import common_words, layer_name, own_name, stage_of
from migrate.blocks.template import EITHER, Template, Use
from migrate.emit.handover import encoder_and_decoder
from migrate.emit.hourglass import hourglass
from migrate.emit.loops import listed
from migrate.emit.names import Names, Numbers, attribute_of, class_name_of, identifier, kind_of, unique
from migrate.emit.structure import block_class, lettered

ORDINARY = {"conv", "block", "stage", "layer", "group", "blocks", "layers", "res", ""}
FROM_CONSTRUCTOR = {
    "BatchNorm1d": "bn", "BatchNorm2d": "bn", "BatchNorm3d": "bn", "LayerNorm": "ln", "Linear": "fc", "Conv1d": "conv",
    "Conv2d": "conv", "Conv3d": "conv", "ZeroPad2d": "pad", "MaxPool2d": "pool", "AvgPool2d": "pool", "ReLU": "relu",
    "ReLU6": "relu", "SiLU": "act", "GELU": "act", "Hardswish": "act", CHOSEN: "act",
    "ZeroPad1d": "pad",
}  # fmt: skip
SEPARABLE = ("depthwise", "pointwise")  # the two parts of a separable convolution
GATE = "se"
GATED = re.compile(r"_?(squeeze|se|excite|gate)(?=_|$).*")
# Words of a name that say no more than the kind of a layer.
KIND_WORDS = {"conv", "bn", "conv2d", "batchnorm", "batch", "norm", "normalization"}
# What instances of small units are called.
UNITS = {
    "ConvBlock": "block", "Conv": "conv", "Linear": "fc", "SeparableConv": "sepconv", "DepthwiseSeparable": "sepconv",
    "SqueezeExcite": GATE, "DoubleConv": "conv", "Dense": "layer", "Transformer": "layer", "LSTM": "lstm", "GRU": "gru",
    "AttentionGate": "gate", "Cell": "cell", "ReductionCell": "reduction", "Transition": "transition",
}  # fmt: skip
# Of a model with both.
SIDES = {"TransformerEncoderLayer": "encoder_layer", "TransformerDecoderLayer": "decoder_layer"}


class Namer:
    """Fills a `Names`, from the top."""

    def __init__(self, names: Names, taken: set[str]) -> None:
        self.names, self.taken = names, taken
        self.prefixes: list[str] = []
        self.letters: dict[Graph, str] = {}
        self.stems: set[Graph] = set()
        self.sided: set[str] = set()  # of an encoder and a decoder, those that are there

    def model(self, graph: Graph, wanted: str, prefix: str = "") -> None:
        """A model and what is in it. `prefix`: its path, which says nothing about its own layers."""
        if graph in self.names.classes:
            return  # one nested model in two places
        self.names.classes[graph] = unique(wanted, self.taken, "N" if wanted[-1].isdigit() else "")
        attributes = self.names.attributes[graph] = {}
        used: set[str] = set()
        shared = self._shared_words(graph)
        self.prefixes += [shared] if shared else []
        templates = dict.fromkeys(filter(None, map(_template_of, graph.modules)))
        self.letters |= lettered(templates)
        self.sided |= {SIDES[name] for t in templates if (name := block_class(t)) in SIDES}
        self.stems |= {t.graph for t in [t for t in templates if t.branches or not _is_chain(t)][:1] if t.alone}
        for template in templates:
            self._template(template)  # classes in the order in which they are used
        first = Numbers()
        for module in graph.modules:
            self._attribute(module, first, prefix)
        numbers = Numbers(first.count)
        ends = self._ends(graph) | hourglass(graph) | encoder_and_decoder(graph) | _statistics(graph)
        for module in graph.modules:
            plain = self._attribute(module, numbers, prefix)
            plain = ends.get(module.key) or (without_doubles(plain) if graph.block is None else plain)
            short = plain.removeprefix(f"{shared}_")
            attributes[module.key] = unique(short if short and not short[0].isdigit() else plain, used)
            self._inside(module, shared)
        attributes |= listed(graph, attributes, self.names.classes)

    def _ends(self, graph: Graph) -> dict[str, str]:
        """`stem_conv` and `head_conv` for what stands before and after all blocks, if the names say the kind only.

        A Linear on each side, of no name: `embed` and `head`.
        """
        layers = list(graph.modules)
        blocks = [number for number, module in enumerate(layers) if self._is_large(module)]
        sides = {"stem": layers[: blocks[0]], "head": layers[blocks[-1] + 1 :]} if blocks else {}
        linear = [[m for m in modules if m.constructor == "nn.Linear"] for modules in sides.values()]
        if linear and all(len(side) == 1 and not own_name(side[0]) for side in linear):
            return {side[0].key: name for side, name in zip(linear, ("embed", "head"), strict=True)}
        found: dict[str, str] = {}
        for side, modules in sides.items():
            kinds = {m.key: kind for m in modules if (kind := self._plain_kind(m))}
            if not kinds:
                return {}
            numbers = Numbers(Counter(kinds.values()))
            found |= {key: f"{side}_{numbers.name(kind, key)}" for key, kind in kinds.items()}
        return found

    def _is_large(self, module: Module) -> bool:
        """Whether it is a stage or a block, not a unit of a few layers."""
        template = _template_of(module)
        return template is not None and (module.key.startswith("stage") or self.kind(template) == "block")

    def _plain_kind(self, module: Module) -> str:
        """`conv` or `bn` for a layer that the user calls so, with a number or without; else ''."""
        words = set(re.findall(r"[a-z]+2?d?", identifier(own_name(module))))
        if not words or not words <= KIND_WORDS:
            return ""
        template = _template_of(module)
        return self.kind(template) if template is not None else kind_of(module.class_name)

    def _shared_words(self, graph: Graph) -> str:
        """The words with which all names in a model begin, as that of the model itself; they say nothing in it."""
        names = {
            name
            for m in graph.modules
            if (name := own_name(m) or (m.graph is not None and m.graph.sequential and own_name(m.graph.modules[0])))
        }
        own = {layer_name(m.origin) for m in graph.modules if m.origin and m.constructor not in ("parameter", "buffer")}
        return identifier(common_words(names)) if len(names) > 1 and (len(own) > 1 or len(names) > 2) else ""

    def _inside(self, module: Module, shared: str = "") -> None:
        """The names of what is in a nested model, a stage or a block."""
        graph = module.graph
        if graph is None:
            return
        if graph.sequential:
            self.names.attributes[graph] = {inner.key: str(i) for i, inner in enumerate(graph.modules)}
            for inner in graph.modules:
                self._inside(inner)
        elif graph.block is not None:
            self._instance(graph, graph.block)
        else:
            own = layer_name(module.origin)
            self.model(graph, class_name_of(own.removeprefix(f"{shared}_"), "Model"), f"{module.key}/")

    def _attribute(self, module: Module, numbers: Numbers, prefix: str) -> str:
        graph = module.graph
        if graph is None or not (graph.sequential or graph.block) or module.origin:
            name = attribute_of(module, numbers, prefix)
            return re.sub(r"_block_?(?=\d*$)|_(?=\d+$)", "", name) if graph is not None and graph.sequential else name
        first = graph.block or graph.modules[0].graph.block  # type: ignore[union-attr]  # a stage holds blocks
        word, _, number = re.fullmatch(r"(.*?)(_?)(\d+)?", _last_word(stage_of(first.prefix))).groups()  # type: ignore[union-attr]
        if number and word in ORDINARY:
            return f"stage{number}"
        if first.prefix and not graph.sequential and self.kind(first.template) == GATE:
            return identifier(f"{GATED.sub('', first.prefix)}_{GATE}")
        if first.prefix and not graph.sequential:
            return re.sub(r"_(?=\d+$)", "", identifier(first.prefix))
        if number:
            return f"{identifier(word)}{number}"
        kind = self.kind(first.template)
        if not graph.sequential:
            return numbers.name(kind, module.key)
        name = numbers.name("stage" if kind in ("block", "layer") else f"{kind}s", module.key)
        return f"{kind}s" if name == "stage" else name

    # -- blocks --------------------------------------------------------------------------------------------------

    def _instance(self, graph: Graph, use: Use) -> None:
        self._template(use.template)
        attributes = self.names.attributes[use.template.graph]
        own = self.names.attributes[graph] = {}
        for module in graph.modules:
            path = use.paths[module.key]
            own[module.key] = ".".join((attributes[path[0]], *path[1:]))
            self._inside(module)

    def _template(self, template: Template) -> None:
        graph = template.graph
        if graph in self.names.classes:
            return
        attributes = self.names.attributes[graph] = {}
        used = {"x", *template.flags}
        counts: dict[str, int] = {}
        kinds = [self._part(template, module) for module in graph.modules]
        for module, kind in zip(graph.modules, kinds, strict=True):
            if isinstance(kind, tuple):
                attributes[module.key] = unique(kind[0], used)
                continue
            counts[kind] = counts.get(kind, 0) + 1
            alone = sum(other == kind for other in kinds) == 1
            attributes[module.key] = unique(kind if alone else f"{kind}{counts[kind]}", used, "")
        for module in graph.modules:
            self._inner_templates(module)
        wanted = self._model_class(template) if template.models else self._block_class(template)
        self.names.classes[graph] = unique(wanted, self.taken, "")

    def _block_class(self, template: Template) -> str:
        """Its name by what it does; one of which there is a single one, before all others, is the stem."""
        name = block_class(template)
        if template.graph in self.stems and template.graph not in self.letters:
            return f"Stem{name.removeprefix('Reduction')}"
        return self.letters.get(template.graph, name)

    def _model_class(self, template: Template) -> str:
        """What the user's names for nested models have in common, without what all names of the model begin with."""
        shared = next((name for name in self.prefixes if all(p.startswith(f"{name}_") for p in template.prefixes)), "")
        words = common_words(template.prefixes) or template.prefixes[0]
        return class_name_of(words.removeprefix(f"{shared}_"), "Model")

    def _inner_templates(self, module: Module) -> None:
        if module.graph is not None and module.graph.sequential:
            self.names.attributes[module.graph] = {inner.key: str(i) for i, inner in enumerate(module.graph.modules)}
            for inner in module.graph.modules:
                self._inner_templates(inner)
        elif module.graph is not None:
            self._inside(module)

    def _part(self, template: Template, module: Module) -> str | tuple[str]:
        """What a part of a block is called: a tuple where the name is the user's own, else a kind to be numbered."""
        if module.key in template.branches:
            return (template.branches[module.key],)
        if module.constructor == EITHER:
            return ("adjust",)
        if module.key in template.copies:
            unit = module.graph.modules[0]  # type: ignore[union-attr]  # an nn.Sequential
            first = unit.graph.modules[0] if unit.graph is not None and unit.graph.sequential else unit
            return (f"{kind_of(first.class_name)}s",)
        whole = module.graph is not None and module.graph.sequential
        if whole or (
            module.state and module.key in template.conditions and self._optional(template, module) == "shortcut"
        ):
            return self._optional(template, module)
        is_block = module.graph is not None and module.graph.block is not None
        if is_block and self.kind(module.graph.block.template) == GATE:  # type: ignore[union-attr]  # as seen
            return GATE
        own = identifier(template.roles.get(module.key, ""))
        as_made = module.constructor == "nn.Linear" and "conv" in own.split("_")  # Keras' Dense, called a convolution
        if own and not own.startswith("layer_") and not as_made:
            return (own,)
        if is_block:
            return self.kind(module.graph.block.template)  # type: ignore[union-attr]  # as seen
        if module.class_name and module.constructor not in ("parameter", "buffer"):
            role = template.parts.get(module.key, [""])
            named = next((key for key in role if key), "").partition(":")[2]
            if named in SEPARABLE:
                return named
            return (identifier(f"{kind_of(module.class_name)}_{named}"),) if named else kind_of(module.class_name)
        return FROM_CONSTRUCTOR.get(
            module.constructor.rpartition(".")[2], "scale" if module.constructor == "parameter" else "part"
        )

    def kind(self, template: Template) -> str:
        """What an attribute that is a block is called: `conv` for a ConvBNReLU, `block` for a Bottleneck."""
        self._template(template)
        if template.alone:
            return "stem" if template.graph in self.stems else "reduction" if template.shrinking else "block"
        name = re.sub(r"\d+$", "", self.names.classes[template.graph])
        if name in SIDES and len(self.sided) == len(SIDES):
            return SIDES[name]
        return next((kind for start, kind in UNITS.items() if name.startswith(start)), "block")

    def _optional(self, template: Template, module: Module) -> str:
        """A part that some instances have: a shortcut if it goes around the rest."""
        call = next(c for c in template.graph.nodes if c.target == module.key)  # type: ignore[union-attr]
        readers = [c for c in template.graph.nodes if call.outputs in c.operands]  # type: ignore[union-attr]
        around = call.operands[0] in values(template.graph.inputs) and any(len(c.operands) > 1 for c in readers)  # type: ignore[union-attr]
        return "shortcut" if around else "expand" if call.operands[0] in values(template.graph.inputs) else "extra"  # type: ignore[union-attr]


def _statistics(graph: Graph) -> dict[str, str]:
    """`mean` and `std` for what images are normalized by, where one layer does so."""
    held = [m for m in graph.modules if m.constructor == "buffer" and m.class_name == "Normalization"]
    alone = len({module.key.partition(":")[0] for module in held}) == 1
    return {module.key: module.key.rpartition(":")[2] for module in held} if alone else {}


def _is_chain(template: Template) -> bool:
    return all(len(call.operands) < 2 for call in template.graph.nodes if isinstance(call, Call))


def _template_of(module: Module) -> Template | None:
    """The class of a block, or of the first one in a stage."""
    graph = module.graph
    if graph is not None and graph.sequential:
        return _template_of(graph.modules[0])
    return graph.block.template if graph is not None and graph.block is not None else None


def without_doubles(name: str) -> str:
    """`conv1` for `conv1_conv`, `bn1` for `conv1_bn`."""
    found = re.fullmatch(r"conv(\d+)_(conv|bn)", name)
    return f"{found[2]}{found[1]}" if found else name


def _last_word(stage: str) -> str:
    """`stage_0` of `convnext_tiny_stage_0`."""
    found = re.search(r"([a-zA-Z]+)_?(\d+)$", stage)
    return f"{found[1].lower()}_{found[2]}" if found else stage
