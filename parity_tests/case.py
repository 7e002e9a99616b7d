"""One parity case: a line of data that drives every check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Case:
    """`model`: Keras layers separated by commas (a chain), or a lambda from input tensors to outputs.

    `inputs`: the shape of each input without the batch, with its dtype where it is not float32.
    `leak`: a relative error that Keras itself carries into float64, as measured, and `because` of what.
    `permutes`: how many permutes the emitted model may have at run time.
    `calibrated`: its normalizations get statistics near those of its activations, else rounding alone chooses the
    outputs of the deepest models. `measured`: what rounding may do to the outputs is measured, as `verify` does.
    """

    name: str
    model: str
    inputs: tuple[Any, ...]
    leak: float = 0.0
    because: str = ""
    permutes: int | None = None
    options: dict[str, Any] = field(default_factory=dict)
    formats: tuple[str, ...] = ("keras",)
    generation: int = 3
    calibrated: bool = False
    measured: bool = False

    def request(self, seed: int = 0) -> dict[str, Any]:
        """What the worker is asked to build, but for the folder."""
        return {
            "do": "build", "model": self.model, "inputs": [_input(i) for i in self.inputs],
            "formats": list(self.formats), "options": self.options, "generation": self.generation, "seed": seed,
            "calibrated": self.calibrated, "measured": self.measured,
        }  # fmt: skip


def _input(spec: Any) -> list[Any]:
    """(8, 8, 3) or ("int32", 7): the dtype may stand in front."""
    if spec and isinstance(spec[0], str):
        return [list(spec[1:]), spec[0]]
    return [list(spec), "float32"]


def case(name: str, model: str, *inputs: Sequence[Any], **more: Any) -> Case:
    """A case as the case files write it."""
    return Case(name, model, tuple(tuple(spec) for spec in inputs), **more)
