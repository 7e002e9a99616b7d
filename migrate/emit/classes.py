"""The classes of `model.py`: of the model, of models nested in it, and of the blocks that repeat."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from converters.arrangement import Perm
from converters.graph import Call, Function, Graph, Module, Value, values
from converters.weights import Constant
from migrate.blocks.activations import CHOSEN
from migrate.blocks.expressions import Parameter, Share
from migrate.blocks.parameters import DILATION
from migrate.emit.arguments import argument_names
from migrate.emit.body import LINE_LENGTH, Body, Statement
from migrate.emit.head import Head
from migrate.emit.layers import ONE_BIAS, flattened, makers_of_outputs, one_bias
from migrate.emit.literals import literal, prose
from migrate.emit.loops import folded, indexed
from migrate.emit.names import Names
from migrate.emit.partials import Partials
from migrate.emit.shapes import shape_text
from migrate.interpret import resolve
from migrate.outputs import output_keys

NUMBERS_AT_MOST = 32
GROWING_AT_LEAST = 3
INDEX = "i"  # counts the blocks of a network
WRITTEN_AT_MOST = 90  # columns of the parts of an nn.Sequential, up to which two that are alike are written twice
TYPES_AT_MOST = 6
COLORS, IMAGES = 3, Perm((0, 3, 1, 2))  # channels of an image, and how the axes of Keras lie
FLOAT, INT, BOOL = "float", "int", "bool"


@dataclass(frozen=True)
class ClassText:
    """One class: its text before formatting, and the statements of its methods with the calls that they stand for."""

    name: str
    text: str
    methods: Mapping[str, list[Statement]] = field(default_factory=dict)


@dataclass(frozen=True)
class Writer:
    """Writes the classes of one model."""

    names: Names
    partials: Partials
    written: set[Graph] = field(default_factory=set)

    def classes(self, graph: Graph, *, top: bool = True) -> Iterator[ClassText]:
        """Every class that a model needs, what it is made of first."""
        if graph in self.written:
            return
        self.written.add(graph)
        yield from self._needed(graph)
        yield self._model(graph, Head.of(graph) if top else Head())

    def _needed(self, graph: Graph) -> Iterator[ClassText]:
        """The classes of what is in a model, stage or block."""
        for module in graph.modules:
            inner = module.graph
            if inner is None or module.key in graph.borrowed:
                continue
            if inner.sequential:
                yield from self._needed(inner)
            elif inner.block is None:
                yield from self.classes(inner, top=False)
            elif inner.block.template.graph not in self.written:
                self.written.add(inner.block.template.graph)
                yield from self._needed(inner.block.template.graph)
                yield block_class(self, inner.block.template)

    # -- a model -------------------------------------------------------------------------------------------------

    def _model(self, graph: Graph, head: Head) -> ClassText:
        arguments = argument_names(graph)
        attributes = self.names.attributes[graph]
        statements = folded(Body.of(graph, attributes).write(), attributes)
        signature = ", ".join(["self", *(f"{name}: Tensor" for name in arguments)])
        methods = head.methods(statements, arguments)
        made = head.parameters
        given = ", ".join(["self", *(f"{name}: {type_of([value])} = {literal(value)}" for name, value in made.items())])
        lines = [
            f"class {self.names.classes[graph]}(nn.Module):",
            f'    """{_docstring(graph, arguments, head)}"""',
            "",
            f"    def __init__({given}) -> None:",
            "        super().__init__()",
            *(f"        {line}" for line in self._definitions(graph, head)),
            *self.train_method(graph),
        ]
        for name, body in methods.items():
            result = _result_type(graph) if name == "forward" else "Tensor"
            said = [f'        """{text}"""'] if (text := head.said(name)) else []
            lines += [
                "",
                f"    def {name}({signature}) -> {result}:",
                *said,
                *(textwrap.indent(s.text, "        ") for s in body),
            ]
        return ClassText(self.names.classes[graph], "\n".join(lines), methods)

    def _definitions(self, graph: Graph, head: Head | None = None) -> Iterator[str]:
        """The lines of `__init__`; what is to be said about several modules is said once."""
        said, flat = set(), flattened(graph)
        once = one_bias(graph)
        for module in graph.modules:
            if module.key in graph.borrowed:
                continue
            if module.comment and module.comment not in said and module.key not in once:
                yield f"# {prose(module.comment, 110)}"
            said.add(module.comment)
            module = head.changed(module) if head is not None else module
            if module.key in flat:
                module = replace(module, args=(Parameter(flat[module.key]), *module.args[1:]))
            yield from self.definition(replace(module, frozen=frozenset()) if module.key in once else module, graph)
        if once:
            yield f"# {prose(next(module.comment for module in graph.modules if module.key in once), 110)}"
            yield "for name, bias in self.named_parameters():"
            yield f'    if "{ONE_BIAS}" in name:'
            yield "        bias.requires_grad_(False).zero_()"
        if graph.ties:
            yield "# One layer in Keras, in two places: the same weights under both names."
        for target, source in graph.ties:
            yield f"self.{self._attribute(graph, target)} = self.{self._attribute(graph, source)}"

    def _attribute(self, graph: Graph, keys: tuple[str, ...]) -> str:
        """`encoder.fc1`: the attribute to which the keys of modules lead."""
        parts, home = [], graph
        for key in keys:
            parts.append(self.names.attributes[home][key])
            home = next(module.graph or home for module in home.modules if module.key == key)
        return ".".join(parts)

    def definition(self, module: Module, graph: Graph) -> Iterator[str]:
        """The lines of `__init__` that make one attribute."""
        name = self.names.attributes[graph][module.key]
        if module.constructor == "parameter":
            shape, _ = module.args
            frozen = "" if module.trainable else ", requires_grad=False"
            yield f"self.{name} = nn.Parameter({_start(shape, module.kwargs.get('fill'))}{frozen})"
            return
        if module.constructor == "buffer":
            yield f"self.register_buffer({literal(name)}, {_buffer(module)})"
            return
        items, _, number = name.partition(".")
        if number == "0":
            members = [m for m in graph.modules if self.names.attributes[graph][m.key].startswith(f"{items}.")]
            yield f"self.{items} = nn.ModuleList({self._list(members)})"
        elif not number:
            yield f"self.{name} = {self.construction(module)}"
        yield from self._freezing(module, f"self.{indexed(name)}")

    def _freezing(self, module: Module, name: str) -> Iterator[str]:
        """What of a module does not learn."""
        for parameter in sorted(module.frozen) if module.trainable else ():
            zero = ".zero_()" if ONE_BIAS in parameter else ""  # else it starts at random
            yield f"{name}.{parameter}.requires_grad_(False){zero}"
        if not module.trainable and module.state:
            yield f"{name}.requires_grad_(False)"

    def construction(self, module: Module) -> str:
        """`nn.Conv2d(3, 64, 7, stride=2)`: what equals a default of the constructor is left out."""
        graph = module.graph
        if graph is not None and graph.sequential and (times := module.kwargs.get("times")) is not None:
            return f"nn.Sequential(*({self.construction(graph.modules[0])} for _ in range({literal(times)})))"
        if graph is not None and graph.sequential:
            return f"nn.Sequential({', '.join(self._items(graph.modules))})"
        if graph is not None and graph.block is not None:
            template = graph.block.template
            return f"{self.names.classes[template.graph]}({', '.join(block_arguments(template, module.kwargs))})"
        if graph is not None:
            return f"{self.names.classes[graph]}()"
        if module.constructor == CHOSEN:
            options = [f"{key}={literal(value)}" for key, value in module.kwargs.items()]
            return f"{literal(module.args[0])}({', '.join(options)})"
        if (short := self.partials.construction(module)) is not None:
            return short
        return plain_construction(module)

    def _items(self, modules: Sequence[Module]) -> Iterator[str]:
        """The parts of an nn.Sequential or nn.ModuleList, equal ones that follow each other as a comprehension."""
        done = 0
        whole = ", ".join(map(self.construction, modules))
        while done < len(modules):
            count, item = self._series(modules[done:])
            written = [self.construction(module) for module in modules[done : done + count]]
            ruled = any(isinstance(value, Share) for value in modules[done].kwargs.values())
            worth = ruled or count > 2 or (len(modules) > 3 and len(whole) > WRITTEN_AT_MOST)
            yield from [item] if item and worth else written
            done += count

    def _list(self, modules: Sequence[Module]) -> str:
        """The parts of an nn.ModuleList: a list, or what makes equal ones."""
        items = list(self._items(modules))
        alike = len(items) == 1 and items[0].startswith("*")
        return items[0].removeprefix("*").removeprefix("(").removesuffix(")") if alike else f"[{', '.join(items)}]"

    def _series(self, modules: Sequence[Module]) -> tuple[int, str]:
        """How many of the first modules are alike, or differ in one number that grows steadily; all of them as one."""
        texts = [self.construction(module) for module in modules]
        alike = next((i for i, text in enumerate(texts) if text != texts[0]), len(texts))
        if alike > 1:
            return alike, f"*({texts[0]} for _ in range({alike}))"
        dilated, text = self._listed(modules)
        if dilated:
            return dilated, text
        steps = [_step(one, other) for one, other in pairwise(modules)]
        growing = next((i for i, step in enumerate(steps) if step is None or step != steps[0]), len(steps)) + 1
        if not steps or steps[0] is None:
            return 1, ""
        name, step = steps[0]
        first = modules[0].kwargs[name]
        if isinstance(first, Share) and isinstance(first.number, int):
            start, local = first.number, INDEX
            formula: Share | Parameter = replace(first, number=INDEX)
        else:
            start, local = first, name.removeprefix("in_")
            formula = Parameter(local)
            if growing < GROWING_AT_LEAST:
                return 1, ""
        text = self.construction(replace(modules[0], kwargs={**modules[0].kwargs, name: formula}))
        numbers = ", ".join(map(str, (start, start + growing * step, *([step] if step != 1 else []))))
        return growing, f"*({text} for {local} in range({numbers}))"

    def _listed(self, modules: Sequence[Module]) -> tuple[int, str]:
        """The first modules that differ in their dilation only, which has no steady step; 0 for less than three.

        What is there several times is told once: `for _ in range(2) for dilation in (1, 2, 4)`.
        """
        made = [self._dilated(module, Parameter(DILATION)) for module in modules]
        count = next((i for i, text in enumerate(made) if not text or text != made[0]), len(made))
        numbers = [module.kwargs[DILATION] for module in modules[:count]]
        if count < GROWING_AT_LEAST:
            return 0, ""
        size = next(n for n in range(1, count + 1) if count % n == 0 and numbers == numbers[:n] * (count // n))
        around = f"for _ in range({count // size}) " if size < count else ""
        return count, f"*({made[0]} {around}for {DILATION} in {literal(tuple(numbers[:size]))})"

    def _dilated(self, module: Module, dilation: Parameter) -> str:
        """The construction of a block of a given dilation; '' for what has none."""
        if module.graph is None or module.graph.block is None or DILATION not in module.kwargs:
            return ""
        return self.construction(replace(module, kwargs={**module.kwargs, DILATION: dilation}))

    def train_method(self, graph: Graph) -> Iterator[str]:
        """Layers that stay in inference mode whatever the model's mode is."""
        kept = [indexed(self.names.attributes[graph][module.key]) for module in graph.modules if module.inference]
        if not kept:
            return
        yield from ("", "    def train(self, mode: bool = True) -> Self:", "        super().train(mode)")
        if len(kept) == 1:
            yield "        # Frozen in Keras: it keeps using its moving statistics while the rest trains."
            yield f"        self.{kept[0]}.eval()"
        else:
            yield "        # Frozen in Keras: these keep using their moving statistics while the rest trains."
            yield f"        for module in ({', '.join(f'self.{name}' for name in kept)}):"
            yield "            module.eval()"
        yield "        return self"


def _step(one: Module, other: Module) -> tuple[str, int] | None:
    """The one argument in which two instances of a block differ, and by how much it grows."""
    if one.graph is None or other.graph is None or one.graph.block is None or other.graph.block is None:
        return None
    if one.graph.block.template is not other.graph.block.template:
        return None
    names = [name for name in one.kwargs if not same_as(one.kwargs[name], other.kwargs[name])]
    if len(names) != 1:
        return None
    first, second = one.kwargs[names[0]], other.kwargs[names[0]]
    if isinstance(first, Share) and isinstance(second, Share):
        first, second = first.number, second.number
    return (names[0], second - first) if type(first) is type(second) is int and second > first else None


def plain_construction(module: Module) -> str:
    """The call of a torch or local class."""
    defaults = {p.name: p.default for p in inspect.signature(resolve(module.constructor)).parameters.values()}
    arguments = [literal(argument) for argument in module.args]
    arguments += [
        f"{key}={literal(value)}"
        for key, value in module.kwargs.items()
        if not same_as(value, defaults.get(key, same_as))
    ]
    return f"{module.constructor.removeprefix('local.')}({', '.join(arguments)})"


def same_as(value: Any, default: Any) -> bool:
    if isinstance(value, Function):
        return value == default or (not value.options and resolve(value.target) is default)
    return type(value) is type(default) and value == default


def type_of(column: Sequence[Any]) -> str:
    """The annotation of a parameter with these values."""
    kinds = sorted({_type_of(value) for value in column})
    return " | ".join(kinds)


def _type_of(value: Any) -> str:
    if isinstance(value, Function):
        return "type[nn.Module]"
    if isinstance(value, tuple):
        return f"tuple[{', '.join(_type_of(item) for item in value)}]"
    return {bool: BOOL, int: INT, float: FLOAT, str: "str", type(None): "None"}.get(type(value), "Any")


def _docstring(graph: Graph, arguments: list[str], head: Head) -> str:
    made = [shape_text(v) for v in values(graph.outputs)]
    for name, number in head.parameters.items():
        made = [text.removesuffix(f"{number})") + f"{name})" if text.endswith(f" {number})") else text for text in made]
    keys = output_keys(graph.outputs) or (makers_of_outputs(graph) if len(made) <= TYPES_AT_MOST else [])
    if keys:
        made = [f"{prose(key)} {text}" for key, text in zip(keys, made, strict=True)]
    return interface([_taken(v, graph) for v in values(graph.inputs)], made, arguments)


def _taken(value: Value, graph: Graph) -> str:
    """The shape of an input; of images whose range the model's first step tells, with that range."""
    shape = shape_text(value)
    return f"Images {shape} in 0..255" if value == graph.inputs and _is_of_bytes(value, graph) else shape


def _is_of_bytes(value: Value, graph: Graph) -> bool:
    """Whether all that a model does with images of three channels is to take x / 255, or x / 127.5 - 1."""
    if value.arrangement != IMAGES or value.sizes[1] != COLORS or not value.dtype.startswith("float"):
        return False
    reader = _only_reader(value, graph)
    if reader is None or reader.target != "/" or reader.args[0] != value:
        return False
    after = _only_reader(reader.outputs, graph)
    return reader.args[1] == 255 or (
        reader.args[1] == 127.5 and after is not None and after.target == "-" and after.args == (reader.outputs, 1)
    )


def _only_reader(value: Value, graph: Graph) -> Call | None:
    readers = [call for call in graph.nodes if isinstance(call, Call) and value in call.operands]
    return readers[0] if len(readers) == 1 and graph.uses()[value] == 1 else None


def interface(inputs: list[str], outputs: list[str], arguments: list[str]) -> str:
    """`x1 (N, 8), x2 (N, 4) -> (N, 2).`, no line of it ending within a shape."""
    named = [f"{name} " if len(inputs) > 1 else "" for name in arguments]
    taken = ", ".join(f"{name}{shape}" for name, shape in zip(named, inputs, strict=True))
    made = [(text, len(list(same))) for text, same in groupby(outputs)]
    given = ", ".join(
        text if count < 4 else f"{count} of {text}" for text, count in made for _ in range(count if count < 4 else 1)
    )
    unbroken = re.sub(r", (?=[^()]*\))", ",\0", f"{taken} -> {given}.")
    return "\n    ".join(textwrap.wrap(unbroken, LINE_LENGTH - len('    """"""'))).replace("\0", " ")


def _result_type(graph: Graph) -> str:
    if isinstance(graph.outputs, Value):
        return "Tensor"
    if isinstance(graph.outputs, dict):
        return "dict[str, Tensor]"
    count = len(graph.outputs)
    return "tuple[Tensor, ...]" if count > TYPES_AT_MOST else f"tuple[{', '.join(['Tensor'] * count)}]"


def _buffer(module: Module) -> str:
    """Its numbers where they are few and known, so that a reader sees them; else room for those of the file."""
    shape, dtype = module.args
    kind = "" if dtype == "float32" else f", dtype=torch.{dtype}"
    weight = module.state[""]
    if isinstance(weight, Constant) and isinstance(weight.value, tuple) and 0 < len(weight.value) <= NUMBERS_AT_MOST:
        numbers = np.array(weight.value, object)
        flat = len(shape) > 1 and max(shape) == numbers.size  # one axis only is longer than one
        written = literal((numbers if flat else numbers.reshape(shape)).tolist())
        made = f"torch.tensor({written}{'' if dtype in ('int64', 'bool') else kind})"
        return f"{made}.view({_sizes(shape)})" if flat else made
    return f"torch.zeros({_sizes(shape)}{kind})"


def _start(shape: tuple[Any, ...], fill: float | None) -> str:
    """The numbers that a parameter has before it is loaded."""
    if fill is None:
        return f"torch.zeros({_sizes(shape)})"
    return f"torch.full({literal(shape)}, {literal(fill)})" if shape else f"torch.tensor({literal(fill)})"


def _sizes(shape: tuple[Any, ...]) -> str:
    return ", ".join(map(literal, shape)) if shape else "()"


# A block is made with the same tools; the import stands last because it needs them.
from migrate.emit.block_classes import block_arguments, block_class  # noqa: E402
