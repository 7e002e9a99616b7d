"""Beyond one process: two compute what one does; what a killed run had written, another goes on with."""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import pytest

import migrate
from parity_tests import projects

SHARDING = Path(__file__).with_name("sharding.py")
SAME = ("--precision", "float64", "--validation-split", projects.SPLIT)


@pytest.fixture(scope="module", params=[True, pytest.param(False, marks=pytest.mark.sweep)], ids=["exact", "plain"])
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with BatchNorm and a schedule; 240 samples make batches of 32, the last one of 16."""
    folder = tmp_path_factory.mktemp("distributed") / "cnn"
    migrate.scaffold(projects.fitted() / "cnn" / "initial.keras", folder, exact=request.param)
    return folder


def train(project: Path, output: str, epochs: int, *options: object, processes: int = 1) -> Path:
    arguments = ("--data", projects.data_of("cnn"), "--output", output, "--epochs", epochs, *options)
    projects.run(project, "train.py", *arguments, processes=processes)
    return project / output


def trained_by_one(project: Path) -> Path:
    return project / "one" if (project / "one").exists() else train(project, "one", 2, *SAME)


@pytest.mark.parametrize("sharded", [False, True], ids=["DDP", "FSDP"])
def test_two_processes_are_one_and_their_checkpoint_resumes_in_one(project: Path, sharded: bool) -> None:
    one, output = trained_by_one(project), "sharded" if sharded else "two"
    start = (SHARDING, "train.py") if sharded else ("train.py",)
    options = ("--data", projects.data_of("cnn"), "--output", output, *SAME)
    said = projects.run(project, *start, *options, "--epochs", 1, processes=2)
    assert ("sharded: [(4, 1, 3, 3), (4,)," in said) == sharded
    two = train(project, output, 2, *SAME, "--resume")
    for alone, shared in zip(projects.history(one), projects.history(two), strict=True):
        assert alone.keys() == shared.keys()
        assert all(abs(alone[key] - shared[key]) <= 1e-12 * abs(alone[key]) for key in alone)
    assert projects.apart(projects.weights(two), projects.weights(one)) < 1e-10


def test_statistics_of_each_process_alone_would_be_seen(project: Path) -> None:
    text = (project / "train.py").read_text()
    (project / "train.py").write_text(text.replace("synchronized(model) if world > 1 else model", "model"))
    try:
        one, two = trained_by_one(project), train(project, "alone", 1, *SAME, processes=2)
    finally:
        (project / "train.py").write_text(text)
    assert abs(projects.history(two)[0]["loss"] - projects.history(one)[0]["loss"]) > 1e-6


def test_steps_that_count_are_counted_over_all_processes(tmp_path: Path) -> None:
    """A mask leaves each process another number of steps, and each squares the gradients of its own tokens."""
    home = projects.fitted() / "tagger"
    migrate.scaffold(home / "initial.keras", tmp_path / "tagger", exact=True)
    expected = json.loads((home / "history.json").read_text())["loss"]
    options = ("--data", home / "data", *SAME, "--no-shuffle", "--epochs")
    projects.run(tmp_path / "tagger", "train.py", *options, 2, "--output", "run", processes=2)
    assert [logs["loss"] for logs in projects.history(tmp_path / "tagger" / "run")] == pytest.approx(
        expected, rel=1e-10
    )
    text = (tmp_path / "tagger" / "train.py").read_text()
    wrong = text.replace("kept = mask.sum()", "kept = torch.tensor(mask.numel())")
    assert wrong != text
    (tmp_path / "tagger" / "train.py").write_text(wrong)
    projects.run(tmp_path / "tagger", "train.py", *options, 1, "--output", "wrong", processes=2)
    assert abs(projects.history(tmp_path / "tagger" / "wrong")[0]["loss"] / expected[0] - 1) > 1e-4


def killed_and_resumed(project: Path, place: random.Random, whole: Path, number: int) -> None:
    """SIGKILL somewhere in the middle; the resumed run ends with the same bits."""
    epochs, output = len(projects.history(whole)), f"killed{number}"
    options = ("--data", projects.data_of("cnn"), "--output", output, "--epochs", epochs, "--validation-split", 0.2)
    process = projects.start(project, "train.py", *options)
    written, wanted = project / output / "checkpoint.pt", place.randrange(1, epochs - 1)
    while process.poll() is None and not (written.exists() and len(projects.history(project / output)) >= wanted):
        time.sleep(0.005)
    time.sleep(place.random() * 0.1)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"
    projects.run(project, "train.py", *options, "--resume")
    assert (project / output / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    assert projects.history(project / output) == projects.history(whole)


@pytest.mark.parametrize("number", [0, 1, *(pytest.param(n, marks=pytest.mark.sweep) for n in range(2, 10))])
def test_killed_run_resumes_to_the_same_bits(project: Path, number: int) -> None:
    whole = project / "whole"
    if not whole.exists():
        train(project, "whole", 12, "--validation-split", 0.2)
    killed_and_resumed(project, random.Random(number), whole, number)
