"""The data that a piece of a training program is made of, and the objects that the same data builds."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from converters.graph import Function

LOCAL = "converters.training.local"
HOMES = ("optim", "schedules", "losses", "metrics", "callbacks", "initial", "constraints", "penalties")
SHORT = {"nn": "torch.nn", "F": "torch.nn.functional", "init": "torch.nn.init"}


@dataclass(frozen=True)
class Name:
    """A variable of the program around: `model`, `parameters`, `optimizer`, `outputs`, `targets`, `weights`."""

    text: str


@dataclass(frozen=True)
class Attribute:
    """A part of the model by its dotted path, `fc.weight`: written as `model.fc.weight`."""

    path: str


@dataclass(frozen=True)
class Call:
    """`target(*args, **options)`. `torch.optim.Adam`, `nn.MSELoss`, a local class `optim.Lion`, a method `.squeeze`
    (of the first argument). Options that equal a default of the target are left out of the text."""

    target: str
    args: tuple[Any, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Piece:
    """An expression of the training program, and what has to be said about it.

    `comments`: where Keras' value differs from PyTorch's default, for the end of the line. `drift`: how the short
    form differs from Keras, with the measured figure; empty where it is equal to rounding.
    """

    expression: Any
    comments: tuple[str, ...] = ()
    drift: tuple[str, ...] = ()

    @property
    def locals(self) -> tuple[str, ...]:
        """The local classes and functions that the text needs: `optim.Lion` is to be written into optim.py."""
        return tuple(dict.fromkeys(t for t in targets(self.expression) if t.partition(".")[0] in HOMES))

    def saying(self, *comments: str) -> Piece:
        return replace(self, comments=(*self.comments, *comments))


def call(target: str, /, *args: Any, **options: Any) -> Call:
    return Call(target, args, tuple(options.items()))


def targets(expression: Any) -> Iterator[str]:
    """Everything that an expression calls or names."""
    match expression:
        case Call(target=target, args=args, options=options):
            yield target
            for part in (*args, *(value for _, value in options)):
                yield from targets(part)
        case Function(target=target, options=options):
            yield target
            for _, value in options:
                yield from targets(value)
        case tuple() | list():
            for part in expression:
                yield from targets(part)
        case Mapping():
            for part in expression.values():
                yield from targets(part)


def build(piece: Piece | Any, **names: Any) -> Any:
    """The object that the text of a piece would make. `names`: what its `Name`s stand for (`parameters=...`)."""
    expression = piece.expression if isinstance(piece, Piece) else piece
    match expression:
        case Name(text=text):
            return names[text]
        case Attribute(path=path):
            return functools.reduce(getattr, path.split("."), names["model"])
        case Call(target=target, args=args, options=options):
            made = [build(arg, **names) for arg in args]
            given = {key: build(value, **names) for key, value in options}
            if target.startswith("."):
                return getattr(made[0], target[1:])(*made[1:], **given)
            return resolve(target)(*made, **given)
        case Function(target=target, options=options):
            function = resolve(target)
            return functools.partial(function, **dict(options)) if options else function
        case tuple() | list():
            return type(expression)(build(part, **names) for part in expression)
        case Mapping():
            return {key: build(value, **names) for key, value in expression.items()}
    return expression


@functools.cache
def resolve(target: str) -> Any:
    """`optim.Lion`, `nn.MSELoss` or `torch.optim.Adam`: the thing itself."""
    home, _, name = target.rpartition(".")
    if home.partition(".")[0] in HOMES:
        home = f"{LOCAL}.{home}"
    first, _, rest = home.partition(".")
    return getattr(importlib.import_module(".".join(filter(None, (SHORT.get(first, first), rest)))), name)
