"""Callbacks as Keras runs them: `epoch_begin(epoch)`, `batch_end(batch, logs)`, `epoch_end(epoch, logs)`, `end()`.

Epochs count from 0. Training stops after the epoch in which one of them has set `stop`.
"""

import copy
import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

Logs = Mapping[str, float]


class Callback:
    """What does nothing; a callback changes what it needs."""

    stop = False

    def epoch_begin(self, epoch: int) -> None:
        """Before the first batch of an epoch."""

    def batch_end(self, batch: int, logs: Logs) -> None:
        """After an update; `logs["loss"]` is the loss of the batch."""

    def validation_begin(self) -> None:
        """Before the validation of an epoch."""

    def validation_end(self) -> None:
        """After it."""

    def epoch_end(self, epoch: int, logs: Logs) -> None:
        """After the validation; `logs` holds the means of the epoch, those of validation as `val_...`."""

    def end(self) -> None:
        """After the last epoch."""


def improved(value: float, best: float | None, mode: str, min_delta: float = 0.0) -> bool:
    """Whether a value is better than the best one, by more than `min_delta`."""
    if best is None:
        return True
    return value - min_delta > best if mode == "max" else value + min_delta < best


class EarlyStopping(Callback):
    """Stops when `monitor` has not become better for `patience` epochs."""

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
        value = logs.get(self.monitor)
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
        if self.monitor in logs:
            self.scheduler.step(logs[self.monitor])


class LearningRateScheduler(Callback):
    """Sets the rate to `schedule(epoch, rate)` before each epoch."""

    def __init__(self, optimizer: Optimizer, schedule: Callable[[int, float], float]) -> None:
        self.optimizer, self.schedule = optimizer, schedule

    def epoch_begin(self, epoch: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule(epoch, group["lr"])


class ModelCheckpoint(Callback):
    """Saves the model's state dict after each epoch (`{epoch:02d}` and logs go into the name) or every few batches."""

    def __init__(
        self,
        model: nn.Module,
        path: str,
        monitor: str = "val_loss",
        mode: str = "min",
        save_best_only: bool = False,
        every: int | None = None,
        best: float | None = None,
    ) -> None:
        self.model, self.path, self.monitor, self.mode = model, path, monitor, mode
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
        if self.save_best_only:
            value = logs.get(self.monitor)
            if value is None or not improved(value, self.best, self.mode):
                return
            self.best = value
        file = Path(self.path.format(epoch=epoch + 1, **logs))
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(self.model.state_dict(), file)


class CSVLogger(Callback):
    """One line an epoch."""

    def __init__(self, path: str, separator: str = ",", append: bool = False) -> None:
        self.path, self.separator, self.keys = Path(path), separator, list[str]()
        if not append:
            self.path.unlink(missing_ok=True)

    def epoch_end(self, epoch: int, logs: Logs) -> None:
        new = not self.path.exists() or not self.path.stat().st_size
        self.keys = self.keys or sorted(logs)
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file, delimiter=self.separator, lineterminator="\n")
            if new:
                writer.writerow(["epoch", *self.keys])
            writer.writerow([epoch, *(logs.get(key, "NA") for key in self.keys)])


class TensorBoard(Callback):
    """The logs of each epoch as curves, those of training and validation in a folder each."""

    def __init__(self, folder: str = "logs") -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.train, self.validation = (SummaryWriter(str(Path(folder) / name)) for name in ("train", "validation"))

    def epoch_end(self, epoch: int, logs: Logs) -> None:
        for name, value in logs.items():
            writer = self.validation if name.startswith("val_") else self.train
            writer.add_scalar(f"epoch_{name.removeprefix('val_')}", value, epoch)

    def end(self) -> None:
        self.train.close()
        self.validation.close()


class TerminateOnNaN(Callback):
    """Stops where the loss is no number."""

    def batch_end(self, batch: int, logs: Logs) -> None:
        self.stop = self.stop or not math.isfinite(logs.get("loss", 0.0))


class BackupAndRestore(Callback):
    """Keeps model and optimizer after each epoch, so that a run that was killed goes on from there."""

    def __init__(self, model: nn.Module, optimizer: Optimizer, folder: str) -> None:
        self.model, self.optimizer, self.file = model, optimizer, Path(folder) / "backup.pt"

    def restore(self) -> int:
        """The number of the epoch to start with."""
        if not self.file.exists():
            return 0
        kept = torch.load(self.file, weights_only=True)
        self.model.load_state_dict(kept["model"])
        self.optimizer.load_state_dict(kept["optimizer"])
        return int(kept["epoch"]) + 1

    def epoch_end(self, epoch: int, logs: Logs) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        kept = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "epoch": epoch}
        beside = self.file.with_suffix(".new")
        torch.save(kept, beside)
        beside.replace(self.file)

    def end(self) -> None:
        self.file.unlink(missing_ok=True)


class SwapEMAWeights(Callback):
    """Validates with the averaged weights; with `on_epoch` they also stand in the model when an epoch ends."""

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

    def end(self) -> None:
        if self.swapped:
            self._swap()
