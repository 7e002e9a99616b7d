"""Which Keras wrote a file: what it says of itself, else what its words give away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Words that only one generation used. Keras 2.12 and later share those of KEYS3, but state their version.
KEYS1 = {"border_mode", "nb_filter", "inner_activation", "W_regularizer", "dim_ordering", "input_dtype", "inner_init"}
KEYS2 = {"batch_input_shape"}
KEYS3 = {"module", "registered_name", "batch_shape"}


@dataclass(frozen=True)
class Version:
    """`text` for people, `numbers` (major, minor) for what depends on it."""

    text: str
    numbers: tuple[int, ...]

    @classmethod
    def of(cls, stated: str, config: Mapping[str, Any]) -> Version:
        """The version that a file states, or the generation that its config speaks the words of."""
        if numbers := parse_version(stated):
            return cls(stated, numbers)
        keys = set(_keys(config))
        major = 1 if keys & KEYS1 else 2 if keys & KEYS2 else 3 if keys & KEYS3 else 2
        return cls(f"{major}.x", (major, 0))


def parse_version(stated: str) -> tuple[int, ...] | None:
    """`2.2.4-tf` -> (2, 2)."""
    numbers = stated.split(".")[:2]
    return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 and all(n.isdecimal() for n in numbers) else None


def _keys(tree: Any) -> Iterator[str]:
    if isinstance(tree, Mapping):
        yield from tree
    for item in tree.values() if isinstance(tree, Mapping) else tree if isinstance(tree, list) else ():
        yield from _keys(item)
