"""A lowered model -> the text of `model.py`."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from converters import local
from converters.errors import UserError
from converters.graph import Call, Function, Graph, leaves
from migrate.emit.body import LINE_LENGTH
from migrate.emit.classes import ClassText, Writer
from migrate.emit.literals import prose
from migrate.emit.names import Names
from migrate.emit.partials import Partials
from migrate.emit.trimmed import trimmed

IMPORTS = {
    "math": "import math",
    "Callable": "from collections.abc import Callable",
    "partial": "from functools import partial",
    "torch": "import torch",
    "F": "import torch.nn.functional as F",
}

ANY_RANK = "*[1] * (x.ndim - 1)"  # in a local class: a size of 1 for each axis of `x` but the first


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
    partials = Partials.of(graph)
    classes = list(Writer(names, partials).classes(graph))
    parts = [*(_for_one_rank(name, graph) for name in _locals_used(graph)), *(one.text for one in classes)]
    body = "\n\n\n".join(parts)
    said = "\n".join(partials.lines())
    imports = _imports(f"{said}\n{body}")
    text = formatted(f'"""{prose(title, 100)}"""\n\n{imports}\n\n{said}\n\n\n{body}\n')
    return SourceFile(text, dict(_places(text, classes)))


@lru_cache(maxsize=8)  # forms of a model without blocks are one text
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


def _for_one_rank(name: str, graph: Graph) -> str:
    """The text of a local class without the options that nobody uses, its sizes written out where it sees one rank."""
    text, ranks = trimmed(name, _local_source(name), graph), set(_ranks(graph, f"local.{name}"))
    rank = ranks.pop() if len(ranks) == 1 else 0
    return text.replace(ANY_RANK, ", ".join(["1"] * (rank - 1))) if rank > 1 else text


def _ranks(graph: Graph, constructor: str) -> Iterator[int]:
    """Of what the modules of one class are given; 0 where a module's call is not to be seen."""
    for module in graph.modules:
        if module.graph is not None:
            inner = module.graph.block.template.graph if module.graph.block is not None else module.graph
            yield from _ranks(inner, constructor)
        elif module.constructor == constructor:
            found = [
                call.operands[0].rank for call in graph.nodes if isinstance(call, Call) and call.target == module.key
            ]
            yield from found or [0]


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


def _places(text: str, classes: Iterable[ClassText]) -> Iterable[tuple[Call, Place]]:
    """Formatting moves lines but not statements: the n-th statement of a method stays the n-th."""
    written = {one.name: one.methods for one in classes}
    for node in ast.parse(text).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for function in node.body:
            statements = written.get(node.name, {}).get(getattr(function, "name", ""), ())
            body = getattr(function, "body", [])
            spoken = isinstance(function, ast.FunctionDef) and ast.get_docstring(function) is not None
            for statement, found in zip(statements, body[spoken:], strict=False):
                for call in statement.calls:
                    yield call, Place(node.name, found.lineno)
