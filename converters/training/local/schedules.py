"""Learning rates as Keras computes them: the rate of the update that comes after `step` batches."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class PerStep(LRScheduler):
    """Sets the rate of every group to `rate(step)`; call `step()` after every batch."""

    def __init__(self, optimizer: Optimizer, rate: Callable[[int], float], last_epoch: int = -1) -> None:
        self.rate = rate
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [self.rate(self.last_epoch)] * len(self.optimizer.param_groups)

    def state_dict(self) -> dict[str, Any]:
        return {name: value for name, value in super().state_dict().items() if name != "rate"}


def exponential_decay(step: int, initial: float, steps: float, rate: float, staircase: bool = False) -> float:
    """Times `rate` every `steps` steps, smoothly or all at once."""
    progress = step / steps
    return initial * rate ** (math.floor(progress) if staircase else progress)


def inverse_time_decay(step: int, initial: float, steps: float, rate: float, staircase: bool = False) -> float:
    """Divided by 1 + rate * step / steps."""
    progress = step / steps
    return initial / (1 + rate * (math.floor(progress) if staircase else progress))


def piecewise_constant(step: int, boundaries: Sequence[float], values: Sequence[float]) -> float:
    """`values[i]` up to and with step `boundaries[i]`."""
    return values[sum(step > boundary for boundary in boundaries)]


def polynomial_decay(
    step: int, initial: float, steps: float, end: float = 1e-4, power: float = 1.0, cycle: bool = False
) -> float:
    """From `initial` to `end`; with `cycle` it starts again, over twice, three times ... as many steps."""
    if cycle:
        steps *= math.ceil(step / steps) if step else 1
    return (initial - end) * (1 - min(step, steps) / steps) ** power + end


def cosine_decay(
    step: int,
    initial: float,
    steps: float,
    alpha: float = 0.0,
    warmup_target: float | None = None,
    warmup_steps: int = 0,
) -> float:
    """Half a cosine from `initial` to `alpha` times that, then constant; before it a straight line to the target."""
    top = initial
    if warmup_target is not None:
        if step < warmup_steps:
            return (warmup_target - initial) * step / warmup_steps + initial
        top, step = warmup_target, step - warmup_steps
    cosine = 0.5 * (1 + math.cos(math.pi * min(step, steps) / steps))
    return top * ((1 - alpha) * cosine + alpha)


def cosine_decay_restarts(
    step: int, initial: float, steps: float, t_mul: float = 2.0, m_mul: float = 1.0, alpha: float = 0.0
) -> float:
    """Cosines one after the other, each `t_mul` times as long and `m_mul` times as high as the last."""
    progress = step / steps
    if t_mul == 1:
        restarts = math.floor(progress)
        progress -= restarts
    else:
        restarts = math.floor(math.log(1 - progress * (1 - t_mul)) / math.log(t_mul))
        progress = (progress - (1 - t_mul**restarts) / (1 - t_mul)) / t_mul**restarts
    cosine = 0.5 * m_mul**restarts * (1 + math.cos(math.pi * progress))
    return initial * ((1 - alpha) * cosine + alpha)


class Schedules:
    """Several schedulers as one."""

    def __init__(self, *parts: LRScheduler) -> None:
        self.parts = parts

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[int, Any]:
        return {index: part.state_dict() for index, part in enumerate(self.parts)}

    def load_state_dict(self, state: dict[int, Any]) -> None:
        for index, part in enumerate(self.parts):
            part.load_state_dict(state[index])
