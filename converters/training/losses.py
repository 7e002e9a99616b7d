"""Keras' losses as PyTorch's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from converters.errors import Unsupported
from converters.training.config import DAMAGED, Options, named, refuse_custom, snake
from converters.training.piece import Piece, call

On = Literal["logits", "outputs"]
REDUCTIONS = {"sum_over_batch_size": "mean", "mean": "mean", "auto": "mean", "sum": "sum", "none": "none"}
REDUCTIONS |= {None: "none", "mean_with_sample_weight": "mean_with_sample_weight"}  # type: ignore[dict-item]


@dataclass(frozen=True)
class Output:
    """One output of the model, as a loss or metric sees it.

    `shape`: of the PyTorch tensor, the batch first; `axis`: where Keras' last axis (classes, features) lies in it.
    `activation`: `softmax` or `sigmoid` where the model ends in it and `model.logits(x)` gives what comes before.
    `masked`: losses and metrics are called with `mask=` as well, True where a position counts.
    """

    shape: tuple[int | None, ...]
    axis: int = -1
    activation: Literal["", "softmax", "sigmoid"] = ""
    name: str = ""
    masked: bool = False

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
    on: On = "outputs"
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
        """Whether torch's own loss can be used: no weights, no mask, the mean or the sum of everything."""
        return not self.weighted and not self.output.masked and self.reduction in ("mean", "sum")

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
    if output.masked and name in WHOLE:
        raise Unsupported(f"the loss {class_name} of an output with a mask", "take the mask out of the model")
    options = Options(f"the loss {class_name}", settings, "name", "dtype", "fn")
    reduction = options.value("reduction", "sum_over_batch_size")
    if reduction not in REDUCTIONS:
        raise Unsupported(f"the loss {class_name} has the unknown reduction {reduction!r:.40}", "use one of Keras'")
    made = maker(options, Context(output, REDUCTIONS[reduction], weighted, exact))
    options.done()
    return made


def _of(context: Context, target: str, *, on: On = "outputs", targets: str = "values", **options: Any) -> Loss:
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


def local(name: str, targets: str = "values", **fixed: Any) -> Maker:
    """A loss that PyTorch does not have."""
    return lambda options, context: _of(context, name, targets=targets, **fixed)


def huber(options: Options, context: Context) -> Loss:
    stated = options.optional("delta")
    delta = 1.0 if stated is None else stated
    plain = context.plain and context.reduction == "mean"
    made = Loss(Piece(call("nn.HuberLoss", delta=delta))) if plain else _of(context, "Huber", delta=delta)
    if stated is None:
        made = replace(made, piece=made.piece.saying("Keras does not save delta; it, too, goes on with 1"))
    return made


def cosine_similarity(options: Options, context: Context) -> Loss:
    _last_axis(options)
    return _of(context, "CosineSimilarity")


def binary_crossentropy(options: Options, context: Context) -> Loss:
    logits, on = _logits(options, context, "sigmoid")
    smoothing = options.number("label_smoothing", 0.0)
    _last_axis(options)
    if logits and context.plain and context.reduction == "mean" and not smoothing:
        return Loss(Piece(call("nn.BCEWithLogitsLoss")), on)
    return _of(context, "BinaryCrossentropy", on=on, logits=logits, label_smoothing=smoothing)


def binary_focal(options: Options, context: Context) -> Loss:
    logits, on = _logits(options, context, "sigmoid")
    smoothing, gamma = options.number("label_smoothing", 0.0), options.number("gamma", 2.0)
    alpha = options.number("alpha", 0.25)
    chosen = {"alpha": alpha} if options.flag("apply_class_balancing") else {}
    _last_axis(options)
    given: dict[str, Any] = {"logits": logits, "label_smoothing": smoothing, "gamma": gamma, **chosen}
    return _of(context, "BinaryFocalCrossentropy", on=on, **given)


def categorical_focal(options: Options, context: Context) -> Loss:
    logits = options.flag("from_logits")
    smoothing, gamma = options.number("label_smoothing", 0.0), options.number("gamma", 2.0)
    alpha = options.value("alpha", 0.25)
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)):
        raise Unsupported("CategoricalFocalCrossentropy with one alpha per class", "write the loss in PyTorch")
    _last_axis(options)
    given: dict[str, Any] = {"logits": logits, "label_smoothing": smoothing, "gamma": gamma, "alpha": alpha}
    return _of(context, "CategoricalFocalCrossentropy", **given)


def categorical_crossentropy(options: Options, context: Context) -> Loss:
    logits, on = _logits(options, context, "softmax")
    smoothing = options.number("label_smoothing", 0.0)
    _last_axis(options)
    if logits and context.plain and _class_axis_is_second(context.output):
        piece = Piece(call("nn.CrossEntropyLoss", label_smoothing=smoothing, reduction=context.reduction))
        return Loss(piece, on)
    return _of(context, "CategoricalCrossentropy", on=on, logits=logits, label_smoothing=smoothing)


def sparse_categorical_crossentropy(options: Options, context: Context) -> Loss:
    logits, on = _logits(options, context, "softmax")
    ignored = options.value("ignore_class")
    _last_axis(options)
    if logits and context.plain and _class_axis_is_second(context.output):
        ignore = {} if ignored is None else {"ignore_index": ignored}
        piece = Piece(call("nn.CrossEntropyLoss", **ignore, reduction=context.reduction))
        return Loss(piece, on, "classes")
    given = {"logits": logits, "ignore_class": ignored}
    return _of(context, "SparseCategoricalCrossentropy", on=on, targets="classes", **given)


def tversky(options: Options, context: Context) -> Loss:
    alpha, beta = options.number("alpha", 0.5), options.number("beta", 0.5)
    return _of(context, "Tversky", alpha=alpha, beta=beta, dims=_dims(options, context))


def dice(options: Options, context: Context) -> Loss:
    return _of(context, "Dice", dims=_dims(options, context))


def _dims(options: Options, context: Context) -> tuple[int, ...] | None:
    """The axes over which an overlap is counted, in the order of PyTorch's."""
    axis = options.value("axis")
    if axis is None:
        return None
    rank = len(context.output.shape)
    axes = [axis] if isinstance(axis, int) else list(axis)
    keras = [i for i in range(rank) if i != context.output.axis % rank] + [context.output.axis % rank]
    return tuple(sorted(keras[a] for a in axes))


def circle(options: Options, context: Context) -> Loss:
    given: dict[str, Any] = {"gamma": options.number("gamma", 80.0), "margin": options.number("margin", 0.4)}
    return _of(context, "Circle", **given, remove_diagonal=options.flag("remove_diagonal", True), targets="classes")


def generalized(options: Options, context: Context) -> Loss:
    return _of(context, "CategoricalGeneralizedCrossEntropy", q=options.number("q", 0.5), targets="classes")


def _logits(options: Options, context: Context, activation: str) -> tuple[bool, On]:
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


ALIASES = {
    "mse": "meansquarederror", "mae": "meanabsoluteerror", "bce": "binarycrossentropy", "huberloss": "huber",
    "mape": "meanabsolutepercentageerror", "msle": "meansquaredlogarithmicerror", "kld": "kldivergence",
    "kullbackleiblerdivergence": "kldivergence", "cosineproximity": "cosinesimilarity",
}  # fmt: skip
WHOLE = ("ctc", "dice", "tversky", "circle")  # losses that have no value for each position
MAKERS: dict[str, Maker] = {
    "meansquarederror": plain_or("nn.MSELoss", "MeanSquaredError"),
    "meanabsoluteerror": plain_or("nn.L1Loss", "MeanAbsoluteError"),
    "meanabsolutepercentageerror": local("MeanAbsolutePercentageError"),
    "meansquaredlogarithmicerror": local("MeanSquaredLogarithmicError"),
    "huber": huber,
    "logcosh": local("LogCosh"),
    "poisson": local("Poisson"),
    "hinge": local("Hinge"),
    "squaredhinge": local("Hinge", squared=True),
    "categoricalhinge": local("CategoricalHinge"),
    "kldivergence": local("KLDivergence"),
    "cosinesimilarity": cosine_similarity,
    "binarycrossentropy": binary_crossentropy,
    "binaryfocalcrossentropy": binary_focal,
    "categoricalcrossentropy": categorical_crossentropy,
    "categoricalfocalcrossentropy": categorical_focal,
    "sparsecategoricalcrossentropy": sparse_categorical_crossentropy,
    "categoricalgeneralizedcrossentropy": generalized,
    "dice": dice,
    "tversky": tversky,
    "circle": circle,
    "ctc": local("CTC", "classes"),
}


# -- several outputs ---------------------------------------------------------------------------------------


def losses(config: Any, outputs: Sequence[Output], loss_weights: Any = None, **given: Any) -> list[Loss]:
    """The losses of all outputs, as `compile(loss=..., loss_weights=...)` states them: one for all of them, a list, or
    by the name of the output. The total is the sum of `weight * loss`; an output without one is left out."""
    stated = _per_output(config, outputs, "loss")
    weights = _per_output(loss_weights, outputs, "loss weight")
    made = []
    for output, one, weight in zip(outputs, stated, weights, strict=True):
        if weight is not None and not isinstance(weight, (int, float)):
            raise Unsupported(
                f"a loss weight is {weight!r:.80}",
                "in Keras 3 the third argument of compile is loss_weights: say metrics=",
            )
        if one is not None:
            single = loss(one, output, **given)
            made.append(replace(single, weight=1.0 if weight is None else float(weight), output=output.name))
    return made


def _per_output(stated: Any, outputs: Sequence[Output], what: str) -> list[Any]:
    if isinstance(stated, Mapping) and "class_name" not in stated:
        if unknown := stated.keys() - {output.name for output in outputs}:
            raise Unsupported(f"a {what} is stated for {sorted(unknown)!r:.80}, which is no output", DAMAGED)
        return [stated.get(output.name) for output in outputs]
    if isinstance(stated, (list, tuple)):
        if len(stated) != len(outputs):
            raise Unsupported(f"{len(stated)} {what}es are stated for {len(outputs)} outputs", DAMAGED)
        return list(stated)
    return [stated] * len(outputs)
