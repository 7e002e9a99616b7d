"""Where the calls of converters go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from converters.arrangement import Arrangement
from converters.graph import Layer, Tree, Value
from converters.weights import Weight


class Draft(Protocol):
    """A module that is being written down; see `graph.Module` for the meaning of its fields."""

    key: str
    state: dict[str, Weight]
    frozen: set[str]
    inference: bool
    comment: str


class Recorder(Protocol):
    """Where the calls go. `migrate.lower` runs each of them on meta tensors as it is written."""

    def call(self, kind: str, target: str, args: Sequence[Tree], kwargs: Mapping[str, Tree], origin: str) -> Tree: ...

    def module(
        self, key: str, constructor: str, args: Sequence[Any], kwargs: Mapping[str, Any], layer: Layer
    ) -> Draft: ...

    def convert(
        self, op: str, layer: Layer, args: Sequence[Tree], kwargs: Mapping[str, Tree], *, calls: int = 1
    ) -> Tree: ...

    def coerce(self, value: Value, arrangement: Arrangement, origin: str) -> Value: ...

    def differs(self, origin: str, what: str) -> bool: ...

    def end_masks(self, inputs: Sequence[Value]) -> None: ...
