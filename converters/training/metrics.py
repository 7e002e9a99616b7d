"""Keras' metrics as torchmetrics' where these give the same numbers, else as short classes of our own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from converters.errors import Unsupported
from converters.training.config import DAMAGED, Options, named, refuse_custom, snake
from converters.training.losses import MAKERS as LOSSES
from converters.training.losses import Context as LossContext
from converters.training.losses import Output
from converters.training.piece import Piece, call

TORCHMETRICS = "torchmetrics.classification"
# Means of what `values` gives for each position.
MEANS = tuple(
    f"metrics.{name}"
    for name in (
        "MeanOf", "Accuracy", "CategoricalAccuracy", "TopKCategoricalAccuracy", "PearsonCorrelation",
        "ConcordanceCorrelation",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Metric:
    """A metric, called as `piece.update(on, targets)`, or `update(on, targets, weights)` if `weighted`.

    `on` and `targets` as for a `Loss`; `name`: as Keras logs it. `masked`: it obeys the mask of the output, which it
    takes as weights; Keras' counts (Precision, AUC, IoU ...) do not.
    """

    piece: Piece
    name: str
    on: Literal["logits", "outputs"] = "outputs"
    targets: Literal["classes", "values"] = "values"
    weighted: bool = False
    output: str = ""
    masked: bool = False


@dataclass(frozen=True)
class Context:
    """What one metric is made for."""

    output: Output
    weighted: bool

    @property
    def flat(self) -> bool:
        """Whether the outputs are (N, features), and torchmetrics may be used: it knows no weights."""
        return len(self.output.shape) == 2 and not self.weighted and not self.output.masked

    @property
    def axis(self) -> dict[str, int]:
        return {"axis": self.output.axis}


Made = tuple[Piece, Literal["logits", "outputs"], Literal["classes", "values"]]
Maker = Callable[[Options, Context], Made]


def metric(config: Any, output: Output, *, sparse: bool = False, weighted: bool = False) -> Metric:
    """A Keras metric for one output: a name ('accuracy'), or class_name and config.

    `sparse`: targets are numbers of classes ('accuracy' looks at them). `weighted`: it is one of
    `weighted_metrics`, and weights are in use. Raises Unsupported, with the name and the way out.
    """
    class_name, settings = named(config, "the metric")
    if snake(class_name) == "meanmetricwrapper":
        inner = metric(settings.get("fn"), output, sparse=sparse, weighted=weighted)
        return replace(inner, name=str(settings.get("name") or inner.name))
    if snake(class_name) in ("mean", "sum"):
        raise Unsupported(f"the metric {class_name} has no targets to compare with", "take it out of compile()")
    kind = ALIASES.get(snake(class_name), snake(class_name))
    if kind in ("accuracy", "acc") and isinstance(config, str):
        kind = _accuracy(output, sparse)
    elif kind in ("crossentropy", "ce"):
        kind = "binarycrossentropy" if output.features == 1 else f"{'sparse' if sparse else ''}categoricalcrossentropy"
    maker = MAKERS.get(kind)
    if maker is None:
        refuse_custom(class_name, "the metric")
    options = Options(f"the metric {class_name}", settings, "name", "dtype", "fn", "reduction")
    piece, on, targets = maker(options, Context(output, weighted))
    options.done()
    stated = settings.get("name")
    name = stated if isinstance(stated, str) else class_name
    return Metric(piece, name, on, targets, weighted, output.name, output.masked and piece.expression.target in MEANS)


def metrics(config: Any, outputs: Sequence[Output], **given: Any) -> list[Metric]:
    """Those of all outputs, as `compile(metrics=...)` states them: for all, as a list for each, or by name."""
    if config is None:
        return []
    if isinstance(config, Mapping) and "class_name" not in config:
        if unknown := config.keys() - {output.name for output in outputs}:
            raise Unsupported(f"metrics are stated for {sorted(unknown)!r:.80}, which is no output", DAMAGED)
        stated = [config.get(output.name) for output in outputs]
    elif len(outputs) > 1 and isinstance(config, (list, tuple)):
        if len(config) != len(outputs):
            raise Unsupported(f"{len(config)} metrics are stated for {len(outputs)} outputs", DAMAGED)
        stated = list(config)
    else:
        stated = [config] * len(outputs)
    lists = [one if isinstance(one, (list, tuple)) else [one] for one in stated]
    pairs = zip(outputs, lists, strict=True)
    return [metric(one, output, **given) for output, several in pairs for one in several if one is not None]


def _accuracy(output: Output, sparse: bool) -> str:
    """What Keras makes of the word 'accuracy': it looks at shapes alone."""
    if output.features == 1:
        return "binaryaccuracy"
    return "sparsecategoricalaccuracy" if sparse else "categoricalaccuracy"


# -- means -------------------------------------------------------------------------------------------------


def _own(target: str, targets: Literal["classes", "values"] = "values", /, **options: Any) -> Made:
    return Piece(call(f"metrics.{target}", **options)), "outputs", targets


def mean_of(loss: str, sign: int = 1, torchmetrics: str = "") -> Maker:
    """The mean of a loss without reduction."""

    def make(options: Options, context: Context) -> Made:
        if torchmetrics and context.flat:
            return Piece(call(f"torchmetrics.{torchmetrics}")), "outputs", "values"
        made = LOSSES[loss](options, LossContext(context.output, "none", True, True))
        return (
            replace(made.piece, expression=call("metrics.MeanOf", made.piece.expression, sign=sign)),
            made.on,
            made.targets,
        )

    return make


def accuracy(options: Options, context: Context) -> Made:
    return _own("Accuracy")


def binary_accuracy(options: Options, context: Context) -> Made:
    threshold = options.number("threshold", 0.5)
    if context.flat and context.output.activation == "sigmoid":
        return Piece(call(f"{TORCHMETRICS}.BinaryAccuracy", threshold=threshold)), "outputs", "values"
    return _own("Accuracy", threshold=threshold)


def categorical_accuracy(options: Options, context: Context) -> Made:
    return _own("CategoricalAccuracy", **context.axis)


def sparse_categorical_accuracy(options: Options, context: Context) -> Made:
    if context.flat and context.output.features:
        piece = Piece(call(f"{TORCHMETRICS}.MulticlassAccuracy", context.output.features, average="micro"))
        return piece.saying("torchmetrics takes the mean over classes unless told"), "outputs", "classes"
    return _own("CategoricalAccuracy", "classes", sparse=True, **context.axis)


def top_k(sparse: bool) -> Maker:
    def make(options: Options, context: Context) -> Made:
        k = options.value("k", 5)
        if options.flag("from_sorted_ids"):
            raise Unsupported("SparseTopKCategoricalAccuracy of sorted ids", "write the metric in PyTorch")
        targets: Literal["classes", "values"] = "classes" if sparse else "values"
        return _own("TopKCategoricalAccuracy", targets, k=k, sparse=sparse, **context.axis)

    return make


def correlation(name: str) -> Maker:
    def make(options: Options, context: Context) -> Made:
        if options.value("axis", -1) != -1:
            raise Unsupported(f"{name} along another axis than the last one", "write the metric in PyTorch")
        return _own(name, **context.axis)

    return make


# -- counts ------------------------------------------------------------------------------------------------


def rate(what: str) -> Maker:
    """Counts above one or several thresholds."""

    def make(options: Options, context: Context) -> Made:
        thresholds, k = options.value("thresholds"), options.value("top_k")
        chosen = {"top_k": k, "class_id": options.value("class_id")} if what in ("precision", "recall") else {}
        given = [thresholds] if isinstance(thresholds, (int, float)) else thresholds or [-1e10 if k else 0.5]
        return _own(
            "Rate", what=what, thresholds=tuple(given), **{key: v for key, v in chosen.items() if v is not None}
        )

    return make


def best(what: str, given: str, key: str) -> Maker:
    def make(options: Options, context: Context) -> Made:
        value, thresholds = options.number(key), options.value("num_thresholds", 200)
        return _own(
            "Best", what=what, given=given, value=value, thresholds=thresholds, class_id=options.value("class_id")
        )

    return make


def auc(options: Options, context: Context) -> Made:
    count, stated = options.value("num_thresholds", 200), options.value("thresholds")
    curve, summation = (
        str(options.value("curve", "ROC")).upper(),
        str(options.value("summation_method", "interpolation")),
    )
    several, weights = options.flag("multi_label"), _plain(options.value("label_weights"))
    columns, logits = options.value("num_labels"), options.flag("from_logits")
    if weights is not None and not several:
        raise Unsupported("AUC with label_weights but not label by label", "use multi_label=True")
    simple = (curve, summation, stated, several, logits) == ("ROC", "interpolation", None, False, False)
    if context.flat and simple and context.output.activation == "sigmoid" and context.output.features == 1:
        return Piece(call(f"{TORCHMETRICS}.BinaryAUROC", thresholds=count)), "outputs", "values"
    given = {"thresholds": count if stated is None else tuple(stated), "curve": curve, "summation": summation.lower()}
    if several:
        given |= {
            "labels": columns or context.output.features,
            "label_weights": None if weights is None else tuple(weights),
        }
    return _own("AUC", **given, logits=logits)


def _plain(value: Any) -> Any:
    """A list of numbers, which Keras may have saved as a tensor."""
    if isinstance(value, Mapping) and value.get("class_name") in ("__tensor__", "__numpy__"):
        return value.get("config", {}).get("value")
    return value


def f_score(options: Options, context: Context) -> Made:
    average, threshold = options.value("average"), options.optional("threshold")
    given = {"average": average, "beta": options.number("beta", 1.0), "threshold": threshold}
    return _own("FBetaScore", classes=_columns(context, "an F score"), **given)


def r2(options: Options, context: Context) -> Made:
    averages = {"uniform_average": "uniform", "variance_weighted_average": "variance", None: None}
    average = averages[options.value("class_aggregation", "uniform_average")]
    columns, regressors = _columns(context, "R2Score"), options.value("num_regressors", 0)
    return _own("R2Score", columns=columns, average=average, regressors=regressors)


def _columns(context: Context, what: str) -> int:
    if context.output.features is None or len(context.output.shape) != 2:
        raise Unsupported(f"{what} of an output that is not (N, columns)", "reshape the output, or take the metric out")
    return context.output.features


def iou(targets: str, outputs: str) -> Maker:
    """`sparse` sides are numbers of classes, others are scores or one-hot."""

    def make(options: Options, context: Context) -> Made:
        classes, chosen = options.value("num_classes"), options.value("target_class_ids")
        sides = {"targets": options.flag("sparse_y_true", targets == "sparse")}
        sides["outputs"] = options.flag("sparse_y_pred", outputs == "sparse")
        options.value("axis", -1)
        given = {"classes": classes, "targets": None if chosen is None else tuple(chosen)}
        given |= {"ignore_class": options.value("ignore_class")}
        return _own("IoU", **given, argmax=tuple(side for side, sparse in sides.items() if not sparse), **context.axis)

    return make


def binary_iou(options: Options, context: Context) -> Made:
    chosen, threshold = tuple(options.value("target_class_ids", (0, 1))), options.number("threshold", 0.5)
    return _own("IoU", classes=2, targets=chosen, threshold=threshold)


ALIASES = {
    "mse": "meansquarederror", "mae": "meanabsoluteerror", "mape": "meanabsolutepercentageerror",
    "msle": "meansquaredlogarithmicerror", "bce": "binarycrossentropy", "kld": "kldivergence",
    "logcosh": "logcosherror", "kullbackleiblerdivergence": "kldivergence", "rmse": "rootmeansquarederror",
    "cosineproximity": "cosinesimilarity",
}  # fmt: skip
MAKERS: dict[str, Maker] = {
    "accuracy": accuracy,
    "binaryaccuracy": binary_accuracy,
    "categoricalaccuracy": categorical_accuracy,
    "sparsecategoricalaccuracy": sparse_categorical_accuracy,
    "topkcategoricalaccuracy": top_k(False),
    "sparsetopkcategoricalaccuracy": top_k(True),
    "meansquarederror": mean_of("meansquarederror", torchmetrics="MeanSquaredError"),
    "meanabsoluteerror": mean_of("meanabsoluteerror", torchmetrics="MeanAbsoluteError"),
    "rootmeansquarederror": lambda options, context: _own("RootMeanSquaredError"),
    "logcosherror": mean_of("logcosh"),
    "cosinesimilarity": mean_of("cosinesimilarity", -1),  # the loss is the negative of it
    **{
        name: mean_of(name)
        for name in (
            "meanabsolutepercentageerror", "meansquaredlogarithmicerror", "kldivergence", "poisson", "hinge",
            "squaredhinge", "categoricalhinge", "binarycrossentropy", "categoricalcrossentropy",
            "sparsecategoricalcrossentropy", "huber",
        )
    },
    "pearsoncorrelation": correlation("PearsonCorrelation"),
    "concordancecorrelation": correlation("ConcordanceCorrelation"),
    "truepositives": rate("tp"),
    "falsepositives": rate("fp"),
    "truenegatives": rate("tn"),
    "falsenegatives": rate("fn"),
    "precision": rate("precision"),
    "recall": rate("recall"),
    "precisionatrecall": best("precision", "recall", "recall"),
    "recallatprecision": best("recall", "precision", "precision"),
    "sensitivityatspecificity": best("recall", "specificity", "specificity"),
    "specificityatsensitivity": best("specificity", "recall", "sensitivity"),
    "auc": auc,
    "f1score": f_score,
    "fbetascore": f_score,
    "r2score": r2,
    "iou": iou("sparse", "sparse"),
    "meaniou": iou("sparse", "sparse"),
    "onehotiou": iou("one-hot", "one-hot"),
    "onehotmeaniou": iou("one-hot", "one-hot"),
    "binaryiou": binary_iou,
}  # fmt: skip
