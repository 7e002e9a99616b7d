"""The classes of `model.py`: of the model, of models nested in it, and of the blocks that repeat."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from converters.graph import Call, Function, Graph, Module, Value, values
from converters.weights import Constant
from migrate.blocks.expressions import FORMULAS
from migrate.blocks.template import Template
from migrate.emit.body import Body, Statement
from migrate.emit.head import Head
from migrate.emit.literals import literal, prose
from migrate.emit.names import Names, argument_names
from migrate.emit.partials import Partials
from migrate.emit.shapes import shape_text
from migrate.interpret import resolve

LINE_LENGTH = 120
NUMBERS_AT_MOST = 32
TYPES_AT_MOST = 6
RANDOM_BIAS = {"nn.LSTM", "nn.RNN"}  # a bias that is frozen at zero does not start there
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
                yield self._block(inner.block.template)

    # -- a model -------------------------------------------------------------------------------------------------

    def _model(self, graph: Graph, head: Head) -> ClassText:
        arguments = argument_names(values(graph.inputs))
        statements = Body(graph, self.names.attributes[graph], arguments, shape_text).write()
        signature = ", ".join(["self", *(f"{name}: Tensor" for name in arguments)])
        methods = head.methods(statements, arguments)
        made = head.parameters
        given = ", ".join(["self", *(f"{name}: {_type([value])} = {literal(value)}" for name, value in made.items())])
        lines = [
            f"class {self.names.classes[graph]}(nn.Module):",
            f'    """{_docstring(graph, arguments)}"""',
            "",
            f"    def __init__({given}) -> None:",
            "        super().__init__()",
            *(f"        {line}" for line in self._definitions(graph, head)),
            *self._train_method(graph),
        ]
        for name, body in methods.items():
            result = _result_type(graph) if name == "forward" else "Tensor"
            lines += ["", f"    def {name}({signature}) -> {result}:", *(f"        {s.text}" for s in body)]
        return ClassText(self.names.classes[graph], "\n".join(lines), methods)

    def _definitions(self, graph: Graph, head: Head | None = None) -> Iterator[str]:
        """The lines of `__init__`; what is to be said about several modules is said once."""
        said = set()
        for module in graph.modules:
            if module.key in graph.borrowed:
                continue
            if module.comment and module.comment not in said:
                yield f"# {prose(module.comment, 110)}"
            said.add(module.comment)
            yield from self._definition(head.changed(module) if head is not None else module, graph)
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

    def _definition(self, module: Module, graph: Graph) -> Iterator[str]:
        """The lines of `__init__` that make one attribute."""
        name = self.names.attributes[graph][module.key]
        if module.constructor == "parameter":
            shape, dtype = module.args
            frozen = "" if module.trainable else ", requires_grad=False"
            yield f"self.{name} = nn.Parameter(torch.empty({_sizes(shape)}){frozen})"
            return
        if module.constructor == "buffer":
            yield f"self.register_buffer({literal(name)}, {_buffer(module)})"
            return
        yield f"self.{name} = {self.construction(module)}"
        yield from self._freezing(module, f"self.{name}")

    def _freezing(self, module: Module, name: str) -> Iterator[str]:
        """What of a module does not learn."""
        zero = ".zero_()" if module.constructor in RANDOM_BIAS else ""
        for parameter in sorted(module.frozen) if module.trainable else ():
            yield f"{name}.{parameter}.requires_grad_(False){zero}"
        if not module.trainable and module.state:
            yield f"{name}.requires_grad_(False)"

    def construction(self, module: Module) -> str:
        """`nn.Conv2d(3, 64, 7, stride=2)`: what equals a default of the constructor is left out."""
        graph = module.graph
        if graph is not None and graph.sequential:
            return f"nn.Sequential({', '.join(self._items(graph))})"
        if graph is not None and graph.block is not None:
            template = graph.block.template
            return f"{self.names.classes[template.graph]}({', '.join(_arguments(template, module.kwargs))})"
        if graph is not None:
            return f"{self.names.classes[graph]}()"
        if (short := self.partials.construction(module)) is not None:
            return short
        return plain_construction(module)

    def _items(self, graph: Graph) -> Iterator[str]:
        """The parts of an nn.Sequential, equal ones that follow each other as a comprehension."""
        texts = [self.construction(module) for module in graph.modules]
        for text, same in groupby(texts):
            count = len(list(same))
            yield from (
                [text] * count
                if count < 3 and len(texts) < 4
                else [f"*({text} for _ in range({count}))"]
                if count > 1
                else [text]
            )

    def _train_method(self, graph: Graph) -> Iterator[str]:
        """Layers that stay in inference mode whatever the model's mode is."""
        kept = [self.names.attributes[graph][module.key] for module in graph.modules if module.inference]
        if not kept:
            return
        yield from (
            "",
            "    def train(self, mode: bool = True) -> Self:",
            "        super().train(mode)",
            "        # Frozen in Keras: these keep using their moving statistics while the rest trains.",
            f"        for module in ({', '.join(f'self.{name}' for name in kept)},):",
            "            module.eval()",
            "        return self",
        )

    # -- a block -------------------------------------------------------------------------------------------------

    def _block(self, template: Template) -> ClassText:
        graph, name = template.graph, self.names.classes[template.graph]
        arguments = argument_names(values(graph.inputs))
        statements = Body(graph, self.names.attributes[graph], arguments, lambda value: "").write()
        signature = ", ".join(["self", *(f"{argument}: Tensor" for argument in arguments)])
        lines = [
            f"class {name}(nn.Module):",
            f'    """{_block_docstring(template, arguments)}"""',
            "",
            f"    def __init__({', '.join(['self', *_declared(template)])}) -> None:",
            "        super().__init__()",
            *(f"        {line}" for line in self._block_definitions(template)),
            *self._train_method(graph),
            "",
            f"    def forward({signature}) -> Tensor:",
            *(f"        {statement.text}" for statement in statements),
        ]
        whole = [
            Statement(s.text, tuple(c for call in s.calls for c in template.calls.get(call, ()))) for s in statements
        ]
        return ClassText(name, "\n".join(lines), {"forward": whole})

    def _block_definitions(self, template: Template) -> Iterator[str]:
        graph, said = template.graph, set()
        for module in graph.modules:
            if module.comment and module.comment not in said:
                yield f"# {prose(module.comment, 110)}"
            said.add(module.comment)
            condition = template.conditions.get(module.key)
            if condition is None:
                yield from self._definition(module, graph)
                continue
            name = self.names.attributes[graph][module.key]
            if module.graph is not None and module.graph.sequential:
                yield from (
                    f"self.{name} = nn.Identity()",
                    f"if {condition}:",
                    f"    self.{name} = {self.construction(module)}",
                )
            else:
                yield f"self.{name} = {self.construction(module)} if {condition} else nn.Identity()"
        for flag, condition in template.flags.items():
            yield f"self.{flag} = {condition}"


def plain_construction(module: Module) -> str:
    """The call of a torch or local class."""
    defaults = {p.name: p.default for p in inspect.signature(resolve(module.constructor)).parameters.values()}
    arguments = [literal(argument) for argument in module.args]
    arguments += [
        f"{key}={literal(value)}" for key, value in module.kwargs.items() if not _same(value, defaults.get(key, _same))
    ]
    return f"{module.constructor.removeprefix('local.')}({', '.join(arguments)})"


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, Function):
        return not value.options and resolve(value.target) is default
    return type(value) is type(default) and value == default


def _arguments(template: Template, given: Mapping[str, Any]) -> Iterator[str]:
    """The arguments of a block: widths by position, the others by name, defaults left out."""
    defaults = template.defaults
    for name in template.parameters:
        value = given[name]
        if name in defaults:
            if isinstance(value, FORMULAS) or not _same(value, defaults[name]):
                yield f"{name}={literal(value)}"
        elif name.endswith(("channels", "features", "kernel_size", "size")):
            yield literal(value)
        else:
            yield f"{name}={literal(value)}"


def _declared(template: Template) -> Iterator[str]:
    """The parameters of a block's constructor."""
    defaults, named = template.defaults, False
    for name, column in template.parameters.items():
        if name in defaults:
            yield f"{name}: {_type(column)} = {literal(defaults[name])}"
            continue
        if not named and not name.endswith(("channels", "features", "kernel_size", "size")):
            named = True
        yield f"{name}: {_type(column)}"


def _type(column: list[Any]) -> str:
    kinds = sorted({_type_of(value) for value in column})
    return " | ".join(kinds)


def _type_of(value: Any) -> str:
    if isinstance(value, tuple):
        return f"tuple[{', '.join(_type_of(item) for item in value)}]"
    return {bool: BOOL, int: INT, float: FLOAT, str: "str", type(None): "None"}.get(type(value), "Any")


def _block_docstring(template: Template, arguments: list[str]) -> str:
    text = _interface(template.graph, arguments, template)
    prefixes = [prefix for prefix in template.prefixes if prefix]
    if prefixes:
        shown = sorted(set(prefixes), key=lambda p: [int(t) if t.isdigit() else t for t in re.split(r"(\d+)", p)])
        text += f" Keras: `{prose(shown[0])}`" + (f" to `{prose(shown[-1])}`." if len(shown) > 1 else ".")
    return text


def _docstring(graph: Graph, arguments: list[str]) -> str:
    return _interface(graph, arguments, None)


def _interface(graph: Graph, arguments: list[str], template: Template | None) -> str:
    inputs, outputs = values(graph.inputs), values(graph.outputs)

    def shape(value: Value) -> str:
        return shape_text(value) if template is None else block_shape(value, template)

    named = [f"{name} " if len(inputs) > 1 else "" for name in arguments]
    taken = ", ".join(f"{name}{shape(value)}" for name, value in zip(named, inputs, strict=True))
    made = [(text, len(list(same))) for text, same in groupby(map(shape, outputs))]
    given = ", ".join(
        text if count < 4 else f"{count} of {text}" for text, count in made for _ in range(count if count < 4 else 1)
    )
    unbroken = re.sub(r", (?=[^()]*\))", ",\0", f"{taken} -> {given}.")  # no line ends within a shape
    return "\n    ".join(textwrap.wrap(unbroken, LINE_LENGTH - len('    """"""'))).replace("\0", " ")


def block_shape(value: Value, template: Template) -> str:
    """(N, in_channels, H, W): an open width by the parameter that it is."""
    return shape_text(value)


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
        numbers = np.array(weight.value, object).reshape(shape).tolist()
        return f"torch.tensor({literal(numbers)}{'' if dtype in ('int64', 'bool') else kind})"
    return f"torch.empty({_sizes(shape)}{kind})"


def _sizes(shape: tuple[Any, ...]) -> str:
    return ", ".join(map(literal, shape)) if shape else "()"


def calls_of(graph: Graph) -> list[Call]:
    return [call for call in graph.nodes if isinstance(call, Call)]
