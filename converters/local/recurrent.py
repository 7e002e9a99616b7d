"""Recurrent layers as Keras runs them: masks anywhere in a row, any activation, dropout that lasts for a sequence."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def valid_first(x: Tensor, mask: Tensor) -> Tensor:
    """x (N, T, F) with the steps that `mask` (N, T) keeps moved to the front of each row, in their order."""
    order = mask.argsort(dim=1, descending=True, stable=True)
    return x.gather(1, order.unsqueeze(-1).expand_as(x))


def carry_forward(outputs: Tensor, mask: Tensor) -> Tensor:
    """The outputs for `valid_first` steps, back at their own steps (N, T, H).

    A step that `mask` hides repeats the output before it, or zero if there is none.
    """
    steps = mask.cumsum(dim=1).unsqueeze(-1).expand_as(outputs)
    return F.pad(outputs, (0, 0, 1, 0)).gather(1, steps)


def last_valid(outputs: Tensor, mask: Tensor) -> Tensor:
    """The outputs for `valid_first` steps at the last one that counts (N, H), zero if there is none."""
    last = mask.sum(dim=1)[:, None, None].expand(-1, 1, outputs.shape[-1])
    return F.pad(outputs, (0, 0, 1, 0)).gather(1, last).squeeze(1)


def last_state(outputs: Tensor, mask: Tensor, start: Tensor) -> Tensor:
    """The outputs for `valid_first` steps at the last one that counts (N, H), `start` (N, H) if there is none."""
    last = mask.sum(dim=1)[:, None, None].expand(-1, 1, outputs.shape[-1])
    return torch.cat([start.unsqueeze(1), outputs], dim=1).gather(1, last).squeeze(1)


class MaskedBidirectional(nn.Module):
    """An nn.LSTM, nn.GRU or nn.RNN in each direction, over the steps that a mask keeps.

    x (N, T, input_size), mask (N, T) -> outputs (N, T, 2 * hidden_size), zero at hidden steps, and the last one of
    each direction (N, 2 * hidden_size), zero if a row has none.
    """

    def __init__(self, kind: Callable[..., nn.Module], input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.forward_layer = kind(input_size, hidden_size, batch_first=True)
        self.backward_layer = kind(input_size, hidden_size, batch_first=True)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        ahead, _ = self.forward_layer(valid_first(x, mask))
        ahead = carry_forward(ahead, mask)  # (N, T, hidden_size)
        x, reversed_mask = x.flip(1), mask.flip(1)
        back, _ = self.backward_layer(valid_first(x, reversed_mask))
        back = carry_forward(back, reversed_mask)
        outputs = torch.cat([ahead, back.flip(1)], dim=-1).masked_fill(~mask.unsqueeze(-1), 0)
        return outputs, torch.cat([ahead[:, -1], back[:, -1]], dim=-1)


def linear(x: Tensor) -> Tensor:
    """No activation."""
    return x


class Stepwise(nn.Module):
    """A recurrent layer that is run step by step, for what nn.LSTM, nn.GRU and nn.RNN cannot do.

    x (N, T, input_size), states (N, hidden_size) each, zero if none are given, and mask (N, T) -> outputs
    (N, T, hidden_size) and the last states. A step that `mask` hides leaves the states alone and repeats the
    output before it, or zero if there is none. torch.export writes the steps out: T is fixed there.
    """

    state_count = 1

    def __init__(self, input_size: int, hidden_size: int, gates: int, bias: bool, hidden_bias: bool = False) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.input = nn.Linear(input_size, gates * hidden_size, bias=bias)
        self.hidden = nn.Linear(hidden_size, gates * hidden_size, bias=hidden_bias)

    def step(self, x: Tensor, hidden: Callable[[Tensor], Tensor], *states: Tensor) -> tuple[Tensor, ...]:
        """The next states, the output first, from what comes from the input and the map of the hidden state."""
        raise NotImplementedError

    def maps(self, batch: int) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        """What is applied to the input and to the hidden state of one batch."""
        return self.input, self.hidden

    def forward(
        self, x: Tensor, states: tuple[Tensor, ...] = (), mask: Tensor | None = None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        inputs, hidden = self.maps(x.shape[0])
        output = x.new_zeros(x.shape[0], self.hidden_size)
        states = states or (output,) * self.state_count
        outputs = []
        for t, step in enumerate(inputs(x).unbind(1)):
            new = self.step(step, hidden, *states)
            if mask is None:
                output, states = new[0], new
            else:
                valid = mask[:, t].unsqueeze(-1)
                output = torch.where(valid, new[0], output)
                states = tuple(torch.where(valid, a, b) for a, b in zip(new, states, strict=True))
            outputs.append(output)
        return torch.stack(outputs, dim=1), states


class StepwiseLSTM(Stepwise):
    """LSTM with the gates i, f, g, o and one bias; its states are h and c."""

    state_count = 2

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        activation: Callable[[Tensor], Tensor] = torch.tanh,
        recurrent_activation: Callable[[Tensor], Tensor] = torch.sigmoid,
    ) -> None:
        super().__init__(input_size, hidden_size, 4, bias)
        self.activation, self.recurrent_activation = activation, recurrent_activation

    def step(self, x: Tensor, hidden: Callable[[Tensor], Tensor], *states: Tensor) -> tuple[Tensor, ...]:
        h, c = states
        i, f, g, o = (x + hidden(h)).chunk(4, dim=-1)
        c = self.recurrent_activation(f) * c + self.recurrent_activation(i) * self.activation(g)
        return self.recurrent_activation(o) * self.activation(c), c


class StepwiseGRU(Stepwise):
    """GRU with the gates z, r, n. `reset_after`: r acts on what the state is mapped to, else on the state itself."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        activation: Callable[[Tensor], Tensor] = torch.tanh,
        recurrent_activation: Callable[[Tensor], Tensor] = torch.sigmoid,
        reset_after: bool = True,
    ) -> None:
        super().__init__(input_size, hidden_size, 3, bias, hidden_bias=bias and reset_after)
        self.activation, self.recurrent_activation = activation, recurrent_activation
        self.reset_after = reset_after

    def step(self, x: Tensor, hidden: Callable[[Tensor], Tensor], *states: Tensor) -> tuple[Tensor, ...]:
        (h,) = states
        input_z, input_r, input_n = x.chunk(3, dim=-1)
        z, r, n = hidden(h).chunk(3, dim=-1)
        z, r = self.recurrent_activation(input_z + z), self.recurrent_activation(input_r + r)
        n = r * n if self.reset_after else hidden(r * h).chunk(3, dim=-1)[2]
        return (z * h + (1 - z) * self.activation(input_n + n),)


class StepwiseRNN(Stepwise):
    """RNN with one bias and any activation."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, activation: Callable[[Tensor], Tensor] = torch.tanh
    ) -> None:
        super().__init__(input_size, hidden_size, 1, bias)
        self.activation = activation

    def step(self, x: Tensor, hidden: Callable[[Tensor], Tensor], *states: Tensor) -> tuple[Tensor, ...]:
        return (self.activation(x + hidden(states[0])),)


class GateDropout(Stepwise):
    """In training, each gate sees the input and the state under dropouts of its own, the same at all steps."""

    def __init__(self, *sizes: Any, dropout: float = 0.0, recurrent_dropout: float = 0.0, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.dropout, self.recurrent_dropout = dropout, recurrent_dropout

    def maps(self, batch: int) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
        return self.dropped(self.input, batch, self.dropout), self.dropped(self.hidden, batch, self.recurrent_dropout)

    def dropped(self, affine: nn.Linear, batch: int, rate: float) -> Callable[[Tensor], Tensor]:
        """`affine`, whose input (N, ..., F) is dropped out for each gate and row in another way."""
        if not self.training or not rate:
            return affine
        weight = affine.weight.unflatten(0, (-1, self.hidden_size))  # (gates, hidden_size, F)
        noise = F.dropout(weight.new_ones(batch, weight.shape[0], weight.shape[2]), rate)

        def apply(x: Tensor) -> Tensor:
            y = torch.einsum("n...f,ngf,ghf->n...gh", x, noise, weight).flatten(-2)
            return y if affine.bias is None else y + affine.bias

        return apply


class DropoutLSTM(GateDropout, StepwiseLSTM):
    """StepwiseLSTM with dropout of inputs and states."""


class DropoutGRU(GateDropout, StepwiseGRU):
    """StepwiseGRU with dropout of inputs and states."""


class DropoutRNN(GateDropout, StepwiseRNN):
    """StepwiseRNN with dropout of inputs and states."""
