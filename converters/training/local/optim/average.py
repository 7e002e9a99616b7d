"""The moving average of the weights."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Average:
    """The moving average of the parameters. Call `update()` after every batch.

    `accumulate`: how many batches make one update. With `from_start` the average begins at the first weights (Keras
    2), else after the first update. Every `overwrite_every` updates the parameters are set to it.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        momentum: float = 0.99,
        overwrite_every: int | None = None,
        accumulate: int = 1,
        from_start: bool = False,
    ) -> None:
        self.parameters, self.momentum = list(parameters), momentum
        self.overwrite_every, self.accumulate, self.from_start = overwrite_every, accumulate, from_start
        self.averages, self.batches = [p.detach().clone() for p in self.parameters], 0

    @torch.no_grad()
    def update(self) -> None:
        done = self.batches // self.accumulate
        self.batches += 1
        momentum = self.momentum if done or self.from_start else 0.0
        for average, p in zip(self.averages, self.parameters, strict=True):
            average.lerp_(p, 1 - momentum)
        if self.overwrite_every and (done + 1) % self.overwrite_every == 0:
            self.copy_to()

    @torch.no_grad()
    def copy_to(self) -> None:
        """Sets the parameters to the averages."""
        for average, p in zip(self.averages, self.parameters, strict=True):
            p.copy_(average)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges the parameters and the averages; twice for nothing."""
        for average, p in zip(self.averages, self.parameters, strict=True):
            kept = p.clone()
            p.copy_(average)
            average.copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        return {"averages": self.averages, "batches": self.batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.batches = state["batches"]
        for average, kept in zip(self.averages, state["averages"], strict=True):
            average.copy_(kept)
