"""What a run leaves behind, as a callback of Lightning."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from safetensors.torch import save_file


class Run(L.Callback):
    """Writes history.json (as Keras' `History`) and weights.safetensors (as model.py takes them) after each epoch.

    #: if callbacks
    `keras_callbacks(config, model, optimizer)` makes the callbacks that are called as Keras calls them.
    #: end
    """

    #: if callbacks
    def __init__(self, config: Any, keras_callbacks: Callable[..., Any]) -> None:
        self.config, self.keras_callbacks = config, keras_callbacks
        self.callbacks: Any = None
        self.loaded: dict[int, Any] = {}
    #: else
    def __init__(self, config: Any) -> None:
        self.config = config
    #: end
        self.history: list[dict[str, float]] = []
    #: if callbacks

    def on_train_start(self, trainer: L.Trainer, module: Any) -> None:
        self.callbacks = self.keras_callbacks(self.config, module.model, trainer.optimizers[0])
        self.callbacks.load_state_dict(self.loaded)
        trainer.should_stop = self.callbacks.stop

    def on_train_epoch_start(self, trainer: L.Trainer, module: Any) -> None:
        self.callbacks.epoch_begin(trainer.current_epoch)
    #: end
    #: if batch_end

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        self.callbacks.batch_end(index, {"loss": outputs["loss"].item()})
        stop = trainer.strategy.reduce_boolean_decision(self.callbacks.stop, all=False)  # in all processes at once
        trainer.should_stop = trainer.should_stop or stop
    #: end

    def on_train_epoch_end(self, trainer: L.Trainer, module: Any) -> None:
        logs = {name: x.item() for name, x in trainer.callback_metrics.items() if not name.startswith("lr-")}
        #: if callbacks
        self.callbacks.epoch_end(trainer.current_epoch, logs)
        trainer.should_stop = trainer.should_stop or self.callbacks.stop
        #: end
        self.history.append(logs)
        self.write(trainer, module)

    def on_train_end(self, trainer: L.Trainer, module: Any) -> None:
        #: if callbacks
        self.callbacks.end()
        #: end
        self.write(trainer, module)

    def write(self, trainer: L.Trainer, module: Any) -> None:
        if trainer.is_global_zero:
            layout = torch.contiguous_format
            weights = {name: x.cpu().clone(memory_format=layout) for name, x in module.model.state_dict().items()}
            replaced("weights.safetensors", self.config.output, lambda path: save_file(weights, path))
            text = json.dumps(self.history, indent=1)
            replaced("history.json", self.config.output, lambda path: path.write_text(text))

    def state_dict(self) -> dict[str, Any]:
        #: if callbacks
        return {"history": self.history, "callbacks": self.callbacks.state_dict()}
        #: else
        return {"history": self.history}
        #: end

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.history = state["history"]
        #: if callbacks
        self.loaded = state["callbacks"]
        #: end


def replaced(name: str, folder: str, writer: Callable[[Path], Any]) -> None:
    """Writes beside and renames: a run that is killed leaves whole files."""
    beside = Path(folder) / f"{name}.part"
    writer(beside)
    os.replace(beside, Path(folder) / name)
