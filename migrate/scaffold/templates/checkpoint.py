#: if lightning
"""The files that a run begins with."""
#: else
"""The state of a run, on disk. Every file is written beside and renamed: a run that is killed leaves whole files."""
#: end

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.optim import Optimizer

#: if lightning
CHECKPOINT = "checkpoint.ckpt"
# What a run that goes on may change.
FREE = {"data", "output", "epochs", "workers", "devices", "deterministic", "resume"}


def begin(config: Any) -> Path | None:
    """The checkpoint of a run that goes on; None for a new one."""
    folder, path = Path(config.output), Path(config.output) / CHECKPOINT
    if path.exists() and not config.resume:
        fail(f"{folder} holds a run: --resume goes on with it, --output FOLDER begins another")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(asdict(config), indent=1))
    return path if path.exists() else None


#: else
CHECKPOINT = "checkpoint.pt"
FREE = {"data", "output", "epochs", "workers", "deterministic", "resume"}  # what a run that goes on may change
WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)  # whatever DDP or FSDP did: the tensors of one process


class Checkpoint:
    """`checkpoint.pt`: the state after the last whole epoch; `weights.safetensors`: the model's alone.

    `others`: what else has a state, by name: a scheduler, callbacks. All processes have to call `save`.
    """

    def __init__(self, folder: str, objective: nn.Module, optimizer: Optimizer, **others: Any) -> None:
        self.folder, self.path = Path(folder), Path(folder) / CHECKPOINT
        self.objective, self.optimizer, self.others = objective, optimizer, others
        self.first = os.environ.get("RANK", "0") == "0"  # the process that writes

    def begin(self, config: Any) -> list[dict[str, float]]:
        """The history of a new run, or of the one that goes on."""
        if self.path.exists() and not config.resume:
            fail(f"{self.folder} holds a run: --resume goes on with it, --output FOLDER begins another")
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.first:
            self.write("config.json", lambda path: path.write_text(json.dumps(asdict(config), indent=1)))
        return self.load() if self.path.exists() else []

    def load(self) -> list[dict[str, float]]:
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        model, optimizer = state["model"], state["optimizer"]
        set_state_dict(
            self.objective, self.optimizer, model_state_dict=model, optim_state_dict=optimizer, options=WHOLE
        )
        for name, part in self.others.items():
            part.load_state_dict(state[name])
        return state["history"]

    def save(self, history: list[dict[str, float]]) -> None:
        model, optimizer = get_state_dict(self.objective, self.optimizer, options=WHOLE)
        others = {name: part.state_dict() for name, part in self.others.items()}
        self.save_weights(model)
        if self.first:
            self.write("history.json", lambda path: path.write_text(json.dumps(history, indent=1)))
            state = {"model": model, "optimizer": optimizer, "history": history, **others}
            self.write(CHECKPOINT, lambda path: torch.save(state, path))

    def save_weights(self, model: dict[str, Any] | None = None) -> None:
        """The weights of the model as `model.py` takes them."""
        model = get_model_state_dict(self.objective, options=WHOLE) if model is None else model
        layout = torch.contiguous_format
        weights = {name.removeprefix("model."): tensor.clone(memory_format=layout) for name, tensor in model.items()}
        if self.first:
            self.write("weights.safetensors", lambda path: save_file(weights, path))

    def write(self, name: str, writer: Callable[[Path], Any]) -> None:
        beside = self.folder / f"{name}.part"
        writer(beside)
        os.replace(beside, self.folder / name)


#: end
def resumed(given: dict[str, Any], folder: str) -> dict[str, Any]:
    """The options of a run that goes on: those it was begun with, which what is given may not contradict."""
    path = Path(folder) / "config.json"
    if not path.exists():
        fail(f"{folder}: expected a run that goes on, found no config.json in it: leave --resume out to begin one there")
    begun = json.loads(path.read_text())
    if not path.with_name(CHECKPOINT).exists() and os.environ.get("RANK", "0") == "0":
        print(f"{folder}: the run ended before it had a checkpoint ({CHECKPOINT}): it begins anew", file=sys.stderr)
    for name in begun.keys() & given.keys() - FREE:
        if given[name] != begun[name]:
            option, way_out = f"--{name.replace('_', '-')}", "leave the option out, or begin a run with --output FOLDER"
            fail(f"{folder} was begun with {option} {begun[name]}, now it is {given[name]}: {way_out}")
    return begun | given


def load_weights(model: nn.Module, path: str | Path) -> None:
    """The weights of a .safetensors file."""
    try:
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as error:
        fail(f"{path}: expected a file of weights (.safetensors): {error}")
    except RuntimeError as error:
        fail(f"{path}: expected the weights of {type(model).__name__}: {error}")


def existing(path: str) -> str:
    """The type of an option that names a file or folder."""
    if not Path(path).exists():
        raise argparse.ArgumentTypeError(f"no such file or folder: {path}")
    return path


@contextmanager
def refusing() -> Iterator[None]:
    """What data.py refuses ends a program with exit code 2, as everything else that is wrong with what it is given."""
    try:
        yield
    except SystemExit as error:
        if isinstance(error.code, str):
            fail(error.code)
        raise


def fail(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(2)
