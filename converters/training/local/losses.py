"""Losses as Keras computes them: `loss(outputs, targets, weights=None, mask=None)`.

Each loss gives one value per sample (or per position) along `axis`, the axis of classes or features. Weights multiply
them; the sum is divided by the number of values, whatever the weights are. Values where `mask` is False do not count.
"""

import math

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


def class_weights(targets: Tensor, table: dict[int, float]) -> Tensor:
    """The weight of each sample by its class, which is a number or one-hot; a class that is not listed counts 1."""
    classes = targets.argmax(-1) if targets.ndim > 1 and targets.shape[-1] > 1 else targets.flatten()
    weights = torch.ones(max(int(classes.max()), *table) + 1, device=targets.device)
    for number, weight in table.items():
        weights[number] = weight
    return weights[classes.long()]


class Loss(nn.Module):
    """The reduction that all losses share."""

    def __init__(self, axis: int = -1, reduction: str = "mean") -> None:
        super().__init__()
        self.axis, self.reduction = axis, reduction

    def forward(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        values = self.values(outputs, targets)
        if isinstance(values, tuple):
            values, counts = values
            mask = counts if mask is None else mask & counts
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


class MeanAbsolutePercentageError(Elementwise):
    """In percent of the target, which counts as at least 1e-7."""

    def elements(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 100 * ((targets - outputs) / targets.abs().clamp(min=EPSILON)).abs()


class MeanSquaredLogarithmicError(Elementwise):
    """Of log(x + 1), where x counts as at least 1e-7."""

    def elements(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs.clamp(min=EPSILON).log1p() - targets.clamp(min=EPSILON).log1p()).square()


class LogCosh(Elementwise):
    """log(cosh(x)) of the difference."""

    def elements(self, outputs: Tensor, targets: Tensor) -> Tensor:
        difference = outputs - targets
        return difference + F.softplus(-2 * difference) - math.log(2)


class Poisson(Elementwise):
    def elements(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs - targets * (outputs + EPSILON).log()


class Hinge(Elementwise):
    """Targets are -1 and 1; where all of them are 0 and 1, they are taken for -1 and 1."""

    def __init__(self, squared: bool = False, axis: int = -1, reduction: str = "mean") -> None:
        super().__init__(axis, reduction)
        self.squared = squared

    def elements(self, outputs: Tensor, targets: Tensor) -> Tensor:
        binary = ((targets == 0) | (targets == 1)).all()
        margin = (1 - torch.where(binary, 2 * targets - 1, targets) * outputs).clamp(min=0)
        return margin.square() if self.squared else margin


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


class CategoricalHinge(Loss):
    """How far the best wrong class is above the right one, plus 1. Targets are one-hot."""

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        targets = targets.to(outputs.dtype)
        right, wrong = (targets * outputs).sum(self.axis), ((1 - targets) * outputs).amax(self.axis)
        return (wrong - right + 1).clamp(min=0)


class KLDivergence(Loss):
    """Of probabilities, which are clipped to [1e-7, 1]."""

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        p, q = targets.to(outputs.dtype).clamp(EPSILON, 1), outputs.clamp(EPSILON, 1)
        return (p * (p / q).log()).sum(self.axis)


class CosineSimilarity(Loss):
    """-1 for vectors of one direction."""

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        outputs, targets = aligned(outputs, targets.to(outputs.dtype))
        return -(unit(outputs, self.axis) * unit(targets, self.axis)).sum(self.axis)


def unit(x: Tensor, axis: int) -> Tensor:
    """Vectors of length 1; one that is shorter than 1e-6 is divided by that."""
    return x * x.square().sum(axis, keepdim=True).clamp(min=1e-12).rsqrt()


class BinaryFocalCrossentropy(Elementwise):
    """Crossentropy that counts less where the model is right. `alpha`: the weight of class 1, none for no weights."""

    def __init__(
        self,
        logits: bool = False,
        label_smoothing: float = 0.0,
        gamma: float = 2.0,
        alpha: float | None = None,
        axis: int = -1,
        reduction: str = "mean",
    ) -> None:
        super().__init__(axis, reduction)
        self.logits, self.label_smoothing, self.gamma, self.alpha = logits, label_smoothing, gamma, alpha

    def elements(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.label_smoothing:
            targets = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        p = outputs.sigmoid() if self.logits else outputs
        if self.logits:
            loss = F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        else:
            clipped = p.clamp(EPSILON, 1 - EPSILON)
            loss = -(targets * clipped.log() + (1 - targets) * (1 - clipped).log())
        loss = (1 - targets * p - (1 - targets) * (1 - p)) ** self.gamma * loss
        if self.alpha is None:
            return loss
        return (targets * self.alpha + (1 - targets) * (1 - self.alpha)) * loss


class CategoricalFocalCrossentropy(Loss):
    """Crossentropy of clipped probabilities that counts less where the model is right. Targets are one-hot."""

    def __init__(
        self,
        logits: bool = False,
        label_smoothing: float = 0.0,
        gamma: float = 2.0,
        alpha: float = 0.25,
        axis: int = -1,
        reduction: str = "mean",
    ) -> None:
        super().__init__(axis, reduction)
        self.logits, self.label_smoothing, self.gamma, self.alpha = logits, label_smoothing, gamma, alpha

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        targets = targets.to(outputs.dtype)
        if self.label_smoothing:
            targets = targets * (1 - self.label_smoothing) + self.label_smoothing / targets.shape[self.axis]
        p = outputs.softmax(self.axis) if self.logits else outputs
        p = (p / p.sum(self.axis, keepdim=True)).clamp(EPSILON, 1 - EPSILON)
        return (-self.alpha * (1 - p) ** self.gamma * targets * p.log()).sum(self.axis)


class CategoricalGeneralizedCrossEntropy(Loss):
    """(1 - p^q) / q of the probability of the right class. Targets are numbers of classes."""

    def __init__(self, q: float = 0.5, axis: int = -1, reduction: str = "mean") -> None:
        super().__init__(axis, reduction)
        self.q = q

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        p = outputs.movedim(self.axis, -1).gather(-1, targets.long().unsqueeze(-1)).squeeze(-1)
        return (1 - p**self.q) / self.q


class Tversky(Loss):
    """1 - overlap, over the whole batch as one (`dims=None`) or over some axes. `alpha` weighs what is missed, `beta`
    what is too much; one half each is the Dice loss."""

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        dims: tuple[int, ...] | None = None,
        axis: int = -1,
        reduction: str = "mean",
    ) -> None:
        super().__init__(axis, reduction)
        self.alpha, self.beta, self.dims = alpha, beta, dims

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        outputs, targets = aligned(outputs, targets.to(outputs.dtype))
        both = (outputs * targets).sum(self.dims)
        missed, wrong = ((1 - outputs) * targets).sum(self.dims), (outputs * (1 - targets)).sum(self.dims)
        return 1 - both / (both + missed * self.alpha + wrong * self.beta + EPSILON)


class Dice(Loss):
    """1 - twice the overlap over the sum of both, over the whole batch as one (`dims=None`) or over some axes."""

    def __init__(self, dims: tuple[int, ...] | None = None, axis: int = -1, reduction: str = "mean") -> None:
        super().__init__(axis, reduction)
        self.dims = dims

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        outputs, targets = aligned(outputs, targets.to(outputs.dtype))
        both = (outputs * targets).sum(self.dims)
        return 1 - 2 * both / (targets.sum(self.dims) + outputs.sum(self.dims) + EPSILON)


class Circle(Loss):
    """Pulls embeddings (N, D) of length 1 of one class together and pushes others apart."""

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        axis: int = -1,
        reduction: str = "mean",
    ) -> None:
        super().__init__(axis, reduction)
        self.gamma, self.margin, self.remove_diagonal = gamma, margin, remove_diagonal

    def values(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        labels = targets.flatten()
        distance = (1 - outputs @ outputs.T).clamp(min=0)
        same = labels[:, None] == labels[None, :]
        near = same & ~torch.eye(len(labels), dtype=torch.bool, device=same.device) if self.remove_diagonal else same
        pull = -self.gamma * (self.margin + distance) * (self.margin - distance)
        push = self.gamma * (1 + self.margin - distance).clamp(min=0) * (1 - self.margin - distance)
        low = torch.tensor(-math.inf, dtype=outputs.dtype, device=outputs.device)
        values = F.softplus(torch.where(near, pull, low).logsumexp(1) + torch.where(same, low, push).logsumexp(1))
        return values, values > 0


class CTC(Loss):
    """Outputs are logits (N, T, classes), class 0 the blank; targets (N, L) end where their zeros begin."""

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        lengths = torch.full((len(outputs),), outputs.shape[1], device=outputs.device)
        scores = outputs.log_softmax(-1).transpose(0, 1)
        return F.ctc_loss(scores, targets.long(), lengths, (targets != 0).sum(-1), reduction="none")
