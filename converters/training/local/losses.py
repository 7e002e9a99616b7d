"""Losses as Keras computes them: `loss(outputs, targets, weights=None)`.

Each loss gives one value per sample (or per position) along `axis`, the axis of classes or features. Weights multiply
them; the sum is divided by the number of values, whatever the weights are.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-7


def aligned(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) beside (N, 1): both get the shape (N, 1). PyTorch would make (N, N) of them."""
    if a.ndim == b.ndim + 1 and a.shape[-1] == 1:
        return (a, b[:, None]) if b.ndim == 1 else (a[..., 0], b)
    if b.ndim == a.ndim + 1 and b.shape[-1] == 1:
        return (a[:, None], b) if a.ndim == 1 else (a, b[..., 0])
    return a, b


class Loss(nn.Module):
    """The reduction that all losses share."""

    def __init__(self, axis: int = -1, reduction: str = "mean") -> None:
        super().__init__()
        self.axis, self.reduction = axis, reduction

    def forward(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        values, mask = self.values(outputs, targets), None
        if isinstance(values, tuple):
            values, mask = values
        if mask is not None:
            share = mask.to(values.dtype)
            if self.reduction == "mean":  # the mean over what counts
                share = share * (mask.numel() / share.sum().clamp(min=1))
            weights = share if weights is None else torch.mul(*aligned(share, weights.to(values.dtype)))
        if weights is not None:
            values, weights = aligned(values, weights.to(values.dtype))
            values = values * weights
        return self.reduced(values, weights)

    def reduced(self, values: Tensor, weights: Tensor | None) -> Tensor:
        if self.reduction == "none" or values.ndim == 0:
            return values
        if self.reduction == "sum":
            return values.sum()
        if self.reduction == "mean_with_sample_weight" and weights is not None:
            total = weights.sum()
            return torch.where(total == 0, 0.0, values.sum() / torch.where(total == 0, 1.0, total))
        return values.sum() / max(values.numel(), 1)

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """The losses one by one; with a mask where some of them do not count."""
        raise NotImplementedError


class Elementwise(Loss):
    """Losses whose elements are averaged over the last axis."""

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        outputs, targets = aligned(outputs, targets.to(outputs.dtype))
        return self.elements(outputs, targets).mean(self.axis)

    def elements(self, outputs: Tensor, targets: Tensor) -> Tensor:
        raise NotImplementedError


class MeanSquaredError(Elementwise):
    def elements(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square()


class MeanAbsoluteError(Elementwise):
    def elements(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).abs()


class Huber(Elementwise):
    def __init__(self, delta: float = 1.0, axis: int = -1, reduction: str = "mean") -> None:
        super().__init__(axis, reduction)
        self.delta = delta

    def elements(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.huber_loss(outputs, targets, reduction="none", delta=self.delta)


class BinaryCrossentropy(Elementwise):
    """Of logits, or of probabilities that are clipped to [1e-7, 1 - 1e-7]."""

    def __init__(
        self, logits: bool = False, label_smoothing: float = 0.0, axis: int = -1, reduction: str = "mean"
    ) -> None:
        super().__init__(axis, reduction)
        self.logits, self.label_smoothing = logits, label_smoothing

    def elements(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.label_smoothing:
            targets = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        if self.logits:
            return F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        p = outputs.clamp(EPSILON, 1 - EPSILON)
        return -(targets * p.log() + (1 - targets) * (1 - p).log())


class CategoricalCrossentropy(Loss):
    """Targets are one-hot, or probabilities. Outputs that are no logits are brought to the sum 1, then clipped."""

    def __init__(
        self, logits: bool = False, label_smoothing: float = 0.0, axis: int = -1, reduction: str = "mean"
    ) -> None:
        super().__init__(axis, reduction)
        self.logits, self.label_smoothing = logits, label_smoothing

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        targets = targets.to(outputs.dtype)
        if self.label_smoothing:
            targets = targets * (1 - self.label_smoothing) + self.label_smoothing / targets.shape[self.axis]
        if self.logits:
            return -(targets * outputs.log_softmax(self.axis)).sum(self.axis)
        p = (outputs / outputs.sum(self.axis, keepdim=True)).clamp(EPSILON, 1 - EPSILON)
        return -(targets * p.log()).sum(self.axis)


class SparseCategoricalCrossentropy(Loss):
    """Targets are the numbers of the classes. The class `ignore_class` does not count."""

    def __init__(
        self, logits: bool = False, ignore_class: int | None = None, axis: int = -1, reduction: str = "mean"
    ) -> None:
        super().__init__(axis, reduction)
        self.logits, self.ignore_class = logits, ignore_class

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        outputs = outputs.movedim(self.axis, -1)
        if targets.ndim == outputs.ndim:
            targets = targets.squeeze(self.axis)
        targets = targets.long()
        logits = outputs if self.logits else outputs.clamp(EPSILON, 1 - EPSILON).log()
        if self.ignore_class is None:
            return F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="none").view(targets.shape)
        mask = targets != self.ignore_class
        safe = torch.where(mask, targets, 0)
        values = F.cross_entropy(logits.flatten(0, -2), safe.flatten(), reduction="none").view(targets.shape)
        return torch.where(mask, values, 0.0), mask
