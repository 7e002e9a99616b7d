"""nn.LSTM, nn.GRU and nn.RNN on meta tensors: one operation, where torch would go step by step and take seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from converters.graph import leaves

KINDS = ("lstm", "gru", "rnn_tanh", "rnn_relu")


class WholeRecurrences(TorchFunctionMode):
    """Within it, a recurrence on meta gives tensors of the right shapes that depend on all that it reads."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kind = getattr(func, "__name__", "")
        if kind in KINDS and args[0].is_meta and isinstance(args[2], (list, tuple)):  # else a packed sequence
            return _whole(kind, *args)
        return func(*args, **(kwargs or {}))


def _whole(kind: str, x: Tensor, start: Any, weights: Sequence[Tensor], *settings: Any) -> tuple[Tensor, ...]:
    """The sequence and the states. `settings`: bias, num_layers, dropout, training, bidirectional, batch_first."""
    states = list(leaves(start))
    *_, bidirectional, batch_first = settings
    read = torch.stack([tensor.sum() for tensor in (x, *states, *weights)]).sum()
    for setting in (KINDS.index(kind), *settings):
        read = read + float(setting)  # a literal, which whoever records the operations will see
    steps, batch = x.shape[:2][::-1] if batch_first else x.shape[:2]
    sequence = _filled(read, 0, (steps, batch, states[0].shape[-1] * (2 if bidirectional else 1)))
    ends = [_filled(read, number, state.shape) for number, state in enumerate(states, 1)]
    return (sequence.transpose(0, 1) if batch_first else sequence, *ends)


def _filled(value: Tensor, number: int, shape: Sequence[int]) -> Tensor:
    """The result of a number, so that two of the same shape are told apart."""
    return (value + number).expand(tuple(shape)).contiguous()
