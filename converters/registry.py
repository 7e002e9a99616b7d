"""The one registry: which function converts which Keras thing, under which rule of layout."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from converters.arrangement import Layout
from converters.errors import Unsupported
from converters.training.config_keys import TRAINING_KEYS

FAMILIES = ("converters.layers", "converters.ops")
MaskRule = Literal["end", "pass"] | Callable[..., Any]


@dataclass(frozen=True)
class Converter:
    """A function from one layer to torch calls. Its parameters before `*` are Keras' call arguments,
    those after it the keys of the layer's config: the signature is the schema.

    `mask` says what becomes of the implied mask of the inputs: `pass` it on, `end` it, or a function
    (layer, inputs) -> mask. `features`: the layer owns weights along the last axis and can reorder them
    to the order of a flattened input. `reshapes`: the order of Keras' axes is the meaning of its output.
    """

    key: str
    function: Callable[..., Any]
    layout: Layout
    mask: MaskRule
    features: bool
    reshapes: bool

    @property
    def parameters(self) -> list[inspect.Parameter]:
        return list(inspect.signature(self.function).parameters.values())[1:]

    @property
    def call_arguments(self) -> list[inspect.Parameter]:
        return [p for p in self.parameters if p.kind is not inspect.Parameter.KEYWORD_ONLY]

    def config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The keys of a layer's config that the converter takes, checked against its signature.

        Raises Unsupported for a key that it does not know, a value of another type, a key that is missing.
        """
        hints = get_type_hints(self.function)
        known = {p.name: p for p in self.parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
        taken = {}
        for name, value in config.items():
            if name in known:
                taken[name] = self._checked(name, value, hints.get(name, Any))
            elif name not in TRAINING_KEYS and value is not None:
                raise Unsupported(
                    f"the config key {name}={value!r:.80} is not known for {self.key}",
                    "check that the file is not damaged; if it comes from a newer Keras, update tf2torch",
                )
        for name, parameter in known.items():
            if name not in taken and parameter.default is inspect.Parameter.empty:
                raise Unsupported(f"the config has no key {name!r}", "check that the file is not damaged")
        return taken

    def _checked(self, name: str, value: Any, hint: Any) -> Any:
        value = tuple_of(value)
        if not fits(value, hint):
            raise Unsupported(
                f"the config says {name}={value!r:.80}, expected {readable(hint)}", "check that the file is not damaged"
            )
        return value


_CONVERTERS: dict[str, Converter] = {}


def converts(
    *keys: str, layout: Layout, mask: MaskRule = "end", features: bool = False, reshapes: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a converter for `layers.X` or `ops.X`. A key that is taken is an error."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        for key in keys:
            if key in _CONVERTERS:
                raise ValueError(f"two converters for {key}: {_CONVERTERS[key].function.__name__}, {function.__name__}")
            _CONVERTERS[key] = Converter(key, function, layout, mask, features, reshapes)
        return function

    return register


def lookup(key: str) -> Converter | None:
    _import_families()
    return _CONVERTERS.get(key)


def supported() -> list[str]:
    """Every key that has a converter, sorted."""
    _import_families()
    return sorted(_CONVERTERS)


@cache
def _import_families() -> None:
    """Every file of the vocabulary folders registers what it converts."""
    for folder in FAMILIES:
        package = importlib.import_module(folder)
        for info in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{folder}.{info.name}")


def tuple_of(value: Any) -> Any:
    """JSON lists as the tuples that Keras had."""
    return tuple(map(tuple_of, value)) if isinstance(value, list) else value


def fits(value: Any, hint: Any) -> bool:
    """Whether a value from a config is of the type that a signature asks for."""
    if hint is Any:
        return True
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, option) for option in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if origin is tuple:
        item, *rest = get_args(hint)
        if rest == [...]:
            return isinstance(value, tuple) and all(fits(v, item) for v in value)
        return isinstance(value, tuple) and len(value) == 1 + len(rest) and all(map(fits, value, get_args(hint)))
    if origin is not None:
        return isinstance(value, origin)
    if hint is type(None):
        return value is None
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def readable(hint: Any) -> str:
    """A type as a reader knows it: the choices that there are, not `Literal`."""
    if get_origin(hint) is Literal:
        return " or ".join(map(repr, get_args(hint)))
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(map(readable, get_args(hint)))
    if hint is type(None):
        return "null"
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
