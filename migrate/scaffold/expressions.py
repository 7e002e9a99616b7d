"""Pieces of a training program as text: expressions, their imports, and the files of local classes."""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterable, Mapping
from functools import cache
from types import ModuleType
from typing import Any

from converters.graph import Function
from converters.training.piece import HOMES, LOCAL, Attribute, Call, Name, Piece, resolve, targets
from migrate.emit.literals import literal
from migrate.emit.source import formatted

STANDARD = ("nn", "F", "init")  # what is written as `from torch import nn`, not as `import torch`


def render(expression: Any) -> str:
    """The text of an expression. Options that equal a default of what is called are left out."""
    match expression:
        case Name(text=text):
            return text
        case Attribute(path=path):
            return f"model.{path}"
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


def local_file(home: str, pieces: Iterable[Piece]) -> str:
    """The text of optim.py, losses.py ...: the classes that the pieces use, and what these use; "" if none."""
    wanted = {target.partition(".")[2] for piece in pieces for target in piece.locals if target.startswith(f"{home}.")}
    if not wanted:
        return ""
    module = importlib.import_module(f"{LOCAL}.{home}")
    definitions = _definitions(module)
    while more := {name for known in wanted for name in _names(definitions[known]) & definitions.keys()} - wanted:
        wanted |= more
    body = [text for name, text in definitions.items() if name in wanted]
    head = [text for text in _imports(module) if _names(text) & set().union(*(_names(text) for text in body))]
    return formatted("\n".join([f'"""{inspect.getdoc(module)}"""', "", *head, "", *body]))


@cache
def _definitions(module: ModuleType) -> dict[str, str]:
    """Name -> source of everything that a file defines, in its order."""
    source = inspect.getsource(module)
    found = {}
    for node in ast.parse(source).body:
        text = "\n".join(source.splitlines()[_first_line(node) - 1 : node.end_lineno])
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found[node.name] = text
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = text
    return found


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _imports(module: ModuleType) -> list[str]:
    """The import statements of a file, one name each, so that only those that are used are kept."""
    lines = []
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.Import):
            lines += [ast.unparse(ast.Import([alias])) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            lines += [ast.unparse(ast.ImportFrom(node.module, [alias], node.level)) for alias in node.names]
    return lines


@cache
def _names(text: str) -> frozenset[str]:
    """The names that a text uses, or, of an import, binds."""
    tree = ast.parse(textwrap.dedent(text))
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return frozenset(found)
