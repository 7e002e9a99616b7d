"""Callbacks: those that decide against Keras over random runs, the others by what they leave behind."""

import pytest
import torch

from converters.errors import Unsupported
from converters.training import build
from converters.training.callbacks import callback
from migrate.scaffold.expressions import local_file, render
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
        "filepath": str(tmp_path / "m_{epoch:02d}_{val_loss:.1f}.weights.h5"),
        "save_best_only": True,
        "save_weights_only": True,
    }
    saving = made("ModelCheckpoint", config, model=model)
    for epoch, value in enumerate([0.5, 0.7, 0.3]):
        saving.epoch_end(epoch, {"val_loss": value})
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m_01_0.5.pt", "m_03_0.3.pt"]


def test_csv(tmp_path):
    logger = made("CSVLogger", {"filename": str(tmp_path / "log.csv")})
    logger.epoch_end(0, {"loss": 0.5, "accuracy": 1.0})
    logger.epoch_end(1, {"loss": 0.25, "accuracy": 0.5})
    assert (tmp_path / "log.csv").read_text() == "epoch,accuracy,loss\n0,1.0,0.5\n1,0.5,0.25\n"


def test_terminate_on_nan():
    stopping = made("TerminateOnNaN")
    stopping.batch_end(0, {"loss": 1.0})
    assert not stopping.stop
    stopping.batch_end(1, {"loss": float("nan")})
    assert stopping.stop


def test_backup(tmp_path):
    model = torch.nn.Linear(1, 1)
    names = {"model": model, "optimizer": torch.optim.Adam(model.parameters())}
    backup = made("BackupAndRestore", {"backup_dir": str(tmp_path)}, **names)
    assert backup.restore() == 0
    before = model.weight.item()
    backup.epoch_end(4, {})
    torch.nn.init.zeros_(model.weight)
    assert made("BackupAndRestore", {"backup_dir": str(tmp_path)}, **names).restore() == 5
    assert model.weight.item() == before
    backup.end()
    assert not list(tmp_path.iterdir())


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
