"""What Keras' regularizers add to the loss."""

import torch
from torch import Tensor, nn


def l1_l2(x: Tensor, l1: float = 0.0, l2: float = 0.0) -> Tensor:
    """l1 * sum |x| + l2 * sum x^2: no half, no mean."""
    total = x.new_zeros(())
    if l1:
        total = total + l1 * x.abs().sum()
    return total + l2 * x.square().sum() if l2 else total


def orthogonal(x: Tensor, factor: float = 0.01, rows: bool = True) -> Tensor:
    """How far the rows (or columns) of a matrix are from being at right angles, whatever their length."""
    x = x if rows else x.T
    x = x * x.square().sum(1, keepdim=True).clamp(min=1e-12).rsqrt()
    count = x.shape[0]
    products = (x @ x.T) * (1 - torch.eye(count, dtype=x.dtype, device=x.device))
    return factor * 0.5 * products.abs().sum() / (count * (count - 1) / 2)


class ActivityPenalty:
    """Adds up the penalty of a module's output while the model trains; `take()` gives it and begins anew."""

    def __init__(self, module: nn.Module, l1: float = 0.0, l2: float = 0.0, per_sample: bool = True) -> None:
        self.l1, self.l2, self.per_sample, self.total = l1, l2, per_sample, torch.zeros(())
        module.register_forward_hook(self.watch)

    def watch(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        penalty = l1_l2(output.clone(), self.l1, self.l2)  # an activation in place overwrites the output
        self.total = self.total.to(penalty) + (penalty / len(output) if self.per_sample else penalty)

    def take(self) -> Tensor:
        total, self.total = self.total, torch.zeros(())
        return total
