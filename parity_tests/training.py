"""What the tests of training share: the Keras reference, made once, and one update of the PyTorch side."""

import json
import os
import subprocess
import sys
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from converters.training import Optimizer, Variable, build
from converters.training.local.optim import resume
from converters.weights import Leaf
from parity_tests import training_cases as cases


@cache
def reference():
    """Everything that Keras computed for the cases, by name. Kept in build/ for as long as the cases are the same."""
    script = Path(__file__).with_name("reference_training.py")
    sources = [script.read_bytes(), Path(cases.__file__).read_bytes(), version("keras").encode()]
    file = Path(__file__).parents[1] / "build" / f"training-{sha256(b''.join(sources)).hexdigest()[:16]}.npz"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        made = file.with_suffix(f".{os.getpid()}.npz")
        done = subprocess.run([sys.executable, script, made], capture_output=True, text=True, check=False)
        if not made.exists():
            pytest.exit(f"the Keras reference of the training tests failed:\n{done.stderr[-3000:]}", 1)
        made.rename(file)
    with np.load(file) as arrays:
        return dict(arrays)


def config(name):
    """An object as Keras serialized it."""
    return json.loads(str(reference()[name]))


class Holder(torch.nn.Module):
    """The variables of the cases as a model: kernels transposed, as a converter does it."""

    def __init__(self):
        super().__init__()
        self.dense, self.conv, self.embedding = (
            torch.nn.Linear(5, 4),
            torch.nn.Conv2d(2, 4, 3, bias=False),
            torch.nn.Embedding(6, 3),
        )
        self.double()
        with torch.no_grad():
            for variable, index in zip(VARIABLES, range(4), strict=True):
                self.get_parameter(variable.name).copy_(to_torch(index, cases.start(index)))


AXES = [(1, 0), (0,), (3, 2, 0, 1), (0, 1)]
NAMES = ["dense.weight", "dense.bias", "conv.weight", "embedding.weight"]
VARIABLES = [
    Variable(name, Leaf(shape, "float64", path).transpose(*axes), path)
    for name, axes, (path, shape) in zip(NAMES, AXES, cases.VARIABLES, strict=True)
]


def to_torch(index, array):
    return torch.tensor(np.ascontiguousarray(np.transpose(array, AXES[index])))


class Loop:
    """One update after the other, as the docstring of converters.training says."""

    def __init__(self, pieces: Optimizer, model: torch.nn.Module) -> None:
        self.pieces, self.batch = pieces, 0
        self.names = {"model": model, "parameters": [p for p in model.parameters() if p.requires_grad]}
        for piece in pieces.per_token:
            build(piece, **self.names)
        self.optimizer = self.names["optimizer"] = build(pieces.optimizer, **self.names)
        self.scheduler = build(pieces.schedule, **self.names) if pieces.schedule else None
        self.average = build(pieces.average, **self.names) if pieces.average else None

    def update(self):
        """After `backward()` of loss / accumulate."""
        self.batch += 1
        if self.batch % self.pieces.accumulate == 0:
            for piece in self.pieces.clip:
                build(piece, **self.names)
            self.optimizer.step()
            self.optimizer.zero_grad()
        if self.average:
            self.average.update()
        if self.scheduler:
            self.scheduler.step()

    def resume(self, state):
        """From the state of a file, as torch tensors by name."""
        resume(self.optimizer, self.names["model"], state, self.scheduler)
        self.batch = int(state.get("batches", 0))
        averages = {key.partition("/")[2]: value for key, value in state.items() if key.startswith("average/")}
        if self.average and averages:
            names = [name for name, p in self.names["model"].named_parameters() if p.requires_grad]
            self.average.load_state_dict({"averages": [averages[n] for n in names], "batches": self.batch})

    def end(self):
        if self.average:
            self.average.copy_to()
