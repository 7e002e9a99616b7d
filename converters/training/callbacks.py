"""Keras' callbacks as short classes that the training loop calls (`converters.training.local.callbacks`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from converters.errors import Unsupported
from converters.training.config import Options, named, short, snake
from converters.training.piece import Name, Piece, call

MODEL, OPTIMIZER, AVERAGE, FOLDER = Name("model"), Name("optimizer"), Name("average"), Name("config.output")
# The loop itself does what these do; the last one is its checkpoint and --resume.
BUILT_IN = ("history", "progbarlogger", "baselogger", "callback", "backupandrestore")
UP = ("acc", "auc", "precision", "recall", "score", "iou", "specificity", "sensitivity", "correlation", "similarity")
DOWN = (
    "loss",
    "error",
    "entropy",
    "mse",
    "mae",
    "mape",
    "msle",
    "divergence",
    "hinge",
    "poisson",
    "logcosh",
    "kld",
    "rmse",
)


def callback(config: Any) -> Piece | None:
    """A callback by class name and the arguments it was made with; None for what the loop does anyway.

    Raises Unsupported, with the name and the way out, for what runs the user's own code.
    """
    class_name, settings = named(config, "the callback")
    kind = snake(class_name)
    if kind in BUILT_IN:
        return None
    maker = MAKERS.get(kind)
    if maker is None:
        raise Unsupported(
            f"the callback {class_name!r:.80} is your own code, or not known here",
            "write it in PyTorch where train.py says TODO (scaffold --allow-todo), or leave it out",
        )
    options = Options(f"the callback {class_name}", settings, "verbose", "name")
    piece = maker(options)
    options.done()
    return piece


def arguments(class_name: str, settings: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """(arguments that the callback has not, those that it has)."""
    maker = MAKERS.get(snake(class_name))
    if maker is None:
        return [], []
    options = Options(f"the callback {class_name}", settings, "verbose", "name")
    maker(options)
    return options.left, options.asked


def _monitor(options: Options) -> dict[str, str]:
    monitor, mode = str(options.value("monitor", "val_loss")), str(options.value("mode", "auto"))
    return {"monitor": monitor, "mode": mode if mode in ("min", "max") else direction(monitor)}


def direction(monitor: str) -> str:
    """`max` where more is better. Raises Unsupported where the name does not tell."""
    name = monitor.removeprefix("val_").lower()
    if any(word in name for word in DOWN):
        return "min"
    if any(word in name for word in UP):
        return "max"
    raise Unsupported(f"a callback that monitors {monitor!r:.60} in mode 'auto'", "say mode='min' or mode='max'")


def early_stopping(options: Options) -> Piece:
    given = {
        **_monitor(options),
        "min_delta": abs(options.number("min_delta", 0.0)),
        "patience": options.value("patience", 0),
        "baseline": options.optional("baseline"),
        "restore_best_weights": options.flag("restore_best_weights"),
        "start_from_epoch": options.value("start_from_epoch", 0),
    }
    return Piece(call("callbacks.EarlyStopping", MODEL, **given))


def reduce_on_plateau(options: Options) -> Piece:
    """PyTorch counts epochs from another one, and its improvements are relative unless told."""
    monitored, factor = _monitor(options), options.number("factor", 0.1)
    if factor >= 1:
        raise Unsupported(f"ReduceLROnPlateau with the factor {factor}", "Keras, too, takes one below 1 only")
    given = {
        "mode": monitored["mode"],
        "factor": factor,
        "patience": max(int(options.number("patience", 10)), 1) - 1,
        "threshold": abs(options.number("min_delta", 1e-4)),
        "threshold_mode": "abs",
        "cooldown": max(int(options.number("cooldown", 0)) - 1, 0),
        "min_lr": options.number("min_lr", 0.0),
        "eps": 0.0,
    }
    scheduler = call("torch.optim.lr_scheduler.ReduceLROnPlateau", OPTIMIZER, **given)
    piece = Piece(call("callbacks.OnPlateau", scheduler, monitored["monitor"]))
    return piece.saying("ReduceLROnPlateau of Keras counts one epoch more of patience and of cooldown")


def learning_rate_scheduler(options: Options) -> Piece:
    options.value("schedule")
    piece = Piece(call("callbacks.LearningRateScheduler", OPTIMIZER, Name("schedule")))
    return piece.saying("schedule(epoch, rate) is your own function: copy it here")


def learning_rates(options: Options) -> Piece:
    """What the function of a LearningRateScheduler gave for each epoch, where its script was run."""
    rates = options.value("rates")
    if not isinstance(rates, (list, tuple)) or not rates or not all(isinstance(rate, float) for rate in rates):
        raise Unsupported("LearningRates without a list of rates", "give one number for each epoch")
    return Piece(call("callbacks.LearningRates", OPTIMIZER, tuple(map(short, rates))))


def model_checkpoint(options: Options) -> Piece:
    path, frequency = str(options.value("filepath", "checkpoint")), options.value("save_freq", "epoch")
    options.value("save_weights_only")
    best = options.flag("save_best_only")
    monitored = _monitor(options) if best else {}
    if not best:
        options.value("monitor"), options.value("mode")
    given: dict[str, Any] = {"save_best_only": best, "every": frequency if isinstance(frequency, int) else None}
    given["best"] = options.optional("initial_value_threshold")
    return Piece(call("callbacks.ModelCheckpoint", MODEL, FOLDER, _as_torch(path), **monitored, **given))


def _as_torch(path: str) -> str:
    """A Keras file name as one of PyTorch."""
    for suffix in (".weights.h5", ".keras", ".h5", ".hdf5", ".ckpt"):
        if path.endswith(suffix):
            return path.removesuffix(suffix) + ".safetensors"
    return path if PurePosixPath(path).suffix == ".safetensors" else f"{path}.safetensors"


def csv_logger(options: Options) -> Piece:
    given = {"separator": options.value("separator", ","), "append": options.flag("append")}
    return Piece(call("callbacks.CSVLogger", FOLDER, str(options.value("filename", "log.csv")), **given))


def tensorboard(options: Options) -> Piece:
    folder = str(options.value("log_dir", "logs"))
    left = ("histogram_freq", "write_graph", "write_images", "update_freq", "profile_batch", "embeddings_freq")
    asked = [key for key in left if options.value(key) not in (None, 0, "epoch", True, False)]
    options.value("write_steps_per_second"), options.value("embeddings_metadata")
    piece = Piece(call("callbacks.TensorBoard", FOLDER, folder))
    return piece.saying(f"left out: {', '.join(asked)}") if asked else piece


def swap_ema_weights(options: Options) -> Piece:
    return Piece(call("callbacks.SwapEMAWeights", AVERAGE, on_epoch=options.flag("swap_on_epoch")))


MAKERS: dict[str, Callable[[Options], Piece]] = {
    "earlystopping": early_stopping,
    "reducelronplateau": reduce_on_plateau,
    "learningratescheduler": learning_rate_scheduler,
    "learningrates": learning_rates,
    "modelcheckpoint": model_checkpoint,
    "csvlogger": csv_logger,
    "tensorboard": tensorboard,
    "terminateonnan": lambda options: Piece(call("callbacks.TerminateOnNaN", raise_error=options.flag("raise_error"))),
    "swapemaweights": swap_ema_weights,
}
