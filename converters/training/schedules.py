"""Keras' learning rate schedules as PyTorch's, stepped after every batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from converters.errors import Unsupported
from converters.training.config import DAMAGED, Options, named, refuse_custom, snake
from converters.training.piece import Call, Name, Piece, call

OPTIMIZER = Name("optimizer")


@dataclass(frozen=True)
class Schedule:
    """The rate before the first step, and what changes it after each."""

    initial: float
    piece: Piece | None = None

    @property
    def changes(self) -> bool:
        return self.piece is not None


def schedule_of(value: Any) -> Schedule:
    """A learning rate as a config states it: a number, or a schedule object."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Schedule(float(value))
    class_name, settings = named(value, "the learning rate schedule")
    refuse_custom(class_name, "the learning rate schedule")


def decayed(schedule: Schedule, decay: float) -> Schedule:
    """Keras before 2.11: the rate divided by 1 + decay * step."""
    return schedule
