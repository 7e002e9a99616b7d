"""Training projects in tests: Keras models trained by `fit`, and the programs of a scaffolded project as users run them."""

from __future__ import annotations

import atexit
import functools
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from safetensors.numpy import load_file

from converters.weights import evaluate, from_json

REFERENCE = Path(__file__).with_name("reference_fit.py")
MODELS = ("mlp", "cnn", "recurrent", "text", "regularized")
SPLIT = 0.2
CALLED = {  # what `fit` of the model "called" is told in reference_fit.py
    "callbacks": (
        "EarlyStopping(patience=4, restore_best_weights=True)",
        "ReduceLROnPlateau(factor=0.5, patience=2, min_delta=1e-3)",
        "CSVLogger(filename='log.csv')",
        "ModelCheckpoint(filepath='best.keras', monitor='val_accuracy', save_best_only=True)",
    ),
    "class_weight": {0: 3.0, 7: 0.5},
}
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1"}


@functools.cache
def fitted() -> Path:
    """A folder with what `reference_fit.py` writes; made once in a run of the tests."""
    folder = Path(tempfile.mkdtemp(prefix="fit."))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    done = subprocess.run([sys.executable, REFERENCE, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def data_of(name: str) -> Path:
    """The data that Keras was trained with: x.npy and y.npy."""
    return fitted() / name / "data"


def command(script: str, *options: Any, processes: int = 1) -> list[str]:
    """A program of a project, as its README says to start it."""
    start = [sys.executable] if processes == 1 else [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    start += [f"--nproc-per-node={processes}"] if processes > 1 else []
    return [*start, script, *map(str, options)]


def run(project: Path, script: str, *options: Any, processes: int = 1, code: int = 0) -> str:
    """Runs a program of a project; returns what it printed."""
    line = command(script, *options, processes=processes)
    done = subprocess.run(line, cwd=project, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == code, done.stdout[-1000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def start(project: Path, script: str, *options: Any) -> subprocess.Popen[str]:
    """The same without waiting for it."""
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command(script, *options), cwd=project, env=ENVIRONMENT, stdout=pipe, stderr=pipe, text=True
    )


def history(folder: Path) -> list[dict[str, float]]:
    return json.loads((folder / "history.json").read_text())


def weights(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "weights.safetensors")


def keras_weights(project: Path, model: Path) -> dict[str, np.ndarray]:
    """The weights of a Keras file under the names of a project, through its expressions, in the file's own precision."""
    expressions = json.loads((project / "migration.json").read_text())["weights"]
    with h5py.File(io.BytesIO(zipfile.ZipFile(model).read("model.weights.h5"))) as file:
        return {key: evaluate(from_json(one), lambda leaf: file[leaf.key][()]) for key, one in expressions.items()}


def apart(one: dict[str, np.ndarray], other: dict[str, np.ndarray], names: Sequence[str] = ()) -> float:
    """The largest difference of two models, each tensor relative to its largest number."""
    names = names or [name for name in one if name in other and "num_batches" not in name]
    distances = [np.abs(one[n] - other[n]).max() / max(np.abs(other[n]).max(), 1e-30) for n in names if one[n].size]
    return float(max(distances))
