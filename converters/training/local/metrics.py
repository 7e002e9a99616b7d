"""Metrics as Keras computes them: `update(outputs, targets, weights=None)`, `compute()`, `reset()`.

They are torchmetrics' kind of metrics, so that several processes add up their counts.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchmetrics import Metric

EPSILON = 1e-7


def aligned(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) beside (N, 1): both get the shape (N, 1). PyTorch would make (N, N) of them."""
    if a.ndim == b.ndim + 1 and a.shape[-1] == 1:
        return (a, b[:, None]) if b.ndim == 1 else (a[..., 0], b)
    if b.ndim == a.ndim + 1 and b.shape[-1] == 1:
        return (a[:, None], b) if a.ndim == 1 else (a, b[..., 0])
    return a, b


def ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b, and 0 where b is 0."""
    return torch.where(b == 0, 0.0, a / torch.where(b == 0, 1.0, b))


class Mean(Metric):
    """The mean over samples of what `values` gives; weights count in the sum and in the number of samples."""

    total: Tensor
    count: Tensor

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> None:
        values = self.values(outputs, targets)
        if weights is None:
            self.total += values.flatten(1).mean(1).sum() if values.ndim > 1 else values.sum()
            self.count += values.shape[0] if values.ndim else 1
            return
        values, weights = aligned(values, weights.to(values.dtype))
        rank = weights.ndim
        values = values.flatten(rank).mean(-1) if values.ndim > rank else values
        weights = weights.expand_as(values)
        self.total += (values * weights).flatten(1).mean(1).sum() if values.ndim > 1 else (values * weights).sum()
        self.count += weights.flatten(1).mean(1).sum() if rank > 1 else weights.sum()

    def compute(self) -> Tensor:
        return ratio(self.total, self.count)

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """One number a sample, or several, over which the mean is taken first."""
        raise NotImplementedError


class MeanOf(Mean):
    """The mean of a loss."""

    def __init__(self, loss: nn.Module, sign: int = 1) -> None:
        super().__init__()
        self.loss, self.sign = loss, sign

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.sign * self.loss(outputs, targets)


class RootMeanSquaredError(Mean):
    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        outputs, targets = aligned(outputs, targets.to(outputs.dtype))
        return (outputs - targets).square()

    def compute(self) -> Tensor:
        return super().compute().sqrt()


class Accuracy(Mean):
    """How many outputs equal their target; with a threshold, how many are on its right side."""

    def __init__(self, threshold: float | None = None, axis: int = -1) -> None:
        super().__init__(axis)
        self.threshold = threshold

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        outputs, targets = aligned(outputs, targets)
        found = outputs if self.threshold is None else outputs > self.threshold
        return (found.to(outputs.dtype) == targets.to(outputs.dtype)).to(outputs.dtype)


class CategoricalAccuracy(Mean):
    """How often the largest output is the right one. Targets are one-hot, or with `sparse` numbers of classes."""

    def __init__(self, sparse: bool = False, axis: int = -1) -> None:
        super().__init__(axis)
        self.sparse = sparse

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if not self.sparse:
            targets = targets.argmax(self.axis)
        elif targets.ndim == outputs.ndim:
            targets = targets.squeeze(self.axis)
        return (outputs.argmax(self.axis) == targets).to(outputs.dtype)


class TopKCategoricalAccuracy(Mean):
    """How often the right class is among the k largest outputs; one as large as the last of these counts."""

    def __init__(self, k: int = 5, sparse: bool = False, axis: int = -1) -> None:
        super().__init__(axis)
        self.k, self.sparse = k, sparse

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        outputs = outputs.movedim(self.axis, -1)
        if not self.sparse:
            targets = targets.argmax(self.axis)
        elif targets.ndim == outputs.ndim:
            targets = targets.squeeze(self.axis)
        right = outputs.gather(-1, targets.long().unsqueeze(-1))
        return ((outputs > right).sum(-1) < self.k).to(outputs.dtype)


class PearsonCorrelation(Mean):
    """Within each sample, then the mean over samples."""

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        outputs, targets = aligned(outputs, targets.to(outputs.dtype))
        x, y = (v - v.mean(self.axis, keepdim=True) for v in (outputs, targets))
        x, y = (v / v.square().mean(self.axis, keepdim=True).sqrt() for v in (x, y))
        return (x * y).mean(self.axis)


class ConcordanceCorrelation(Mean):
    """Within each sample, then the mean over samples."""

    def values(self, outputs: Tensor, targets: Tensor) -> Tensor:
        x, y = aligned(outputs, targets.to(outputs.dtype))
        mean_x, mean_y = x.mean(self.axis, keepdim=True), y.mean(self.axis, keepdim=True)
        spread = (x - mean_x).square().mean(self.axis, keepdim=True) + (y - mean_y).square().mean(
            self.axis, keepdim=True
        )
        covariance = (y - mean_x) * (x - mean_x)  # Keras takes the mean of the outputs from both
        return (2 * covariance / (spread + (mean_y - mean_x).square() + EPSILON)).mean(self.axis)


class Confusion(Metric):
    """True and false positives and negatives above each of some thresholds, over all entries or label by label."""

    tp: Tensor
    fp: Tensor
    tn: Tensor
    fn: Tensor

    def __init__(
        self,
        thresholds: Sequence[float] = (0.5,),
        top_k: int | None = None,
        class_id: int | None = None,
        labels: int | None = None,
        scores: str = "as they are",
    ) -> None:
        super().__init__()
        self.thresholds, self.top_k, self.class_id = list(thresholds), top_k, class_id
        self.labels, self.scores = labels, scores
        shape = (len(self.thresholds),) if labels is None else (len(self.thresholds), labels)
        for name in ("tp", "fp", "tn", "fn"):
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> None:
        outputs, targets = aligned(outputs, targets)
        if self.scores != "as they are":
            outputs = outputs.sigmoid() if self.scores == "logits" else outputs.clamp(0, 1)
        if self.top_k is not None:
            kept = torch.zeros_like(outputs, dtype=torch.bool).scatter(-1, outputs.topk(self.top_k).indices, True)
            outputs = torch.where(kept, outputs, -1e10)
        if self.class_id is not None:
            outputs, targets = outputs[..., self.class_id, None], targets[..., self.class_id, None]
        weights = torch.ones_like(outputs) if weights is None else self._spread(weights, outputs)
        shape = (-1,) if self.labels is None else (-1, self.labels)
        true, found, weights = (x.reshape(shape) for x in (targets.bool(), outputs, weights.double()))
        for index, threshold in enumerate(self.thresholds):
            above = found > threshold
            for counts, which in ((self.tp, true & above), (self.fp, ~true & above), (self.tn, ~true & ~above)):
                counts[index] += (weights * which).sum(0)
            self.fn[index] += (weights * (true & ~above)).sum(0)

    @staticmethod
    def _spread(weights: Tensor, outputs: Tensor) -> Tensor:
        while weights.ndim < outputs.ndim:
            weights = weights.unsqueeze(-1)
        return weights.expand_as(outputs)

    @property
    def precision(self) -> Tensor:
        return ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> Tensor:
        return ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> Tensor:
        return ratio(self.tn, self.tn + self.fp)


class Rate(Confusion):
    """One of the counts (`tp`), or `precision` or `recall`: a number, or one for each of several thresholds."""

    def __init__(
        self,
        what: str,
        thresholds: Sequence[float] = (0.5,),
        top_k: int | None = None,
        class_id: int | None = None,
    ) -> None:
        super().__init__(thresholds, top_k, class_id)
        self.what = what

    def compute(self) -> Tensor:
        found: Tensor = getattr(self, self.what)
        return found[0] if len(found) == 1 else found


class Best(Confusion):
    """The best `what` over all thresholds at which `given` is at least `value`."""

    def __init__(self, what: str, given: str, value: float, thresholds: int = 200, class_id: int | None = None) -> None:
        places = [i / (thresholds - 1) for i in range(thresholds)] if thresholds > 1 else [0.5]
        super().__init__(places, class_id=class_id, scores="clipped")
        self.what, self.given, self.value = what, given, value

    def compute(self) -> Tensor:
        what, given = getattr(self, self.what), getattr(self, self.given)
        return torch.where(given >= self.value, what, 0.0).max()


class AUC(Confusion):
    """The area under a curve through some thresholds; `curve`: ROC, PR or PRGAIN. `labels`: label by label, with
    `label_weights`."""

    def __init__(
        self,
        thresholds: int | Sequence[float] = 200,
        curve: str = "ROC",
        summation: str = "interpolation",
        labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        logits: bool = False,
    ) -> None:
        inner = [i / (thresholds - 1) for i in range(1, thresholds - 1)] if isinstance(thresholds, int) else thresholds
        super().__init__(
            [-EPSILON, *sorted(inner), 1 + EPSILON], labels=labels, scores="logits" if logits else "clipped"
        )
        self.curve, self.summation, self.label_weights = curve, summation, label_weights

    def compute(self) -> Tensor:
        parts = self._interpolated() if (self.curve, self.summation) == ("PR", "interpolation") else self._stepped()
        areas = parts.sum(0)
        if self.labels is None or self.label_weights is None:
            return areas.mean()
        weights = torch.tensor(self.label_weights, dtype=areas.dtype, device=areas.device)
        return (areas * weights).sum() / weights.sum()

    def _stepped(self) -> Tensor:
        x, y = self._axes()
        heights = {"interpolation": (y[:-1] + y[1:]) / 2, "minoring": torch.minimum(y[:-1], y[1:])}
        return (x[:-1] - x[1:]) * heights.get(self.summation, torch.maximum(y[:-1], y[1:]))

    def _axes(self) -> tuple[Tensor, Tensor]:
        if self.curve == "ROC":
            return ratio(self.fp, self.fp + self.tn), self.recall
        if self.curve == "PR":
            return self.recall, self.precision
        scale = ratio(self.tp + self.fn, self.tn + self.fp)
        recall, precision = 1 - scale * ratio(self.fn, self.tp), 1 - scale * ratio(self.fp, self.tp)
        none = self.tp == 0
        return torch.where(none, 0.0, recall).clamp(min=0), torch.where(none, 1.0, precision)

    def _interpolated(self) -> Tensor:
        """Between two thresholds the true positives grow in a line with all positives, which the precision does not."""
        tp, p = self.tp, self.tp + self.fp
        slope = ratio(tp[:-1] - tp[1:], (p[:-1] - p[1:]).clamp(min=0))
        both = (p[:-1] > 0) & (p[1:] > 0)
        growth = torch.where(both, ratio(p[:-1], p[1:].clamp(min=0)), 1.0)
        intercept = tp[1:] - slope * p[1:]
        area = slope * (tp[:-1] - tp[1:] + intercept * growth.log())
        return ratio(area, (tp[1:] + self.fn[1:]).clamp(min=0))


class FBetaScore(Metric):
    """Of the largest output of each sample, or of those above a threshold. Targets are one-hot (N, classes)."""

    tp: Tensor
    fp: Tensor
    fn: Tensor

    def __init__(
        self, classes: int, average: str | None = None, beta: float = 1.0, threshold: float | None = None
    ) -> None:
        super().__init__()
        self.average, self.beta, self.threshold = average, beta, threshold
        for name in ("tp", "fp", "fn"):
            self.add_state(name, torch.zeros(classes, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> None:
        if self.threshold is None:
            found = (outputs >= outputs.amax(-1, keepdim=True)) & (outputs.abs() > 1e-9)
        else:
            found = outputs > self.threshold
        found, targets = found.double(), targets.double()
        share = 1 if weights is None else weights.double()[:, None]
        self.tp += (found * targets * share).sum(0)
        self.fp += (found * (1 - targets) * share).sum(0)
        self.fn += ((1 - found) * targets * share).sum(0)

    def compute(self) -> Tensor:
        tp, fp, fn = (x.sum() if self.average == "micro" else x for x in (self.tp, self.fp, self.fn))
        precision, recall = tp / (tp + fp + EPSILON), tp / (tp + fn + EPSILON)
        score = precision * recall / (self.beta**2 * precision + recall + EPSILON) * (1 + self.beta**2)
        if self.average == "weighted":
            return (score * (tp + fn) / ((tp + fn).sum() + EPSILON)).sum()
        return score if self.average is None else score.mean()


class IoU(Metric):
    """Overlap over union, the mean over some classes. `argmax` says which sides are one-hot or scores; a threshold
    makes two classes of the outputs."""

    matrix: Tensor

    def __init__(
        self,
        classes: int,
        targets: Sequence[int] | None = None,
        ignore_class: int | None = None,
        argmax: Sequence[str] = (),
        threshold: float | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__()
        self.classes, self.targets = classes, list(range(classes) if targets is None else targets)
        self.ignore_class, self.argmax, self.threshold, self.axis = ignore_class, argmax, threshold, axis
        self.add_state("matrix", torch.zeros((classes, classes), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> None:
        outputs = outputs.argmax(self.axis) if "outputs" in self.argmax else outputs
        targets = targets.argmax(self.axis) if "targets" in self.argmax else targets
        outputs = outputs if self.threshold is None else outputs >= self.threshold
        found, true = outputs.flatten().long(), targets.flatten().long()
        counts = torch.ones_like(true) if weights is None else weights.flatten().long().expand_as(true)
        inside = (true >= 0) & (true < self.classes) & (found >= 0) & (found < self.classes)
        if self.ignore_class is not None:
            inside &= true != self.ignore_class
        places = torch.where(inside, true * self.classes + found, 0)
        counts = torch.where(inside, counts, 0).double()
        self.matrix += torch.zeros_like(self.matrix).flatten().index_add(0, places, counts).view_as(self.matrix)

    def compute(self) -> Tensor:
        both = self.matrix.diag()
        union = self.matrix.sum(0) + self.matrix.sum(1) - both
        both, union = both[self.targets], union[self.targets]
        there = union > 1e-9
        return torch.where(there, both / (union + EPSILON), 0.0).sum() / (there.sum() + EPSILON)


class R2Score(Metric):
    """1 - residual over variance, for each column of (N, columns), then `average`d: uniform, variance or None."""

    total: Tensor
    squares: Tensor
    residual: Tensor
    count: Tensor
    samples: Tensor

    def __init__(self, columns: int, average: str | None = "uniform", regressors: int = 0) -> None:
        super().__init__()
        self.average, self.regressors = average, regressors
        for name in ("total", "squares", "residual", "count"):
            self.add_state(name, torch.zeros(columns, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("samples", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> None:
        outputs, targets = aligned(outputs.double(), targets.double())
        share = torch.ones_like(targets)
        if weights is not None:
            share = (weights[:, None] if weights.ndim == 1 else weights).double().expand_as(targets)
        self.total += (targets * share).sum(0)
        self.squares += (targets.square() * share).sum(0)
        self.residual += ((targets - outputs).square() * share).sum(0)
        self.count += share.sum(0)
        self.samples += targets.numel()

    def compute(self) -> Tensor:
        variance = self.squares - self.total**2 / self.count
        score = 1 - self.residual / variance
        score = torch.where(score.isinf(), 0.0, score)
        if self.average == "uniform":
            score = score.mean()
        elif self.average == "variance":
            score = (variance * score).sum() / variance.sum()
        if 0 < self.regressors < self.samples - 1:
            score = 1 - (1 - score) * (self.samples - 1) / (self.samples - self.regressors - 1)
        return score
