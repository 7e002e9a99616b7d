"""Pieces of a training program as text: expressions, their imports, and the files of local classes."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Any

from converters.graph import Function
from converters.training.piece import HOMES, LOCAL, Attribute, Call, Name, Piece, resolve, targets
from migrate.emit.body import LINE_LENGTH
from migrate.emit.literals import literal
from migrate.emit.source import formatted

PROJECT = ("model", "data", "checkpoint", "batch_norm", "train", "run")
STANDARD = ("nn", "F", "init")  # what is written as `from torch import nn`, not as `import torch`


def render(expression: Any) -> str:
    """The text of an expression. Options that equal a default of what is called are left out."""
    match expression:
        case Name(text=text):
            return text
        case Attribute(path=path):
            return f"model.{attribute(path)}"
        case Call(target=target, args=args, options=options):
            arguments = [render(arg) for arg in args]
            if target.startswith("."):
                return f"{arguments[0]}{target}({_joined(arguments[1:], options)})"
            return f"{_written(target)}({_joined(arguments, _needed(target, options))})"
        case Function(target=target, options=options):
            given = "".join(f", {key}={render(value)}" for key, value in options)
            return f"partial({_written(target)}{given})" if given else _written(target)
        case tuple() | list():
            inner = ", ".join(map(render, expression))
            return f"[{inner}]" if isinstance(expression, list) else f"({inner}{',' if len(expression) == 1 else ''})"
        case Mapping():
            return "{" + ", ".join(f"{literal(key)}: {render(value)}" for key, value in expression.items()) + "}"
    return literal(expression)


def attribute(path: str) -> str:
    """A dotted path as Python reads it: `stage1.0.conv` is `stage1[0].conv`."""
    return re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", path)


def _joined(arguments: list[str], options: Iterable[tuple[str, Any]]) -> str:
    return ", ".join([*arguments, *(f"{key}={render(value)}" for key, value in options)])


def _written(target: str) -> str:
    """`Lion` for `optim.Lion`, which is imported by name; `nn.MSELoss` and `torch.optim.Adam` in full."""
    home, _, name = target.rpartition(".")
    return name if home in HOMES or home.startswith("torchmetrics") else target


def _needed(target: str, options: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    try:
        defaults = {p.name: p.default for p in inspect.signature(resolve(target)).parameters.values()}
    except (TypeError, ValueError):
        defaults = {}
    shown = {"lr"}  # a reader looks for it
    return [
        (key, value) for key, value in options if key in shown or not _same(value, defaults.get(key, inspect.Parameter))
    ]


def _same(value: Any, default: Any) -> bool:
    numbers = isinstance(value, (int, float)) and isinstance(default, (int, float))
    alike = type(value) is type(default) or (numbers and bool not in (type(value), type(default)))
    return alike and bool(value == default)


def imports(pieces: Iterable[Piece]) -> list[str]:
    """The import lines that the text of some pieces needs, sorted: standard, third party, the project's own."""
    pieces = list(pieces)
    homes: dict[str, set[str]] = {}
    lines = set()
    for target in (t for piece in pieces for t in targets(piece.expression) if not t.startswith(".")):
        home, _, name = target.rpartition(".")
        if home in HOMES or home.startswith("torchmetrics"):
            homes.setdefault(home, set()).add(name)
        elif home == "F":
            lines.add("import torch.nn.functional as F")
        elif home.partition(".")[0] in STANDARD:
            homes.setdefault("torch", set()).add(home.partition(".")[0])
        else:
            lines.add(f"import {home.partition('.')[0]}")
    if any("partial(" in render(piece.expression) for piece in pieces):
        lines.add("from functools import partial")
    lines |= {f"from {home} import {', '.join(sorted(names))}" for home, names in homes.items()}
    return sorted(lines, key=lambda line: (_group(line), line.startswith("from"), line))


def _group(line: str) -> int:
    home = line.split()[1].partition(".")[0]
    return 2 if home in HOMES else 0 if home == "functools" else 1


# -- local classes ----------------------------------------------------------------------------------------


def local_file(home: str, pieces: Iterable[Piece], *, more: str = "", imports: Sequence[str] = ()) -> str:
    """The text of optim.py, losses.py ...: the classes that the pieces use, and what these use; "" if none.

    `more`: a definition of this project, to follow them, with its `imports`.
    """
    wanted = [target.partition(".")[2] for piece in pieces for target in piece.locals if target.startswith(f"{home}.")]
    if not wanted and not more:
        return ""
    sources, needed = _sources(home)
    body: dict[str, str] = {}
    for name in [name for name in sources if name in wanted]:
        _add(name, sources, body)
    title = inspect.getdoc(importlib.import_module(f"{LOCAL}.{home}")) or ""
    end = "\n" if "\n" in title else ""
    head = "\n".join(dict.fromkeys([*needed, *imports]))
    return tidy("\n\n\n".join([f'"""{title}{end}"""\n\n{head}', *body.values(), *filter(None, [more])]))


def _add(name: str, sources: Mapping[str, str], body: dict[str, str]) -> None:
    """A definition, after everything that it uses."""
    for used in sources:
        if used in _names(sources[name]) and used not in body and used != name:
            _add(used, sources, body)
    body.setdefault(name, sources[name])


def tidy(text: str) -> str:
    """The text without imports that nothing uses, those that are left sorted, formatted by ruff."""
    rules = ["--select", "F401,I", "--fix", "--quiet", "--exit-zero", "--config", f"line-length={LINE_LENGTH}"]
    own = ["--config", f"lint.isort.known-first-party = {json.dumps([*HOMES, *PROJECT])}"]
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--target-version=py311", *rules, *own, "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return formatted(done.stdout or text)


def definitions(home: str) -> list[str]:
    """The names of everything that the files of one home define."""
    return list(_sources(home)[0])


@cache
def _sources(home: str) -> tuple[dict[str, str], list[str]]:
    """Name -> source of everything that the files of one home define, in their order; and their imports, one each."""
    found: dict[str, str] = {}
    imports: dict[str, None] = {}
    for module in _files(home):
        source = inspect.getsource(module)
        for node in ast.parse(source).body:
            text = "\n".join(source.splitlines()[_first_line(node) - 1 : node.end_lineno])
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                found[node.name] = text
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                found[node.targets[0].id] = text
            elif isinstance(node, ast.Import):
                imports |= {ast.unparse(ast.Import([alias])): None for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not str(node.module).startswith(LOCAL):
                imports |= {ast.unparse(ast.ImportFrom(node.module, [alias], 0)): None for alias in node.names}
    return found, list(imports)


def _files(home: str) -> list[ModuleType]:
    """The file of that name, or those of the folder."""
    module = importlib.import_module(f"{LOCAL}.{home}")
    if not hasattr(module, "__path__"):
        return [module]
    return [importlib.import_module(f"{module.__name__}.{info.name}") for info in pkgutil.iter_modules(module.__path__)]


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


@cache
def _names(text: str) -> frozenset[str]:
    """The names that a text uses."""
    return frozenset(node.id for node in ast.walk(ast.parse(textwrap.dedent(text))) if isinstance(node, ast.Name))
