"""Keras' learning rate schedules as PyTorch's, stepped after every batch.

Keras gives the rate as a function of the number of batches; PyTorch's own schedulers are used where they compute the
same at every step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from converters.errors import Unsupported
from converters.graph import Function
from converters.training.config import DAMAGED, Options, named, refuse_custom, short, snake
from converters.training.piece import Call, Name, Piece, call

OPTIMIZER = Name("optimizer")
TORCH = "torch.optim.lr_scheduler"


@dataclass(frozen=True)
class Schedule:
    """The rate before the first step, and what changes it after each. `rate`: it, as a function of the step."""

    initial: float
    piece: Piece | None = None
    rate: Function | None = None

    @property
    def changes(self) -> bool:
        return self.piece is not None


def schedule_of(value: Any) -> Schedule:
    """A learning rate as a config states it: a number, or a schedule object. Raises Unsupported for any other."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Schedule(short(float(value)))
    class_name, settings = named(value, "the learning rate schedule")
    maker = MAKERS.get(snake(class_name))
    if maker is None:
        refuse_custom(class_name, "the learning rate schedule")
    options = Options(f"the learning rate schedule {class_name}", settings, "name")
    made = maker(options)
    options.done()
    return made


def decayed(schedule: Schedule, decay: float) -> Schedule:
    """Keras before 2.11: the rate divided by 1 + decay * step."""
    if schedule.changes:
        raise Unsupported("an optimizer with both a schedule and `decay`", "take one of them out in Keras")
    return _per_step("inverse_time_decay", schedule.initial, initial=schedule.initial, steps=1, rate=decay)


def _per_step(name: str, first: float, torch_form: Call | None = None, /, **options: Any) -> Schedule:
    """A function of the step, in the form of a torch scheduler where there is an equal one."""
    rate = Function(f"schedules.{name}", tuple(options.items()))
    return Schedule(first, Piece(torch_form or call("schedules.PerStep", OPTIMIZER, rate)), rate)


def _steps(options: Options, key: str = "decay_steps") -> float:
    steps = options.number(key)
    if steps <= 0:
        raise Unsupported(f"a learning rate schedule with {key}={steps}, which is not positive", DAMAGED)
    return steps


def exponential_decay(options: Options) -> Schedule:
    initial, steps = options.number("initial_learning_rate"), _steps(options)
    rate, staircase = options.number("decay_rate"), options.flag("staircase")
    if staircase and steps == int(steps):
        form = call(f"{TORCH}.StepLR", OPTIMIZER, int(steps), gamma=rate)
    elif steps == 1:
        form = call(f"{TORCH}.ExponentialLR", OPTIMIZER, rate)
    else:
        form = None
    return _per_step("exponential_decay", initial, form, initial=initial, steps=steps, rate=rate, staircase=staircase)


def inverse_time_decay(options: Options) -> Schedule:
    initial, steps = options.number("initial_learning_rate"), _steps(options)
    rate, staircase = options.number("decay_rate"), options.flag("staircase")
    return _per_step("inverse_time_decay", initial, initial=initial, steps=steps, rate=rate, staircase=staircase)


def piecewise_constant(options: Options) -> Schedule:
    boundaries, values = _numbers(options, "boundaries"), _numbers(options, "values")
    if not boundaries or len(values) != len(boundaries) + 1:
        raise Unsupported("a PiecewiseConstantDecay whose values are not one more than its boundaries", DAMAGED)
    first = values[sum(boundary < 0 for boundary in boundaries)]
    return _per_step("piecewise_constant", first, boundaries=boundaries, values=values)


def _numbers(options: Options, key: str) -> tuple[float, ...]:
    found = options.value(key)
    if not isinstance(found, (list, tuple)) or any(
        isinstance(x, bool) or not isinstance(x, (int, float)) for x in found
    ):
        raise Unsupported(f"a learning rate schedule with {key}={found!r:.60}, expected numbers", DAMAGED)
    return tuple(map(short, found))


def polynomial_decay(options: Options) -> Schedule:
    initial, steps = options.number("initial_learning_rate"), _steps(options)
    end, power = options.number("end_learning_rate", 1e-4), options.number("power", 1.0)
    cycle = options.flag("cycle")
    form = None
    if end == 0 and not cycle and steps == int(steps):
        form = call(f"{TORCH}.PolynomialLR", OPTIMIZER, total_iters=int(steps), power=power)
    return _per_step("polynomial_decay", initial, form, initial=initial, steps=steps, end=end, power=power, cycle=cycle)


def cosine_decay(options: Options) -> Schedule:
    initial, steps, alpha = options.number("initial_learning_rate"), _steps(options), options.number("alpha", 0.0)
    target, warmup = options.optional("warmup_target"), options.number("warmup_steps", 0)
    first = target if target is not None and not warmup else initial
    given = {"initial": initial, "steps": steps, "alpha": alpha}
    given |= {} if target is None else {"warmup_target": target, "warmup_steps": warmup}
    return _per_step("cosine_decay", first, None, **given)


def cosine_decay_restarts(options: Options) -> Schedule:
    initial, steps = options.number("initial_learning_rate"), _steps(options, "first_decay_steps")
    t_mul, m_mul = options.number("t_mul", 2.0), options.number("m_mul", 1.0)
    alpha = options.number("alpha", 0.0)
    return _per_step(
        "cosine_decay_restarts", initial, initial=initial, steps=steps, t_mul=t_mul, m_mul=m_mul, alpha=alpha
    )


MAKERS: dict[str, Callable[[Options], Schedule]] = {
    "exponentialdecay": exponential_decay,
    "inversetimedecay": inverse_time_decay,
    "piecewiseconstantdecay": piecewise_constant,
    "polynomialdecay": polynomial_decay,
    "cosinedecay": cosine_decay,
    "cosinedecayrestarts": cosine_decay_restarts,
}
