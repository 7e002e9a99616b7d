"""Keras' losses as PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from converters.errors import Unsupported
from converters.training.config import Options, named, refuse_custom, snake
from converters.training.piece import Piece, call

REDUCTIONS = {"sum_over_batch_size": "mean", "mean": "mean", "auto": "mean", "sum": "sum", "none": "none"}
REDUCTIONS |= {None: "none", "mean_with_sample_weight": "mean_with_sample_weight"}  # type: ignore[dict-item]


@dataclass(frozen=True)
class Output:
    """One output of the model, as a loss or metric sees it.

    `shape`: of the PyTorch tensor, the batch first; `axis`: where Keras' last axis (classes, features) lies in it.
    `activation`: `softmax` or `sigmoid` where the model ends in it and `model.logits(x)` gives what comes before.
    """

    shape: tuple[int | None, ...]
    axis: int = -1
    activation: Literal["", "softmax", "sigmoid"] = ""
    name: str = ""

    @property
    def features(self) -> int | None:
        return self.shape[self.axis]


@dataclass(frozen=True)
class Loss:
    """A loss, and what it is called with: `piece(on, targets)`, or `piece(on, targets, weights)` if `weighted`.

    `on`: `logits` or `outputs` of the model. `targets`: what they have to be, `classes` (int64 numbers of classes,
    without the axis of classes) or `values` (of the outputs' type and shape).
    """

    piece: Piece
    on: Literal["logits", "outputs"] = "outputs"
    targets: Literal["classes", "values"] = "values"
    weighted: bool = False
    weight: float = 1.0
    output: str = ""


@dataclass(frozen=True)
class Context:
    """What one loss is made for."""

    output: Output
    reduction: str
    weighted: bool
    exact: bool

    @property
    def plain(self) -> bool:
        """Whether torch's own loss can be used: no weights, the mean or the sum of everything."""
        return not self.weighted and self.reduction in ("mean", "sum")

    @property
    def common(self) -> dict[str, Any]:
        """The options of all local losses, as far as they differ from the defaults."""
        return {"axis": self.output.axis, "reduction": self.reduction}


Maker = Callable[[Options, Context], Loss]


def loss(
    config: Any,
    output: Output,
    *,
    sparse: bool = False,
    weighted: bool = False,
    exact: bool = False,
    version: tuple[int, ...] = (3,),
) -> Loss:
    """A Keras loss for one output: a name ('mse'), or class_name and config.

    `sparse`: targets are numbers of classes (for the name 'crossentropy' alone, which looks at them). `weighted`:
    class or sample weights are in use. Raises Unsupported, with the name and the way out.
    """
    class_name, settings = named(config, "the loss")
    name = ALIASES.get(snake(class_name), snake(class_name))
    if name in ("crossentropy", "ce"):
        name = "binarycrossentropy" if output.features == 1 else f"{'sparse' if sparse else ''}categoricalcrossentropy"
    maker = MAKERS.get(name)
    if maker is None:
        refuse_custom(class_name, "the loss")
    options = Options(f"the loss {class_name}", settings, "name", "dtype", "fn")
    reduction = options.value("reduction", "sum_over_batch_size")
    if reduction not in REDUCTIONS:
        raise Unsupported(f"the loss {class_name} has the unknown reduction {reduction!r:.40}", "use one of Keras'")
    made = maker(options, Context(output, REDUCTIONS[reduction], weighted, exact))
    options.done()
    return made


def _of(context: Context, target: str, *, on: str = "outputs", targets: str = "values", **options: Any) -> Loss:
    """A local loss."""
    piece = Piece(call(f"losses.{target}", **options, **context.common))
    return Loss(piece, on, targets, context.weighted)  # type: ignore[arg-type]


def plain_or(torch_name: str, local_name: str) -> Maker:
    """A loss that is torch's own where nothing is weighted."""

    def make(options: Options, context: Context) -> Loss:
        if context.plain and context.reduction == "mean":
            return Loss(Piece(call(torch_name)))
        return _of(context, local_name)

    return make


def huber(options: Options, context: Context) -> Loss:
    delta = options.number("delta", 1.0)
    if context.plain and context.reduction == "mean":
        return Loss(Piece(call("nn.HuberLoss", delta=delta)))
    return _of(context, "Huber", delta=delta)


def binary_crossentropy(options: Options, context: Context) -> Loss:
    logits, on = _logits(options, context, "sigmoid")
    smoothing = options.number("label_smoothing", 0.0)
    _last_axis(options)
    if logits and context.plain and context.reduction == "mean" and not smoothing:
        return Loss(Piece(call("nn.BCEWithLogitsLoss")), on)  # type: ignore[arg-type]
    return _of(context, "BinaryCrossentropy", on=on, logits=logits, label_smoothing=smoothing)


def categorical_crossentropy(options: Options, context: Context) -> Loss:
    logits, on = _logits(options, context, "softmax")
    smoothing = options.number("label_smoothing", 0.0)
    _last_axis(options)
    if logits and context.plain and _class_axis_is_second(context.output):
        return Loss(Piece(call("nn.CrossEntropyLoss", label_smoothing=smoothing, reduction=context.reduction)), on)  # type: ignore[arg-type]
    return _of(context, "CategoricalCrossentropy", on=on, logits=logits, label_smoothing=smoothing)


def sparse_categorical_crossentropy(options: Options, context: Context) -> Loss:
    logits, on = _logits(options, context, "softmax")
    ignored = options.value("ignore_class")
    _last_axis(options)
    if logits and context.plain and _class_axis_is_second(context.output):
        ignore = {} if ignored is None else {"ignore_index": ignored}
        piece = Piece(call("nn.CrossEntropyLoss", **ignore, reduction=context.reduction))
        return Loss(piece, on, "classes")  # type: ignore[arg-type]
    return _of(context, "SparseCategoricalCrossentropy", on=on, targets="classes", logits=logits, ignore_class=ignored)


def _logits(options: Options, context: Context, activation: str) -> tuple[bool, str]:
    """Whether the loss is one of logits, and what it gets: Keras, too, goes behind a final softmax or sigmoid."""
    stated = options.flag("from_logits")
    if context.output.activation == activation:
        return True, "logits"
    return stated, "outputs"


def _last_axis(options: Options) -> None:
    if options.value("axis", -1) != -1:
        raise Unsupported("a loss along another axis than the last one", "transpose the output to put classes last")


def _class_axis_is_second(output: Output) -> bool:
    return output.axis % len(output.shape) == 1


ALIASES = {"mse": "meansquarederror", "mae": "meanabsoluteerror", "bce": "binarycrossentropy", "huberloss": "huber"}
MAKERS: dict[str, Maker] = {
    "meansquarederror": plain_or("nn.MSELoss", "MeanSquaredError"),
    "meanabsoluteerror": plain_or("nn.L1Loss", "MeanAbsoluteError"),
    "huber": huber,
    "binarycrossentropy": binary_crossentropy,
    "categoricalcrossentropy": categorical_crossentropy,
    "sparsecategoricalcrossentropy": sparse_categorical_crossentropy,
}
