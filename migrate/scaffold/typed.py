"""What a user types by its Keras name: what is misspelt is told with the names that there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import chain

from converters.errors import UserError
from converters.training import callbacks
from converters.training.config import snake
from converters.training.losses import ALIASES as LOSS_ALIASES
from converters.training.metrics import ALIASES as METRIC_ALIASES
from migrate.scaffold.plan import Options

LOSSES = (
    "MeanSquaredError MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredLogarithmicError Huber LogCosh Poisson "
    "Hinge SquaredHinge CategoricalHinge KLDivergence CosineSimilarity BinaryCrossentropy BinaryFocalCrossentropy "
    "CategoricalCrossentropy CategoricalFocalCrossentropy SparseCategoricalCrossentropy "
    "CategoricalGeneralizedCrossEntropy Dice Tversky Circle CTC"
).split()
OPTIMIZERS = (
    "SGD Adam AdamW RMSprop Adagrad Adadelta Adamax Nadam Ftrl Lion Lamb ScheduleFreeAdamW Adafactor Muon"
).split()
METRICS = (
    "Accuracy BinaryAccuracy CategoricalAccuracy SparseCategoricalAccuracy TopKCategoricalAccuracy "
    "SparseTopKCategoricalAccuracy MeanSquaredError MeanAbsoluteError RootMeanSquaredError LogCoshError "
    "CosineSimilarity MeanAbsolutePercentageError MeanSquaredLogarithmicError KLDivergence Poisson Hinge SquaredHinge "
    "CategoricalHinge BinaryCrossentropy CategoricalCrossentropy SparseCategoricalCrossentropy Huber "
    "PearsonCorrelation ConcordanceCorrelation TruePositives FalsePositives TrueNegatives FalseNegatives Precision "
    "Recall PrecisionAtRecall RecallAtPrecision SensitivityAtSpecificity SpecificityAtSensitivity AUC F1Score "
    "FBetaScore R2Score IoU MeanIoU OneHotIoU OneHotMeanIoU BinaryIoU"
).split()
CALLBACKS = (
    "EarlyStopping ReduceLROnPlateau LearningRateScheduler LearningRates ModelCheckpoint CSVLogger TensorBoard "
    "TerminateOnNaN SwapEMAWeights"
).split()
SHORT = ("acc", "ce", "crossentropy")  # names that stand for one class or another
OWN = "write it in PyTorch where train.py says TODO (scaffold --allow-todo)"


def check_typed(options: Options) -> None:
    """Raises UserError for a name or an argument that nothing has; with `allow_todo` it may be the user's own."""
    if options.optimizer is not None:
        _check_name("--optimizer", options.optimizer, OPTIMIZERS, ())
    if options.allow_todo:
        return
    for name in options.loss.values() if isinstance(options.loss, Mapping) else filter(None, [options.loss]):
        _check_name("--loss", name, LOSSES, (*LOSS_ALIASES, *SHORT), OWN)
    measured = options.metrics or ()
    for name in chain.from_iterable(measured.values()) if isinstance(measured, Mapping) else measured:
        _check_name("--metrics", name, METRICS, (*METRIC_ALIASES, *SHORT), OWN)
    for stated in options.callbacks:
        if "module" not in stated:  # which an object of a script has
            _check_name("--callback", stated["class_name"], CALLBACKS, callbacks.BUILT_IN, f"{OWN}, or leave it out")
            _check_arguments(stated["class_name"], stated.get("config", {}))


def check_outputs(options: Options, names: Sequence[str]) -> None:
    """Raises UserError for a loss or metric of an output that the model does not have."""
    for option, stated in (("--loss", options.loss), ("--metrics", options.metrics)):
        for name in stated if isinstance(stated, Mapping) else ():
            if name not in names:
                raise UserError(
                    f"{option} {name!r:.80}: the model has no output of that name",
                    expected=", ".join(names),
                    found=name[:80],
                    remedy=f"write one of these, as in {option} {names[0]}=mse",
                )


def per_output(option: str, stated: Sequence[str]) -> str | dict[str, str] | None:
    """`mse`, or `kind=mse` once for each output, as a name or a table; None where nothing is stated."""
    if not any("=" in one for one in stated) and len(stated) < 2:
        return stated[0] if stated else None
    pairs = [one.partition("=") for one in stated]
    names = [name.strip() for name, _, _ in pairs]
    if not all(name and value for name, _, value in pairs) or len(set(names)) < len(names):
        raise UserError(
            f"{option} {' '.join(stated)!r:.100} cannot be read",
            expected=f"one for all outputs, or one for each: {option} kind=NAME {option} age=NAME",
            found=" ".join(stated)[:100],
            remedy="write the name of the output before =",
        )
    return {name: value.strip() for name, (_, _, value) in zip(names, pairs, strict=True)}


def _check_name(option: str, name: str, known: Sequence[str], others: Sequence[str], remedy: str = "") -> None:
    if snake(name) in {*map(snake, known), *others}:
        return
    raise UserError(
        f"{option} {name!r:.80}: nothing of that name is known here",
        expected=f"{', '.join(known)}, or the same in snake case",
        found=name[:80],
        remedy="; else ".join(filter(None, (nearest(name, known), remedy))) or "write one of these",
    )


def _check_arguments(class_name: str, config: dict[str, object]) -> None:
    unknown, known = callbacks.arguments(class_name, config)
    if unknown:
        raise UserError(
            f"--callback {class_name} has no argument {unknown[0]!r:.80}",
            expected=", ".join(known),
            found=f"{unknown[0]}={config[unknown[0]]!r:.80}",
            remedy=nearest(unknown[0], known) or "leave it out",
        )


def nearest(name: str, known: Sequence[str]) -> str:
    """`write 'patience'`; nothing where no name is near."""
    spelt = {snake(one): one for one in known}
    near = get_close_matches(snake(name), spelt, 1)
    return f"write {spelt[near[0]]!r}" if near else ""
