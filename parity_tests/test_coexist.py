"""In a process that has already imported TensorFlow: convert the model in memory, load it, train it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SESSION = """
import sys
import tensorflow
import keras

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()])
import migrate

conversion = migrate.convert(model, sys.argv[1])
loaded = migrate.load(sys.argv[1])

import numpy as np
import torch

x = np.ones((2, 4), "float32")
difference = np.abs(loaded(torch.from_numpy(x)).detach().numpy() - np.asarray(model(x, training=False))).max()
optimizer = torch.optim.Adam(loaded.parameters())
loaded.train()(torch.rand(5, 4)).sum().backward()
optimizer.step()
print("difference", difference, "trainable", conversion.parameters["trainable"])
assert difference < 1e-6
"""

LATE = """
import sys
import migrate
import tensorflow

conversion = migrate.convert(sys.argv[1], sys.argv[2])
import torch

torch.optim.Adam(migrate.load(sys.argv[2]).parameters())
print("late", conversion.parameters["trainable"])
"""


def test_tensorflow_imported_first(tmp_path: Path) -> None:
    done = python(SESSION, str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr[-2000:]
    assert "trainable 21" in done.stdout


def test_tensorflow_imported_between(bench_model: str, tmp_path: Path) -> None:
    done = python(LATE, bench_model, str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr[-2000:]
    assert "late" in done.stdout


def python(source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", source, *arguments], capture_output=True, text=True, check=False)
