"""Callbacks as Keras runs them.

Epochs and batches count from 0. Training stops after the epoch in which one of them has set `stop`. The files that they
write lie in the folder of the run.
"""

import copy
import csv
import math
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from safetensors.torch import save_file
from torch import nn
from torch.optim import Optimizer

Logs = dict[str, float]
FIRST = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"  # the process that writes files


class Callback:
    """What does nothing; a callback changes what it needs."""

    kept: tuple[str, ...] = ()  # the attributes that a checkpoint holds
    stop = False

    def epoch_begin(self, epoch: int) -> None:
        """Before the first batch of an epoch."""

    def batch_end(self, batch: int, logs: Logs) -> None:
        """After an update; `logs["loss"]` is the mean of the epoch so far, as in Keras."""

    def validation_begin(self) -> None:
        """Before the validation of an epoch."""

    def validation_end(self) -> None:
        """After it."""

    def epoch_end(self, epoch: int, logs: Logs) -> None:
        """After the validation; `logs` holds the means of the epoch, those of validation as `val_...`."""

    def end(self) -> None:
        """After the last epoch."""

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("stop", *self.kept)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


class Callbacks:
    """Several callbacks as one, in their order: what one adds to the logs, the next ones see."""

    def __init__(self, callbacks: list[Any]) -> None:
        self.callbacks = callbacks

    @property
    def stop(self) -> bool:
        return any(callback.stop for callback in self.callbacks)

    def epoch_begin(self, epoch: int) -> None:
        for callback in self.callbacks:
            callback.epoch_begin(epoch)

    def batch_end(self, batch: int, logs: Logs) -> None:
        for callback in self.callbacks:
            callback.batch_end(batch, logs)

    def validation_begin(self) -> None:
        for callback in self.callbacks:
            callback.validation_begin()

    def validation_end(self) -> None:
        for callback in self.callbacks:
            callback.validation_end()

    def epoch_end(self, epoch: int, logs: Logs) -> None:
        for callback in self.callbacks:
            callback.epoch_end(epoch, logs)

    def end(self) -> None:
        for callback in self.callbacks:
            callback.end()

    def state_dict(self) -> dict[int, Any]:
        return {index: callback.state_dict() for index, callback in enumerate(self.callbacks)}

    def load_state_dict(self, state: dict[int, Any]) -> None:
        for index, part in state.items():
            self.callbacks[index].load_state_dict(part)


def improved(value: float, best: float | None, mode: str, min_delta: float = 0.0) -> bool:
    """Whether a value is better than the best one, by more than `min_delta`."""
    if best is None:
        return True
    return value - min_delta > best if mode == "max" else value + min_delta < best


def monitored(name: str, logs: Logs) -> float | None:
    """A value of the logs; a warning where it is missing, as in Keras."""
    if name not in logs:
        warnings.warn(f"a callback monitors {name!r}, but there are {', '.join(logs)} only", stacklevel=3)
    return logs.get(name)


class EarlyStopping(Callback):
    """Stops when `monitor` has not become better for `patience` epochs."""

    kept = ("best", "best_epoch", "wait", "best_weights")

    def __init__(
        self,
        model: nn.Module,
        monitor: str = "val_loss",
        mode: str = "min",
        min_delta: float = 0.0,
        patience: int = 0,
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        self.model, self.monitor, self.mode, self.min_delta = model, monitor, mode, min_delta
        self.patience, self.baseline, self.start_from_epoch = patience, baseline, start_from_epoch
        self.restore_best_weights = restore_best_weights
        self.best_weights: dict[str, Any] | None = None
        self.best: float | None = None
        self.best_epoch = self.wait = 0

    def epoch_end(self, epoch: int, logs: Logs) -> None:
        value = monitored(self.monitor, logs)
        if value is None or epoch < self.start_from_epoch:
            return
        if self.best_weights is None:
            self._keep(epoch)
        self.wait += 1
        if improved(value, self.best, self.mode, self.min_delta):
            self.best = value
            self._keep(epoch)
            if self.baseline is None or improved(value, self.baseline, self.mode, self.min_delta):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stop = True

    def _keep(self, epoch: int) -> None:
        self.best_epoch = epoch
        if self.restore_best_weights:
            self.best_weights = copy.deepcopy(self.model.state_dict())

    def end(self) -> None:
        if self.best_weights is not None:
            self.model.load_state_dict(self.best_weights)


class OnPlateau(Callback):
    """Lowers the learning rate by torch's ReduceLROnPlateau."""

    def __init__(self, scheduler: Any, monitor: str = "val_loss") -> None:
        self.scheduler, self.monitor = scheduler, monitor

    def epoch_end(self, epoch: int, logs: Logs) -> None:
        logs["learning_rate"] = self.scheduler.optimizer.param_groups[0]["lr"]
        value = monitored(self.monitor, logs)
        if value is not None:
            self.scheduler.step(value)

    def state_dict(self) -> dict[str, Any]:
        return self.scheduler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.scheduler.load_state_dict(state)


class LearningRateScheduler(Callback):
    """Sets the rate to `schedule(epoch, rate)` before each epoch."""

    def __init__(self, optimizer: Optimizer, schedule: Callable[[int, float], float]) -> None:
        self.optimizer, self.schedule = optimizer, schedule

    def epoch_begin(self, epoch: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule(epoch, group["lr"])

    def epoch_end(self, epoch: int, logs: Logs) -> None:
        logs["learning_rate"] = self.optimizer.param_groups[0]["lr"]


class LearningRates(Callback):
    """Sets the rate of each epoch; the last one stays."""

    def __init__(self, optimizer: Optimizer, rates: Sequence[float]) -> None:
        self.optimizer, self.rates = optimizer, rates

    def epoch_begin(self, epoch: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rates[min(epoch, len(self.rates) - 1)]

    def epoch_end(self, epoch: int, logs: Logs) -> None:
        logs["learning_rate"] = self.optimizer.param_groups[0]["lr"]


class ModelCheckpoint(Callback):
    """Saves the weights after each epoch (`{epoch:02d}` and logs go into the name) or every few batches."""

    kept = ("best", "batches")

    def __init__(
        self,
        model: nn.Module,
        folder: str,
        path: str,
        monitor: str = "val_loss",
        mode: str = "min",
        save_best_only: bool = False,
        every: int | None = None,
        best: float | None = None,
    ) -> None:
        self.model, self.folder, self.path, self.monitor, self.mode = model, Path(folder), path, monitor, mode
        self.save_best_only, self.every, self.best, self.epoch, self.batches = save_best_only, every, best, 0, 0

    def epoch_begin(self, epoch: int) -> None:
        self.epoch = epoch

    def batch_end(self, batch: int, logs: Logs) -> None:
        self.batches += 1
        if self.every is not None and self.batches % self.every == 0:
            self._save(self.epoch, {"batch": batch + 1, **logs})

    def epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.every is None:
            self._save(epoch, logs)

    def _save(self, epoch: int, logs: Logs) -> None:
        value = monitored(self.monitor, logs) if self.save_best_only else None
        if value is not None:
            if not improved(value, self.best, self.mode):
                return
            self.best = value
        if FIRST:
            file = self.folder / self.path.format(epoch=epoch + 1, **logs)
            file.parent.mkdir(parents=True, exist_ok=True)
            beside = file.with_name(f"{file.name}.part")
            save_file({name: tensor.contiguous() for name, tensor in self.model.state_dict().items()}, beside)
            os.replace(beside, file)


class CSVLogger(Callback):
    """One line an epoch."""

    kept = ("keys", "size")

    def __init__(self, folder: str, path: str, separator: str = ",", append: bool = False) -> None:
        self.path, self.separator, self.append = Path(folder) / path, separator, append
        self.keys: list[str] = []
        self.size: int | None = None  # of the file after the last epoch: what a killed run wrote after it is cut off

    def epoch_end(self, epoch: int, logs: Logs) -> None:
        if not FIRST:
            return
        if not self.keys:
            added = [] if any(key.startswith("val_") for key in logs) else [f"val_{key}" for key in sorted(logs)]
            self.keys = [*sorted(logs), *added]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="") as file:
            if self.size is not None or not self.append:
                file.truncate(self.size or 0)
            writer = csv.writer(file, delimiter=self.separator)
            if file.seek(0, os.SEEK_END) == 0:
                writer.writerow(["epoch", *self.keys])
            writer.writerow([epoch, *(logs.get(key, "NA") for key in self.keys)])
            self.size = file.tell()


class TensorBoard(Callback):
    """The logs of each epoch as curves, those of training and validation in a folder each."""

    def __init__(self, folder: str, path: str = "logs") -> None:
        self.folder, self.writers = Path(folder) / path, dict[str, Any]()

    def epoch_end(self, epoch: int, logs: Logs) -> None:
        for name, value in logs.items() if FIRST else ():
            writer = self._writer("validation" if name.startswith("val_") else "train", epoch)
            writer.add_scalar(f"epoch_{name.removeprefix('val_')}", value, epoch)
            writer.flush()

    def _writer(self, part: str, epoch: int) -> Any:
        sys.modules["tensorboard.compat.notf"] = ModuleType("notf")  # or it imports TensorFlow where there is one
        from torch.utils.tensorboard import SummaryWriter

        if part not in self.writers:
            self.writers[part] = SummaryWriter(str(self.folder / part), purge_step=epoch)
        return self.writers[part]

    def end(self) -> None:
        for writer in self.writers.values():
            writer.close()


class TerminateOnNaN(Callback):
    """Stops where the loss is no number."""

    def __init__(self, raise_error: bool = False) -> None:
        self.raise_error = raise_error

    def batch_end(self, batch: int, logs: Logs) -> None:
        if not math.isfinite(logs.get("loss", 0.0)):
            if self.raise_error:
                raise RuntimeError(f"the loss is {logs['loss']} at batch {batch}")
            self.stop = True


class SwapEMAWeights(Callback):
    """Validates with the averaged weights; with `on_epoch` they also stand in the model when an epoch ends."""

    kept = ("swapped",)

    def __init__(self, average: Any, on_epoch: bool = False) -> None:
        self.average, self.on_epoch, self.swapped = average, on_epoch, False

    def _swap(self) -> None:
        self.average.swap()
        self.swapped = not self.swapped

    def epoch_begin(self, epoch: int) -> None:
        if self.swapped:
            self._swap()

    def validation_begin(self) -> None:
        self._swap()

    def validation_end(self) -> None:
        self._swap()

    def epoch_end(self, epoch: int, logs: Logs) -> None:
        if self.on_epoch:
            self._swap()
