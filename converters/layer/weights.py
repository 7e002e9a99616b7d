"""The arrays of a layer as a converter sees them."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

from converters.errors import UserError
from converters.weights import Weight


class Weights(SimpleNamespace):
    """Absent weights are None."""

    def __getattr__(self, name: str) -> None:
        return None


class NoWeights:
    """The weights of what has none."""

    count = 0

    def take(self, names: Sequence[str]) -> dict[str, Weight]:
        if names:
            raise UserError(f"expected the weights {list(names)}, found none")
        return {}

    def child(self, name: str) -> NoWeights:
        return self
