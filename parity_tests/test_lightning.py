"""`--trainer lightning`: the same training as `fit`, in one process, in two, and resumed; what it cannot carry is named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import migrate
from converters.errors import UserError
from parity_tests import projects

SAME = ("--precision", "float64", "--no-shuffle", "--validation-split", projects.SPLIT)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three projects: "called", with callbacks; "tagger", whose loss has a mask; "cnn", resumed from two processes."""
    folder, running = tmp_path_factory.mktemp("lightning"), []
    runs = {"called": ("--epochs", 20), "cnn": ("--epochs", 1, "--devices", 2)}
    runs["tagger"] = ("--epochs", 2, "--devices", 2)
    for name, options in runs.items():
        home, told = projects.fitted() / name, projects.CALLED if name == "called" else {}
        migrate.scaffold(home / "initial.keras", folder / name, exact=True, trainer="lightning", **told)
        given = ("--data", home / "data", "--output", "run", *SAME, *options)
        running.append(projects.start(folder / name, "train.py", *given))
    for process in running:
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error[-3000:]
    projects.run(folder / "cnn", "train.py", "--output", "run", "--epochs", 2, "--devices", 1, "--resume")
    return folder


@pytest.mark.parametrize("name", ["called", "cnn", "tagger"])
def test_trains_as_keras(trained: Path, name: str) -> None:
    home, run = projects.fitted() / name, trained / name / "run"
    expected, found = json.loads((home / "history.json").read_text()), projects.history(run)
    assert {key for logs in found for key in logs} == expected.keys()
    for key, values in expected.items():
        limit = 1e-6 if "accuracy" in key else 1e-10  # Keras counts metrics in float32
        assert [logs[key] for logs in found] == pytest.approx(values, rel=limit), key
    final = projects.keras_weights(trained / name, home / "final.keras")
    assert projects.apart(projects.weights(run), final) < 1e-10
    assert projects.apart(projects.weights(trained / name), final) > 1e-3  # the initial ones: it can fail


def test_project_is_clean_and_complete(trained: Path) -> None:
    for project in (trained / "called", trained / "cnn", trained / "tagger"):
        for line in (["check"], ["format", "--check"]):
            command = [sys.executable, "-m", "ruff", *line, "--isolated", "--line-length=120", "."]
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=project)
            assert done.returncode == 0, done.stdout
    assert "lightning" in (trained / "cnn" / "requirements.txt").read_text()
    assert "accelerate" not in "".join(file.read_text() for file in (trained / "cnn").glob("*.py"))
    assert list((trained / "called" / "run").glob("events.out.tfevents*"))


def test_evaluates(trained: Path) -> None:
    weights = ("--data", projects.data_of("called"), "--weights", "run/weights.safetensors")
    said = projects.run(trained / "called", "evaluate.py", *weights)
    assert json.loads(said[said.index("{") : said.index("}") + 1]).keys() == {"loss", "accuracy"}


def test_own_early_stopping_of_lightning_where_it_is_equal(tmp_path: Path) -> None:
    home = projects.fitted() / "mlp" / "initial.keras"
    migrate.scaffold(home, tmp_path / "out", trainer="lightning", callbacks=["EarlyStopping(patience=3)"])
    text = "".join((tmp_path / "out" / "train.py").read_text().split())
    assert 'EarlyStopping(monitor="val_loss",mode="min",min_delta=0.0,patience=3,check_finite=False)' in text
    assert not (tmp_path / "out" / "callbacks.py").exists()


@pytest.mark.parametrize(
    ("model", "told", "named"),
    [
        ("regularized", (), "gradient accumulation"),
        ("mlp", ("ModelCheckpoint(filepath='x.keras', save_freq=5)",), "every few batches"),
    ],
)
def test_what_it_cannot_carry_is_named(tmp_path: Path, model: str, told: tuple[str, ...], named: str) -> None:
    with pytest.raises(UserError, match=named) as refusal:
        home = projects.fitted() / model / "initial.keras"
        migrate.scaffold(home, tmp_path / "out", trainer="lightning", callbacks=told)
    assert "--trainer plain" in str(refusal.value)
    assert not (tmp_path / "out").exists()
