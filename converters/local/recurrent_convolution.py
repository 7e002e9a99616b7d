"""Recurrent layers whose maps are convolutions."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvLSTM(nn.Module):
    """An LSTM over images: its maps are convolutions (nn.Conv1d, nn.Conv2d or nn.Conv3d), its gates i, f, g, o.

    x (N, T, in_channels, ...), states h and c (N, channels, ...), zero if none are given -> outputs
    (N, T, channels, ...) and the last states. torch.export writes the steps out: T is fixed there.
    """

    def __init__(
        self,
        convolution: type[nn.Module],
        in_channels: int,
        channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: str | int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        bias: bool = True,
        activation: Callable[[Tensor], Tensor] = torch.tanh,
        recurrent_activation: Callable[[Tensor], Tensor] = torch.sigmoid,
    ) -> None:
        super().__init__()
        self.channels, self.activation, self.recurrent_activation = channels, activation, recurrent_activation
        self.input = convolution(in_channels, 4 * channels, kernel_size, stride, padding, dilation, bias=bias)
        self.hidden = convolution(channels, 4 * channels, kernel_size, padding="same", bias=False)

    def maps(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """What comes from the input at all steps (N, T, 4 * channels, ...), and the map of the hidden state."""
        return self.input(x.flatten(0, 1)).unflatten(0, (-1, x.shape[1])), self.hidden

    def forward(self, x: Tensor, states: tuple[Tensor, ...] = ()) -> tuple[Tensor, tuple[Tensor, ...]]:
        inputs, hidden = self.maps(x)
        h, c = states or (torch.zeros_like(inputs[:, 0, : self.channels]),) * 2
        outputs = []
        for step in inputs.unbind(1):
            i, f, g, o = (step + hidden(h)).chunk(4, dim=1)
            c = self.recurrent_activation(f) * c + self.recurrent_activation(i) * self.activation(g)
            h = self.recurrent_activation(o) * self.activation(c)
            outputs.append(h)
        return torch.stack(outputs, dim=1), (h, c)


class DropoutConvLSTM(ConvLSTM):
    """In training, each gate sees the input and the state under dropouts of its own, the same at all steps."""

    def __init__(self, *sizes: Any, dropout: float = 0.0, recurrent_dropout: float = 0.0, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.dropout, self.recurrent_dropout = dropout, recurrent_dropout

    def maps(self, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        if not self.training:
            return super().maps(x)
        noise = F.dropout(x.new_ones(x.shape[0], 1, 4, *x.shape[2:]), self.dropout)
        inputs = by_gate(self.input, (x.unsqueeze(2) * noise).flatten(2, 3).flatten(0, 1))
        inputs = inputs.unflatten(0, (-1, x.shape[1]))
        noise = F.dropout(x.new_ones(x.shape[0], 4, self.channels, *inputs.shape[3:]), self.recurrent_dropout)
        return inputs, lambda h: by_gate(self.hidden, (h.unsqueeze(1) * noise).flatten(1, 2))


def by_gate(convolution: Any, x: Tensor) -> Tensor:
    """A convolution to the four gates, each of which has a copy of the channels of its own."""
    convolve = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[x.ndim]
    weight, bias, stride = convolution.weight, convolution.bias, convolution.stride
    return convolve(x, weight, bias, stride, convolution.padding, convolution.dilation, groups=4)
