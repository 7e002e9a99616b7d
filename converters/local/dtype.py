"""Number types."""

import torch
from torch import Tensor, nn


class ToFloat(nn.Module):
    """Casts to the floating-point type of the model, which `.half()` and `.double()` change."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("like", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self.like.dtype)
