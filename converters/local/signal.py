"""Spectra."""

import torch
from torch import Tensor


def short_time_spectrum(x: Tensor, window: Tensor, stride: int, center: bool = True) -> Tensor:
    """(..., samples) -> (..., steps, frequencies), complex. Centered windows mirror the ends of the signal."""
    length = len(window)
    if center:
        ends = x[..., 1 : length // 2 + 1].flip(-1), x[..., -1 - length // 2 : -1].flip(-1)
        x = torch.cat((ends[0], x, ends[1]), dim=-1)
    return torch.fft.rfft(x.unfold(-1, length, stride) * window)
