"""A module configuration that repeats, said once: `BatchNorm = partial(nn.BatchNorm2d, eps=1e-3)`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from converters.graph import Graph, Module
from migrate.blocks.expressions import FORMULAS
from migrate.blocks.norms import CHANNEL_NORM
from migrate.emit.literals import literal

NORMALIZATIONS = {"nn.BatchNorm1d", "nn.BatchNorm2d", "nn.BatchNorm3d", "nn.LayerNorm"}
TIMES_AT_LEAST = 2


@dataclass
class Partials:
    """The partials of one model, by the constructor that they stand for."""

    found: dict[str, dict[str, object]] = field(default_factory=dict)

    @staticmethod
    def of(graph: Graph) -> Partials:
        """For each normalization that is configured alike everywhere, and not as torch does."""
        seen: dict[str, list[dict[str, object]]] = {}
        modules = set(written_modules(graph))
        # One for images would have to be written in full beside the short one.
        unlike = {"nn.LayerNorm"} if any(module.constructor == CHANNEL_NORM for module in modules) else set()
        for module in modules:
            if module.constructor in NORMALIZATIONS - unlike:
                seen.setdefault(module.constructor, []).append(_configured(module))
        alike = {
            constructor: given[0]
            for constructor, given in seen.items()
            if len(given) >= TIMES_AT_LEAST and given[0] and all(one == given[0] for one in given)
            and not any(isinstance(value, FORMULAS) for value in given[0].values())
        }  # fmt: skip
        names = [_name(constructor) for constructor in alike]
        return Partials({c: given for c, given in sorted(alike.items()) if names.count(_name(c)) == 1})

    def construction(self, module: Module) -> str | None:
        """`BatchNorm(64)`, or None for a module of which there is no partial."""
        if module.constructor not in self.found:
            return None
        return f"{_name(module.constructor)}({', '.join(map(literal, module.args))})"

    def lines(self) -> Iterator[str]:
        for constructor, given in self.found.items():
            options = ", ".join(f"{key}={literal(value)}" for key, value in given.items())
            note = f"  # Keras: {', '.join(_in_keras(given))}" if set(given) != {"eps"} else ""  # called so there
            yield f"{_name(constructor)} = partial({constructor}, {options}){note}"


def written_modules(graph: Graph) -> Iterator[Module]:
    """The modules that the text writes: those of a block's class once."""
    for module in graph.modules:
        inner = module.graph
        if inner is None:
            yield module
        elif inner.block is not None:
            yield from written_modules(inner.block.template.graph)
        else:
            yield from written_modules(inner)


def _configured(module: Module) -> dict[str, object]:
    defaults = {"eps": 1e-5, "momentum": 0.1, "affine": True, "bias": True, "elementwise_affine": True}
    return {key: value for key, value in sorted(module.kwargs.items()) if defaults.get(key) != value}


def _name(constructor: str) -> str:
    return re.sub(r"^nn\.|\d+d$", "", constructor)


def _in_keras(given: dict[str, object]) -> Iterator[str]:
    """The same settings as Keras has them."""
    for key, value in given.items():
        if key == "eps":
            yield f"epsilon={literal(value)}"
        elif key == "momentum" and isinstance(value, float):
            yield f"momentum={literal(round(1 - value, 12))}"
        elif key == "affine":
            yield "center and scale off"
