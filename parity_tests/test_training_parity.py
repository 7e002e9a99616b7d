"""`fit` in Keras and the generated train.py: the same weights, the same batches, the same loss curves, in float64."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import migrate
from parity_tests import projects

ROUNDING = 1e-10  # relative; correct runs lie at 1e-15
SAME_RUN = ("--precision", "float64", "--no-shuffle", "--validation-split", projects.SPLIT, "--epochs", 2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The projects, each trained in a process of its own; all at once, since most of it is starting up."""
    folder, running = tmp_path_factory.mktemp("parity"), {}
    for name in (*projects.MODELS, "cnn plain"):
        home = projects.fitted() / name.removesuffix(" plain")
        migrate.scaffold(home / "initial.keras", folder / name, exact=not name.endswith("plain"))
        running[name] = projects.start(folder / name, "train.py", "--data", home / "data", "--output", "run", *SAME_RUN)
    for name, process in running.items():
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, f"{name}: {error[-3000:]}"
    return {name: folder / name for name in running}


def curves(project: Path, name: str) -> dict[str, float]:
    """How far the curves of Keras and PyTorch are apart, relative to their size."""
    expected = json.loads((projects.fitted() / name / "history.json").read_text())
    found = projects.history(project / "run")
    return {
        key: max(abs(logs[key] - value) / abs(value) for logs, value in zip(found, values, strict=True))
        for key, values in expected.items()
    }


@pytest.mark.parametrize("name", projects.MODELS)
def test_exact_project_trains_as_keras(trained: dict[str, Path], name: str) -> None:
    apart = curves(trained[name], name)
    assert {key for key in apart if "loss" in key} == {"loss", "val_loss"}
    for key, distance in apart.items():
        assert distance < (ROUNDING if "loss" in key else 1e-6), (key, distance)  # Keras counts metrics in float32
    expected = projects.keras_weights(trained[name], projects.fitted() / name / "final.keras")
    assert projects.apart(projects.weights(trained[name] / "run"), expected) < ROUNDING


def test_plain_project_drifts_by_what_it_says(trained: dict[str, Path]) -> None:
    """Without --exact the running variance differs: seen by the same comparison, which so is able to fail."""
    apart = curves(trained["cnn plain"], "cnn")
    assert apart["loss"] < ROUNDING  # the optimizer is SGD, and training mode does not use the running variance
    assert ROUNDING < apart["val_loss"] < 0.05
