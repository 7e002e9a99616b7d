"""How far one more rounding of the weights moves gradients in float32.

At a kink (a ReLU near 0, two equal numbers before a max pooling) the gradient jumps, and which side float32 lands on is
chance. Asked only where gradients are too far off: a fault in a smooth place stays one, since nothing moves there.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from migrate.verify.bundle import Bundle
from migrate.verify.criterion import Array
from migrate.verify.emitted import Emitted

if TYPE_CHECKING:
    from migrate.verify.gradients import Pass

DRAWS = 8
LAST_DIGIT = 2.0**-23
MARGIN = 2.0  # what a few draws may miss


@dataclass(frozen=True)
class Jumps:
    """The largest change of each gradient: by path in the model file, and by the number of an input."""

    weights: dict[str, float] = field(default_factory=dict)
    inputs: dict[int, float] = field(default_factory=dict)


def jumps(emitted: Emitted, bundle: Bundle, found: Pass, *, training: bool) -> Jumps:
    """What 8 draws of the last digits of all weights do to what was `found`."""
    from migrate.verify.gradients import backward  # which asks for this

    made = Jumps()
    for draw in range(DRAWS):
        other = backward(_rounded_again(emitted, draw), bundle, training=training)
        for path, array in other.weights.items():
            if path in found.weights:
                made.weights[path] = max(made.weights.get(path, 0.0), _largest(array, found.weights[path]))
        for number, (one, two) in enumerate(zip(other.inputs, found.inputs, strict=True)):
            if one is not None and two is not None:
                made.inputs[number] = max(made.inputs.get(number, 0.0), _largest(one, two))
    return made


def _rounded_again(emitted: Emitted, seed: int) -> Emitted:
    """A copy of the model, each weight a last digit larger or smaller, or as it is."""
    generator = torch.Generator().manual_seed(seed)
    model = deepcopy(emitted.model)
    with torch.no_grad():
        for tensor in _numbers(model):
            step = torch.randint(-1, 2, tensor.shape, generator=generator).to(tensor.device, tensor.dtype)
            tensor.mul_(1 + LAST_DIGIT * step)
    return replace(emitted, model=model)


def _numbers(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from (tensor for tensor in model.state_dict().values() if tensor.is_floating_point())


def _largest(one: Array, other: Array) -> float:
    change = np.abs(one.astype(np.float64) - other.astype(np.float64))
    return MARGIN * float(change[np.isfinite(change)].max(initial=0.0))
