"""A lowered model -> the text of `model.py`."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from converters import local
from converters.errors import UserError
from converters.graph import Call, Function, Graph, Module, Value, leaves, values
from converters.weights import Constant
from migrate.emit.body import Body, Statement
from migrate.emit.literals import literal, prose
from migrate.emit.names import Names, argument_names
from migrate.emit.shapes import shape_text
from migrate.interpret import resolve

LINE_LENGTH = 120
NUMBERS_AT_MOST = 32
TYPES_AT_MOST = 6
RANDOM_BIAS = {"nn.LSTM", "nn.RNN"}  # a bias that is frozen at zero does not start there
IMPORTS = {
    "math": "import math",
    "Callable": "from collections.abc import Callable",
    "partial": "from functools import partial",
    "torch": "import torch",
    "F": "import torch.nn.functional as F",
}


@dataclass(frozen=True)
class Place:
    """Where a call stands in `model.py`: class and line, counted from 1."""

    class_name: str
    line: int


@dataclass(frozen=True)
class SourceFile:
    """The finished text, and where each call is in it."""

    text: str
    places: dict[Call, Place]


def source_of(graph: Graph, names: Names, title: str) -> SourceFile:
    """The whole `model.py`, formatted by ruff. `title`: what the module docstring says, one line."""
    classes = list(_classes(graph, names))
    written = {names.classes[g]: statements for g, _, statements in classes}
    parts = [*(_local_source(name) for name in _locals_used(graph)), *(text for _, text, _ in classes)]
    body = "\n\n\n".join(parts)
    text = formatted(f'"""{prose(title, 100)}"""\n\n{_imports(body)}\n\n\n{body}\n')
    return SourceFile(text, dict(_places(text, written)))


def formatted(text: str) -> str:
    """The text as `ruff format` writes it. Raises UserError where ruff cannot be run."""
    command = [sys.executable, "-m", "ruff", "format", "--isolated", f"--line-length={LINE_LENGTH}", "-"]
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError("ruff cannot be started", found=str(error), remedy="pip install ruff") from error
    if done.returncode:
        raise UserError("ruff cannot format the emitted source", found=done.stderr[:500], remedy="report the model")
    return done.stdout


# -- classes ---------------------------------------------------------------------------------------------


def _classes(graph: Graph, names: Names) -> Iterator[tuple[Graph, str, list[Statement]]]:
    """Every class of the model, those of nested models first."""
    for module in graph.modules:
        if module.graph is not None and module.key not in graph.borrowed:
            yield from _classes(module.graph, names)
    arguments = argument_names(values(graph.inputs))
    statements = Body(graph, names.attributes[graph], arguments, shape_text).write()
    signature = ", ".join(["self", *(f"{name}: Tensor" for name in arguments)])
    lines = [
        f"class {names.classes[graph]}(nn.Module):",
        f'    """{_docstring(graph, arguments)}"""',
        "",
        "    def __init__(self) -> None:",
        "        super().__init__()",
        *(f"        {line}" for line in _definitions(graph, names)),
        *_train_method(graph, names),
        "",
        f"    def forward({signature}) -> {_result_type(graph)}:",
        *(f"        {statement.text}" for statement in statements),
    ]
    yield graph, "\n".join(lines), statements


def _docstring(graph: Graph, arguments: list[str]) -> str:
    inputs, outputs = values(graph.inputs), values(graph.outputs)
    named = [f"{name} " if len(inputs) > 1 else "" for name in arguments]
    taken = ", ".join(f"{name}{shape_text(value)}" for name, value in zip(named, inputs, strict=True))
    made = [(text, len(list(same))) for text, same in groupby(map(shape_text, outputs))]
    given = ", ".join(text if count < 4 else f"{count} of {text}" for text, count in made for _ in range(count if count < 4 else 1))
    unbroken = re.sub(r", (?=[^()]*\))", ",\0", f"{taken} -> {given}.")  # no line ends within a shape
    return "\n    ".join(textwrap.wrap(unbroken, LINE_LENGTH - len('    """"""'))).replace("\0", " ")


def _result_type(graph: Graph) -> str:
    if isinstance(graph.outputs, Value):
        return "Tensor"
    if isinstance(graph.outputs, dict):
        return "dict[str, Tensor]"
    count = len(graph.outputs)
    return "tuple[Tensor, ...]" if count > TYPES_AT_MOST else f"tuple[{', '.join(['Tensor'] * count)}]"


def _definitions(graph: Graph, names: Names) -> Iterator[str]:
    """The lines of `__init__`; what is to be said about several modules is said once."""
    said = set()
    for module in graph.modules:
        if module.key in graph.borrowed:
            continue
        if module.comment and module.comment not in said:
            yield f"# {prose(module.comment, 110)}"
        said.add(module.comment)
        yield from _definition(module, graph, names)
    if graph.ties:
        yield "# One layer in Keras, in two places: the same weights under both names."
    for target, source in graph.ties:
        yield f"self.{_attribute(graph, names, target)} = self.{_attribute(graph, names, source)}"


def _attribute(graph: Graph, names: Names, keys: tuple[str, ...]) -> str:
    """`encoder.fc1`: the attribute to which the keys of modules lead."""
    parts, home = [], graph
    for key in keys:
        parts.append(names.attributes[home][key])
        home = next(module.graph or home for module in home.modules if module.key == key)
    return ".".join(parts)


def _definition(module: Module, graph: Graph, names: Names) -> Iterator[str]:
    """The lines of `__init__` that make one attribute."""
    name = names.attributes[graph][module.key]
    if module.constructor == "parameter":
        shape, dtype = module.args
        frozen = "" if module.trainable else ", requires_grad=False"
        yield f"self.{name} = nn.Parameter(torch.empty({_sizes(shape)}){frozen})"
        return
    if module.constructor == "buffer":
        yield f"self.register_buffer({literal(name)}, {_buffer(module)})"
        return
    yield f"self.{name} = {construction(module, names)}"
    zero = ".zero_()" if module.constructor in RANDOM_BIAS else ""
    for parameter in sorted(module.frozen) if module.trainable else ():
        yield f"self.{name}.{parameter}.requires_grad_(False){zero}"
    if not module.trainable and module.state:
        yield f"self.{name}.requires_grad_(False)"


def _buffer(module: Module) -> str:
    """Its numbers where they are few and known, so that a reader sees them; else room for those of the file."""
    shape, dtype = module.args
    kind = "" if dtype == "float32" else f", dtype=torch.{dtype}"
    weight = module.state[""]
    if isinstance(weight, Constant) and isinstance(weight.value, tuple) and 0 < len(weight.value) <= NUMBERS_AT_MOST:
        numbers = np.array(weight.value, object).reshape(shape).tolist()
        return f"torch.tensor({literal(numbers)}{'' if dtype in ('int64', 'bool') else kind})"
    return f"torch.empty({_sizes(shape)}{kind})"


def _sizes(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape)) if shape else "()"


def construction(module: Module, names: Names) -> str:
    """`nn.Conv2d(3, 64, 7, stride=2)`: what equals a default of the constructor is left out."""
    if module.graph is not None:
        return f"{names.classes[module.graph]}()"
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


def _train_method(graph: Graph, names: Names) -> Iterator[str]:
    """Layers that stay in inference mode whatever the model's mode is."""
    kept = [names.attributes[graph][module.key] for module in graph.modules if module.inference]
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


# -- local modules -----------------------------------------------------------------------------------------


def _locals_used(graph: Graph) -> list[str]:
    """The names from `converters/local` that a model needs, in the order of definition, each once."""
    wanted = set(_direct_locals(graph))
    while more := {other for name in wanted for other in _dependencies(name)} - wanted:
        wanted |= more
    position = {name: (local.modules().index(local.home(name)), _line(name)) for name in wanted}
    return sorted(wanted, key=position.__getitem__)


locals_used = _locals_used


def _direct_locals(graph: Graph) -> Iterator[str]:
    for module in graph.modules:
        if module.graph is not None:
            yield from _direct_locals(module.graph)
        targets = [
            module.constructor,
            *(f.target for f in leaves((module.args, module.kwargs)) if isinstance(f, Function)),
        ]
        yield from (target.removeprefix("local.") for target in targets if target.startswith("local."))
    for call in graph.nodes:
        assert isinstance(call, Call)
        if call.kind == "function" and call.target.startswith("local."):
            yield call.target.removeprefix("local.")


def _dependencies(name: str) -> set[str]:
    tree = ast.parse(_local_source(name))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return {other for other in used - {name} if _is_local(other)}


def _is_local(name: str) -> bool:
    try:
        return bool(local.home(name))
    except KeyError:
        return False


def _line(name: str) -> int:
    return inspect.getsourcelines(local.find(name))[1]


def _local_source(name: str) -> str:
    return textwrap.dedent(inspect.getsource(local.find(name))).strip()


def _imports(body: str) -> str:
    """The imports that a text needs, sorted as isort does."""
    used = {node.id for node in ast.walk(ast.parse(body)) if isinstance(node, ast.Name)}
    plain = [line for name, line in IMPORTS.items() if name in used]
    standard = [line for line in plain if "torch" not in line]
    hints = ", ".join(name for name in ("Any", "Self") if name in used)
    standard += [f"from typing import {hints}"] if hints else []
    names = ", ".join(name for name in ("Tensor", "nn") if name in used)
    blocks = ["\n".join(standard), "\n".join([*(p for p in plain if p not in standard), f"from torch import {names}"])]
    return "\n\n".join(filter(None, blocks))


# -- places ------------------------------------------------------------------------------------------------


def _places(text: str, written: dict[str, list[Statement]]) -> Iterable[tuple[Call, Place]]:
    """Formatting moves lines but not statements: the n-th statement of a `forward` stays the n-th."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and node.name in written:
            forward = next(f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "forward")
            for statement, found in zip(written[node.name], forward.body, strict=True):
                for call in statement.calls:
                    yield call, Place(node.name, found.lineno)
