"""Callbacks: those that decide against Keras over random runs, the others by what they leave behind; then all together
in `fit` and in the generated train.py."""

import csv
import json

import pytest
import torch

import migrate
from converters.errors import Unsupported, UserError
from converters.training import build
from converters.training.callbacks import callback
from migrate.scaffold.expressions import local_file, render
from migrate.scaffold.fitting import parsed_callback, parsed_class_weight
from parity_tests import projects
from parity_tests import training_cases as cases
from parity_tests.training import reference


def made(class_name, config=None, **names):
    return build(callback({"class_name": class_name, "config": config or {}}), **names)


@pytest.mark.parametrize("run", range(cases.RUNS))
def test_early_stopping(run):
    model = torch.nn.Linear(1, 1)
    stopping = made("EarlyStopping", cases.stopping(run), model=model)
    last = -1
    for epoch, value in enumerate(cases.monitored(run)):
        with torch.no_grad():
            model.weight.fill_(epoch)
        stopping.epoch_end(epoch, {"val_loss": value})
        if stopping.stop:
            last = epoch
            break
    stopping.end()
    assert [last, stopping.best_epoch] == reference()[f"callbacks/{run}/stop"].tolist()
    assert model.weight.item() == stopping.best_epoch


def rates(run, config):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    plateau = made("ReduceLROnPlateau", config, optimizer=optimizer)
    found = []
    for epoch, value in enumerate(cases.monitored(run)):
        plateau.epoch_end(epoch, {"val_loss": value})
        found.append(optimizer.param_groups[0]["lr"])
    return found


@pytest.mark.parametrize("run", range(cases.RUNS))
def test_reduce_on_plateau(run):
    assert rates(run, cases.plateau(run)) == pytest.approx(reference()[f"callbacks/{run}/rates"].tolist())


def test_sees_another_patience():
    other = [
        rates(run, {**cases.plateau(run), "patience": cases.plateau(run)["patience"] + 1}) for run in range(cases.RUNS)
    ]
    assert other != [pytest.approx(reference()[f"callbacks/{run}/rates"].tolist()) for run in range(cases.RUNS)]


def test_checkpoint(tmp_path):
    model = torch.nn.Linear(1, 1)
    config = {
        "filepath": "m_{epoch:02d}_{val_loss:.1f}.weights.h5",
        "save_best_only": True,
        "save_weights_only": True,
    }
    saving = made("ModelCheckpoint", config, model=model, **{"config.output": tmp_path})
    for epoch, value in enumerate([0.5, 0.7, 0.3]):
        saving.epoch_end(epoch, {"val_loss": value})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m_01_0.5.safetensors", "m_03_0.3.safetensors"]


def test_csv(tmp_path):
    def logger():
        return made("CSVLogger", {"filename": "logs/log.csv"}, **{"config.output": tmp_path})

    (tmp_path / "logs").mkdir()
    file = tmp_path / "logs" / "log.csv"
    file.write_text("of another run")
    first = logger()
    first.epoch_end(0, {"val_loss": 0.5, "accuracy": 1.0})
    state = first.state_dict()
    first.epoch_end(1, {"val_loss": 9.0, "accuracy": 9.0})  # killed before its checkpoint
    second = logger()
    second.load_state_dict(state)
    second.epoch_end(1, {"val_loss": 0.25, "accuracy": 0.5})
    assert file.read_text().splitlines() == ["epoch,accuracy,val_loss", "0,1.0,0.5", "1,0.5,0.25"]


def test_terminate_on_nan():
    stopping = made("TerminateOnNaN")
    stopping.batch_end(0, {"loss": 1.0})
    assert not stopping.stop
    stopping.batch_end(1, {"loss": float("nan")})
    assert stopping.stop


def test_swap():
    from converters.training.local.optim import Average

    p = torch.nn.Parameter(torch.ones(1))
    average = Average([p])
    average.averages[0].fill_(5.0)
    swap = made("SwapEMAWeights", {"swap_on_epoch": True}, average=average)
    swap.validation_begin()
    assert p.item() == 5
    swap.validation_end()
    assert p.item() == 1
    swap.epoch_end(0, {})
    assert p.item() == 5
    swap.epoch_begin(1)
    assert p.item() == 1


def test_scheduler():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    made("LearningRateScheduler", {}, optimizer=optimizer, schedule=lambda epoch, rate: rate / (epoch + 1)).epoch_begin(
        1
    )
    assert optimizer.param_groups[0]["lr"] == 0.25


def test_directions_and_text():
    assert render(callback({"class_name": "EarlyStopping", "config": {}}).expression) == "EarlyStopping(model)"
    piece = callback({"class_name": "EarlyStopping", "config": {"monitor": "val_accuracy", "patience": 3}})
    assert render(piece.expression) == 'EarlyStopping(model, monitor="val_accuracy", mode="max", patience=3)'
    compile(local_file("callbacks", [piece]), "callbacks.py", "exec")
    assert callback("History") is None
    assert callback({"class_name": "BackupAndRestore", "config": {"backup_dir": "there"}}) is None


@pytest.mark.parametrize(
    "stated",
    [
        {"class_name": "LambdaCallback", "config": {}},
        {"class_name": "Mine", "config": {}, "module": "my", "registered_name": "my>Mine"},
        {"class_name": "EarlyStopping", "config": {"monitor": "val_wellness"}},
    ],
)
def test_refused(stated):
    with pytest.raises(Unsupported) as refusal:
        callback(stated)
    assert refusal.value.way_out


# -- in a whole training -----------------------------------------------------------------------------------

SAME = ("--precision", "float64", "--no-shuffle", "--validation-split", projects.SPLIT)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The project, trained at once (run) and in two parts (parts); and one without class weights (unweighted)."""
    home, folder = projects.fitted() / "called", tmp_path_factory.mktemp("called")
    migrate.scaffold(home / "initial.keras", folder / "project", exact=True, **projects.CALLED)
    migrate.scaffold(home / "initial.keras", folder / "unweighted", exact=True)
    options = ("--data", home / "data", *SAME)
    running = [
        projects.start(folder / "project", "train.py", "--output", "run", "--epochs", 20, *options),
        projects.start(folder / "project", "train.py", "--output", "parts", "--epochs", 9, *options),
        projects.start(folder / "unweighted", "train.py", "--output", "run", "--epochs", 1, *options),
    ]
    for process in running:
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error[-3000:]
    projects.run(folder / "project", "train.py", "--output", "parts", "--epochs", 20, "--resume", *options)
    return folder


def test_fit_with_callbacks_and_class_weights(trained):
    home, run = projects.fitted() / "called", trained / "project" / "run"
    expected, found = json.loads((home / "history.json").read_text()), projects.history(run)
    assert len(found) == len(expected["loss"]) < 20  # it was stopped
    assert len(set(expected["learning_rate"])) > 2
    for key, values in expected.items():
        limit = 1e-6 if "accuracy" in key else 1e-10  # Keras counts metrics in float32
        assert [logs[key] for logs in found] == pytest.approx(values, rel=limit), key
    final = projects.keras_weights(trained / "project", home / "final.keras")
    assert projects.apart(projects.weights(run), final) < 1e-10
    last = torch.load(run / "checkpoint.pt", weights_only=True)["model"]  # before the best ones were restored
    last = {name.removeprefix("model."): tensor.numpy() for name, tensor in last.items()}
    assert projects.apart(last, final) > 1e-3


def test_files_of_callbacks(trained):
    ours, keras = (list(csv.reader(file.open())) for file in (
        trained / "project" / "run" / "log.csv", projects.fitted() / "called" / "log.csv"
    ))  # fmt: skip
    assert ours[0] == keras[0]
    for row, expected in zip(ours[1:], keras[1:], strict=True):
        assert list(map(float, row)) == pytest.approx(list(map(float, expected)), rel=1e-6)
    assert (trained / "project" / "run" / "best.safetensors").exists()


def test_stopped_and_resumed_run_ends_with_the_same_bits(trained):
    for name in ("weights.safetensors", "best.safetensors", "log.csv", "history.json"):
        whole, parts = ((trained / "project" / run / name).read_bytes() for run in ("run", "parts"))
        assert whole == parts, name


def test_class_weights_are_seen(trained):
    with_them, without = (projects.history(trained / name / "run")[0] for name in ("project", "unweighted"))
    assert abs(with_them["loss"] - without["loss"]) > 1e-2


def test_callbacks_are_read_as_data():
    stated = parsed_callback(
        "keras.callbacks.EarlyStopping(monitor='loss', min_delta=-1e-3, restore_best_weights=True)"
    )
    assert stated["config"] == {"monitor": "loss", "min_delta": -1e-3, "restore_best_weights": True}
    assert parsed_callback("TerminateOnNaN") == {"class_name": "TerminateOnNaN", "config": {}}
    assert parsed_class_weight("0=1.0, 1=2.5") == {0: 1.0, 1: 2.5}
    for text in ("EarlyStopping(patience=open('x'))", "EarlyStopping('loss')", "f()()", "(", "EarlyStopping(**{})"):
        with pytest.raises(UserError):
            parsed_callback(text)
    with pytest.raises(UserError):
        parsed_class_weight("0:1")
