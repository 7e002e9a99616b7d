"""What a reference bundle is made of, as `bundle.json` has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Interface:
    """An input or output of the model: its name in Keras, its shape there (None: dynamic), its dtype in the file."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class WeightInfo:
    """What an array of the model file is in the original: the name of its variable, and whether it learns."""

    variable: str
    shape: tuple[int, ...]
    dtype: str
    trainable: bool


@dataclass(frozen=True)
class InputSet:
    """One set of inputs: how it was drawn, and its batch size.

    `rounding`: how far apart, relative to their scale, outputs may be in float64 if every op is rounded in another
    way, as measured on the original; more than 1e-10 where large numbers cancel (0 on JAX, where it is not known).
    """

    name: str
    batch: int
    rounding: float = 0.0


@dataclass(frozen=True)
class Operand:
    """A tensor of a layer call. `at`: its place in the call, `0`, `1/2` (args[1][2]) or `initial_state/0` (a keyword).

    `tensor` and `mask` name arrays of `Bundle.tensor`.
    """

    at: str
    tensor: str
    mask: str | None


@dataclass(frozen=True)
class LayerCall:
    """One call of a layer. `layer`: its path as the readers name it.

    `call`: which call it is in the file, of the layer (last) and of the models around it; `number` counts the calls of
    this path as they were run.
    """

    layer: str
    class_name: str
    call: tuple[int, ...]
    number: int
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]


@dataclass(frozen=True)
class Gradients:
    """Gradients of the projected outputs, in one mode and precision.

    `weights`: by path in the model file; those that nothing depends on are not there. `inputs`: None where it is no
    float. `outputs`: of the same run. `state`: what the run left in weights that are not trained, by path.
    """

    weights: Mapping[str, Array]
    inputs: list[Array | None]
    outputs: list[Array]
    state: Mapping[str, Array]


@dataclass(frozen=True)
class Step:
    """What holds after one training step: weights and slots by path in the model file, numbers of the optimizer."""

    weights: Mapping[str, Array]
    slots: Mapping[str, Mapping[str, Array]]
    numbers: Mapping[str, Array]


@dataclass(frozen=True)
class Training:
    """How the original was trained, and its losses. `steps` that were recorded in full are listed in `recorded`."""

    steps: int
    batches: int
    recorded: tuple[int, ...]
    source: str
    optimizer: Mapping[str, Any]
    loss: Any
    loss_weights: Any
    slots: tuple[str, ...]
    losses: Mapping[str, list[float]]


def interface_of(entry: Mapping[str, Any]) -> Interface:
    return Interface(entry["name"], tuple(entry["shape"]), entry["dtype"])


def layer_call_of(entry: Mapping[str, Any]) -> LayerCall:
    inputs, outputs = (operands_of(entry[key]) for key in ("inputs", "outputs"))
    return LayerCall(entry["layer"], entry["class"], tuple(entry["call"]), int(entry["number"]), inputs, outputs)


def operands_of(entries: Sequence[Mapping[str, Any]]) -> tuple[Operand, ...]:
    return tuple(Operand(str(e.get("at", i)), e["tensor"], e.get("mask")) for i, e in enumerate(entries))


def training_of(part: Mapping[str, Any]) -> Training:
    return Training(
        int(part["steps"]), int(part["batches"]), tuple(part["recorded"]), part["from"], part["optimizer"],
        part["loss"], part["loss_weights"], tuple(part["slots"]), part["losses"],
    )  # fmt: skip
