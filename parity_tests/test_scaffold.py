"""The training project as a new user meets it: what is written, that every program runs as it is, what is refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import migrate
from converters.errors import UserError
from converters.training import callbacks, optimizer_classes
from converters.training.config import snake
from converters.training.losses import MAKERS as LOSS_MAKERS
from converters.training.metrics import MAKERS as METRIC_MAKERS
from migrate.cli import main
from migrate.outputs import renamed
from migrate.scaffold import typed
from migrate.scaffold.plan import Options
from parity_tests import projects

PROGRAMS = {"train.py", "data.py", "evaluate.py", "predict.py", "export.py"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scaffolded project that was trained for two epochs."""
    folder = tmp_path_factory.mktemp("scaffold") / "mlp"
    migrate.scaffold(projects.fitted() / "mlp" / "initial.keras", folder, name="Digits")
    options = ("--data", projects.data_of("mlp"), "--epochs", 2, "--validation-split", 0.2, "--learning-rate", 0.01)
    projects.run(folder, "train.py", *options)
    return folder


def edited(model: Path, target: Path, **compiled: object) -> Path:
    """A copy of a .keras file with another compile configuration."""
    with zipfile.ZipFile(model) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                config = json.loads(content)
                config["compile_config"] = {**(config.get("compile_config") or {}), **compiled} if compiled else None
                content = json.dumps(config).encode()
            copy.writestr(name, content)
    return target


def scaffold(*options: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["scaffold", *map(str, options)])
    return done.exit_code, done.output


def test_project_is_complete_and_clean(project: Path) -> None:
    assert PROGRAMS | {"model.py", "README.md", "requirements.txt", "migration.json"} <= {
        f.name for f in project.iterdir()
    }
    texts = sorted(project.glob("*.py"))
    for line in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *line, "--isolated", "--line-length=120", *texts]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=project)
        assert done.returncode == 0, done.stdout
    assert not [text.name for text in texts if "migrate" in text.read_text() or "converters" in text.read_text()]


def test_training_learns_and_leaves_curves(project: Path) -> None:
    run = project / "runs" / "digits"
    history = projects.history(run)
    assert len(history) == 2
    assert history[0].keys() == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert history[1]["loss"] < history[0]["loss"]
    assert list(run.glob("events.out.tfevents*"))
    assert not list(run.glob("*.part"))


def test_run_is_not_overwritten(project: Path) -> None:
    said = projects.run(project, "train.py", "--data", projects.data_of("mlp"), code=2)
    assert "--resume goes on with it" in said


def checkpoint_of(project: Path) -> ModuleType:
    """The project's checkpoint.py."""
    spec = importlib.util.spec_from_file_location("checkpoint_of_a_project", project / "checkpoint.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_resumed_run_keeps_its_options(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, run = checkpoint_of(project), str(project / "runs" / "digits")
    options = checkpoint.resumed({"resume": True, "epochs": 9}, run)
    assert (options["epochs"], options["validation_split"], options["learning_rate"]) == (9, 0.2, 0.01)
    with pytest.raises(SystemExit) as end:
        checkpoint.resumed({"resume": True, "validation_split": 0.5}, run)
    assert end.value.code == 2
    assert "--validation-split 0.2" in capsys.readouterr().err


def test_resume_without_a_run_is_refused(project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped --output; a run that was killed before its first checkpoint begins anew, and says so."""
    checkpoint = checkpoint_of(project)
    with pytest.raises(SystemExit) as end:
        checkpoint.resumed({"resume": True}, str(tmp_path / "mistyped"))
    assert end.value.code == 2
    assert "found no config.json" in capsys.readouterr().err
    (tmp_path / "config.json").write_text('{"epochs": 3}')
    assert checkpoint.resumed({"resume": True}, str(tmp_path)) == {"epochs": 3, "resume": True}
    assert "it begins anew" in capsys.readouterr().err
    (tmp_path / "checkpoint.pt").touch()
    checkpoint.resumed({"resume": True}, str(tmp_path))
    assert not capsys.readouterr().err


def test_data_that_does_not_fit_ends_with_2(project: Path, tmp_path: Path) -> None:
    said = projects.run(project, "train.py", "--data", tmp_path, "--output", tmp_path / "run", code=2)
    assert "expected x.npy" in said
    assert not (tmp_path / "run").exists()


def test_help_says_what_the_options_do(project: Path) -> None:
    said = " ".join(projects.run(project, "train.py", "--help").split())
    assert "--batch-size BATCH_SIZE of all processes together (32)" in said
    assert "--workers WORKERS processes that load data (0)" in said


def test_missing_or_other_weights_are_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = checkpoint_of(project)
    for path in ("README.md", "weights.safetensors"):
        with pytest.raises(SystemExit) as end:
            checkpoint.load_weights(torch.nn.Linear(1, 1), project / path)
        assert end.value.code == 2
        assert "expected" in capsys.readouterr().err
    said = projects.run(project, "predict.py", "--weights", "nowhere", code=2)
    assert "no such file or folder: nowhere" in said
    assert "Traceback" not in said


def test_evaluate_predict_export(project: Path) -> None:
    weights = ("--weights", "runs/digits/weights.safetensors")
    said = projects.run(project, "evaluate.py", "--data", projects.data_of("mlp"), *weights)
    assert json.loads(said[said.index("{") : said.index("}") + 1]).keys() == {"loss", "accuracy"}
    assert f"{projects.data_of('mlp')}: all, 300 samples" in said
    projects.run(project, "predict.py", "--data", projects.data_of("mlp"), *weights)
    predictions = np.load(project / "predictions.npy")
    assert predictions.shape == (300, 10)
    np.testing.assert_allclose(predictions.sum(1), 1, rtol=1e-5)
    projects.run(project, "export.py", "program", "onnx", "torchscript", *weights)
    assert {file.name for file in (project / "exported").iterdir()} == {"model.pt2", "model.onnx", "model.pt"}


def test_validation_is_evaluated_where_the_data_brings_it(project: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(projects.data_of("mlp"), data)
    for name in ("x", "y"):
        np.save(data / f"{name}_val.npy", np.load(data / f"{name}.npy")[:40])
    said = projects.run(project, "evaluate.py", "--data", data)
    assert f"{data}: the validation part, 40 samples" in said
    told = projects.run(project, "predict.py", "--data", data, "--part", "train", "-o", tmp_path / "made.npy")
    assert f"{data}: the training part, 300 samples" in told
    made, loss = np.load(tmp_path / "made.npy"), json.loads(said[said.index("{") : said.index("}") + 1])["loss"]
    losses = -np.log(made[np.arange(300), np.load(data / "y.npy")])
    assert loss == pytest.approx(losses[:40].mean(), rel=1e-4)
    assert loss != pytest.approx(losses.mean(), rel=1e-3)


def test_export_refuses_what_differs(project: Path) -> None:
    text = (project / "export.py").read_text()
    wrong = text.replace("expected = flat(model(*inputs))", "expected = [1.01 * x for x in flat(model(*inputs))]")
    assert wrong != text
    (project / "export_wrong.py").write_text(wrong)
    projects.run(project, "export_wrong.py", "torchscript", "-o", "wrong", code=1)
    assert not (project / "wrong" / "model.pt").exists()


def test_two_outputs_train_as_in_keras_and_predict(tmp_path: Path) -> None:
    home, project = projects.fitted() / "two", tmp_path / "two"
    migrate.scaffold(home / "initial.keras", project, exact=True)
    options = ("--output", "run", "--epochs", 2, "--precision", "float64", "--no-shuffle", "--validation-split", 0.2)
    projects.run(project, "train.py", "--data", home / "data", *options)
    expected, found = json.loads((home / "history.json").read_text()), projects.history(project / "run")
    for key in ("loss", "val_loss", "dark_mae"):
        assert [logs[key] for logs in found] == pytest.approx(expected[key], rel=1e-6 if "mae" in key else 1e-10), key
    final = projects.keras_weights(project, home / "final.keras")
    assert projects.apart(projects.weights(project / "run"), final) < 1e-10
    assert projects.apart(projects.weights(project), final) > 1e-3  # the initial ones: it can fail
    projects.run(project, "predict.py", "--data", home / "data", "--weights", "run/weights.safetensors")
    assert {name: x.shape for name, x in np.load(project / "predictions.npz").items()} == {
        "dark": (300, 1), "digit": (300, 10),
    }  # fmt: skip


def test_masks_of_several_outputs_train_as_in_keras(tmp_path: Path) -> None:
    home, project = projects.fitted() / "masked", tmp_path / "masked"
    migrate.scaffold(home / "initial.keras", project, exact=True)
    options = ("--precision", "float64", "--no-shuffle", "--validation-split", 0.2, "--data", home / "data")
    expected = json.loads((home / "history.json").read_text())
    projects.run(project, "train.py", *options, "--epochs", 2, "--output", "run")
    found = projects.history(project / "run")
    assert found[0].keys() == {key for key in expected if not key.endswith("_loss")} | {"val_loss"}
    for key in found[0]:
        assert [logs[key] for logs in found] == pytest.approx(expected[key], rel=1e-6 if "ac" in key else 1e-10), key
    text = (project / "train.py").read_text()
    assert "return [mask, mask, None]" in text
    (project / "train.py").write_text(text.replace("mask=masks[1]", "mask=None"))
    projects.run(project, "train.py", *options, "--epochs", 1, "--output", "wrong")
    wrong = projects.history(project / "wrong")[0]
    assert abs(wrong["loss"] / expected["loss"][0] - 1) > 1e-4
    assert wrong["size_mae"] != pytest.approx(found[0]["size_mae"], rel=1e-4)


def test_settings_by_the_names_of_layers_are_those_of_the_keys() -> None:
    assert renamed({"1st-head": "mse", "b": "mae"}, ["a", "b"], ["1st-head", "2nd-head"]) == {"a": "mse", "b": "mae"}
    assert renamed({"a": "mse"}, ["a", "b"], ["b", "a"]) == {"a": "mse"}, "the keys come first"
    assert renamed({"nobody": "mse"}, ["a", "b"], ["c", "d"]) == {"nobody": "mse"}, "which is refused by its name"


def test_never_compiled_model_gets_defaults_that_are_said(tmp_path: Path) -> None:
    model = edited(projects.fitted() / "mlp" / "initial.keras", tmp_path / "bare.keras")
    assert scaffold(model, "-o", tmp_path / "bare")[0] == 0
    assert "It was not compiled" in (tmp_path / "bare" / "README.md").read_text()
    assert "torch.optim.Adam" in (tmp_path / "bare" / "train.py").read_text()
    code, _ = scaffold(model, "-o", tmp_path / "chosen", "--optimizer", "lion", "--loss", "poisson", "--metrics", "mse")
    assert code == 0
    assert "class Lion" in (tmp_path / "chosen" / "optim.py").read_text()


def test_losses_and_metrics_by_output_for_a_model_that_was_never_compiled(tmp_path: Path) -> None:
    home = projects.fitted() / "two"
    model = edited(home / "initial.keras", tmp_path / "bare.keras")
    losses = ("--loss", "digit=sparse_categorical_crossentropy", "--loss", "dark=mae")
    metrics = ("--metrics", "digit=accuracy", "--metrics", "dark=mse,mae")
    assert scaffold(model, "-o", tmp_path / "two", *losses, *metrics)[0] == 0
    projects.run(tmp_path / "two", "train.py", "--data", home / "data", "--epochs", 1, "--output", "run")
    (logs,) = projects.history(tmp_path / "two" / "run")
    assert logs.keys() == {"loss", "digit_accuracy", "dark_mse", "dark_mae"}
    assert logs["dark_mse"] != pytest.approx(logs["dark_mae"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--loss", "digit=mse", "--loss", "drak=mse"), ["'drak'", "dark, digit"]),
        (("--metrics", "drak=mse"), ["--metrics 'drak'", "dark, digit"]),
        (("--loss", "mse", "--loss", "mae"), ["--loss kind=NAME --loss age=NAME"]),
        (("--loss", "dark=mse", "--loss", "dark=mae"), ["cannot be read"]),
        (("--loss", "dark=msee"), ["--loss 'msee'"]),
    ],
)
def test_losses_of_outputs_that_are_none_are_named(tmp_path: Path, options: tuple[str, ...], words: list[str]) -> None:
    code, said = scaffold(projects.fitted() / "two" / "initial.keras", "-o", tmp_path / "out", *options)
    assert code == 2
    assert not (tmp_path / "out").exists()
    for word in words:
        assert word in said


@pytest.mark.parametrize("trainer", ["plain", "lightning"])
def test_bf16_computes_under_autocast_and_keeps_weights_whole(project: Path, tmp_path: Path, trainer: str) -> None:
    """As `mixed_bfloat16` of a file does, for which it is the default."""
    home = projects.fitted() / "mlp"
    with zipfile.ZipFile(home / "initial.keras") as source, zipfile.ZipFile(tmp_path / "mixed.keras", "w") as copy:
        for name in source.namelist():
            content = source.read(name)
            mixed = content.replace(b'"config": {"name": "float32"}', b'"config": {"name": "mixed_bfloat16"}')
            copy.writestr(name, mixed if name == "config.json" else content)
    migrate.scaffold(tmp_path / "mixed.keras", tmp_path / "mixed", trainer=trainer, name="Mixed")
    options = ("--epochs", 2, "--validation-split", 0.2, "--learning-rate", 0.01, "--output", "run")
    projects.run(tmp_path / "mixed", "train.py", "--data", home / "data", *options)
    found, whole = projects.history(tmp_path / "mixed" / "run"), projects.history(project / "runs" / "digits")
    assert found[1]["loss"] < found[0]["loss"]
    assert found[1]["loss"] == pytest.approx(whole[1]["loss"], rel=0.02)
    assert found[1]["loss"] != pytest.approx(whole[1]["loss"], rel=1e-6), "computed in float32"
    assert {array.dtype.name for array in projects.weights(tmp_path / "mixed" / "run").values()} == {"float32"}
    assert "| precision | `mixed_bfloat16`" in (tmp_path / "mixed" / "README.md").read_text()


def test_class_of_the_model_has_a_name_of_its_own(tmp_path: Path) -> None:
    """A file called adam.keras, trained with Adam."""
    model = tmp_path / "adam.keras"
    shutil.copy(projects.fitted() / "mlp" / "initial.keras", model)
    assert scaffold(model, "-o", tmp_path / "adam")[0] == 0
    text = (tmp_path / "adam" / "train.py").read_text()
    assert "model = AdamModel()" in text
    code, said = scaffold(model, "-o", tmp_path / "out", "--name", "Config")
    assert code == 2
    assert "such as ConfigModel" in said


def test_sample_weights_multiply_the_loss(project: Path, tmp_path: Path) -> None:
    migrate.scaffold(projects.fitted() / "mlp" / "initial.keras", tmp_path / "weighted", sample_weights=True)
    data = tmp_path / "data"
    shutil.copytree(projects.data_of("mlp"), data)
    np.save(data / "sample_weight.npy", np.full(300, 0.25, "float32"))
    weighted, whole = (
        json.loads(said[said.index("{") : said.index("}") + 1])["loss"]
        for said in (
            projects.run(tmp_path / "weighted", "evaluate.py", "--data", data),
            projects.run(project, "evaluate.py", "--data", projects.data_of("mlp")),
        )
    )
    assert weighted == pytest.approx(0.25 * whole, rel=1e-5)


def custom_loss(tmp_path: Path) -> Path:
    loss = {"module": "builtins", "class_name": "function", "config": "my_loss", "registered_name": "mine>my_loss"}
    return edited(projects.fitted() / "mlp" / "initial.keras", tmp_path / "custom.keras", loss=loss)


def test_unknown_loss_is_named_and_nothing_written(tmp_path: Path) -> None:
    code, said = scaffold(custom_loss(tmp_path), "-o", tmp_path / "out")
    assert code == 2
    assert "my_loss" in said
    assert "what to do" in said
    assert not (tmp_path / "out").exists()


def test_unknown_loss_becomes_a_marked_place(tmp_path: Path) -> None:
    assert scaffold(custom_loss(tmp_path), "-o", tmp_path / "out", "--allow-todo")[0] == 0
    said = projects.run(tmp_path / "out", "train.py", "--data", projects.data_of("mlp"), code=1)
    assert "NotImplementedError: TODO: the loss 'my_loss'" in said


@pytest.mark.parametrize(
    ("option", "model"),
    [
        (("--callback", "LearningRateScheduler()"), "mlp"),
        (("--callback", "LambdaCallback()"), "mlp"),
        (("--callback", "SwapEMAWeights()"), "mlp"),
        (("--callback", "ReduceLROnPlateau()"), "cnn"),  # which follows a schedule
        (("--callback", "EarlyStopping(patient=3)"), "mlp"),
        (("--callback", "EarlyStopping(monitor='val_acc')"), "mlp"),
        (("--loss", "dice"), "tagger"),  # a mask reaches the output, and it has no value for each step
        ((), "late"),  # a mask that is made by a layer with weights
        (("--class-weight", "10=2"), "mlp"),
        (("--class-weight", "1=2", "--sample-weights"), "mlp"),
    ],
)
def test_what_fit_cannot_be_told_is_named(tmp_path: Path, option: tuple[str, ...], model: str) -> None:
    code, said = scaffold(projects.fitted() / model / "initial.keras", "-o", tmp_path / "out", *option)
    assert code == 2
    assert "what to do" in said
    assert not (tmp_path / "out").exists()


def test_own_callbacks_become_marked_places(tmp_path: Path) -> None:
    options = ("--callback", "LearningRateScheduler()", "--callback", "Mine()", "--allow-todo")
    assert scaffold(projects.fitted() / "mlp" / "initial.keras", "-o", tmp_path / "out", *options)[0] == 0
    text = (tmp_path / "out" / "train.py").read_text()
    assert "TODO: the callback 'Mine'" in text
    assert "def schedule(epoch: int, rate: float) -> float:" in text
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length=120", "train.py"]
    assert subprocess.run(ruff, check=False, cwd=tmp_path / "out").returncode == 0


def test_strings_of_a_file_stay_strings(tmp_path: Path) -> None:
    name = '"); import os; os.abort() #\n__OPTIMIZER__'
    metric = {
        "class_name": "CategoricalAccuracy",
        "module": "keras.metrics",
        "config": {"name": name},
        "registered_name": None,
    }
    loss = {"class_name": "CategoricalCrossentropy", "module": "keras.losses", "config": {}, "registered_name": None}
    model = edited(projects.fitted() / "mlp" / "initial.keras", tmp_path / "evil.keras", loss=loss, metrics=[metric])
    migrate.scaffold(model, tmp_path / "evil")
    text = (tmp_path / "evil" / "train.py").read_text()
    compile(text, "train.py", "exec")
    assert not [line for line in text.splitlines() if line.strip().startswith("import os")]


TABLES = {
    "losses": (typed.LOSSES, LOSS_MAKERS), "optimizers": (typed.OPTIMIZERS, optimizer_classes.MAKERS),
    "metrics": (typed.METRICS, METRIC_MAKERS), "callbacks": (typed.CALLBACKS, callbacks.MAKERS),
}  # fmt: skip


@pytest.mark.parametrize("what", TABLES)
def test_names_that_are_shown_are_those_that_are_known(what: str) -> None:
    shown, known = TABLES[what]
    assert {snake(name) for name in shown} == known.keys()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"callbacks": [{"class_name": "EarlyStopping", "config": {"patienc": 3}}]}, ["'patienc'", "write 'patience'"]),
        ({"callbacks": [{"class_name": "EarlyStoping"}]}, ["--callback", "write 'EarlyStopping'", "CSVLogger"]),
        ({"loss": "binary_crosentropy"}, ["--loss", "write 'BinaryCrossentropy'", "MeanSquaredError"]),
        ({"optimizer": "adm"}, ["--optimizer", "write 'Adam'", "Lion"]),
        ({"metrics": ("mse", "acuracy")}, ["--metrics 'acuracy'", "write 'Accuracy'", "AUC"]),
        ({"loss": "nonsense"}, ["--allow-todo"]),
    ],
)
def test_misspelt_names_are_told_with_those_there_are(options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        typed.check_typed(Options(**options))
    for word in ("expected:", "found:", "what to do:", *words):
        assert word in str(error.value)
    assert "damaged" not in str(error.value)


def test_names_and_arguments_that_exist_pass() -> None:
    called = [{"class_name": "EarlyStopping", "config": {"patience": 3, "verbose": 1}}, {"class_name": "History"}]
    typed.check_typed(Options(optimizer="adam_w", loss="mse", metrics=("acc", "AUC"), callbacks=tuple(called)))
    typed.check_typed(Options(loss="mine", callbacks=({"class_name": "Mine"},), allow_todo=True))


def test_the_next_step_is_said_unless_quiet(tmp_path: Path) -> None:
    model = projects.fitted() / "mlp" / "initial.keras"
    assert f"next: cd {tmp_path / 'loud'} && pip install" in scaffold(model, "-o", tmp_path / "loud")[1]
    assert scaffold(model, "-o", tmp_path / "quiet", "--quiet") == (0, "")


@pytest.mark.parametrize(
    "options", [["--trainer", "fabric"], ["--epochs", "0"], ["--data", "tapes"], ["--optimizer", "nobody"]]
)
def test_options_without_sense_are_refused(tmp_path: Path, options: list[str]) -> None:
    code, _ = scaffold(projects.fitted() / "mlp" / "initial.keras", "-o", tmp_path / "out", *options)
    assert code == 2
    assert not (tmp_path / "out").exists()


def test_existing_folder_is_kept(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError):
        migrate.scaffold(projects.fitted() / "mlp" / "initial.keras", tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").exists()
