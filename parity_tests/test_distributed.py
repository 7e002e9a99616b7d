"""Beyond one process: two compute what one does; what a killed run had written, another goes on with."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

import migrate
from parity_tests import projects

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


def test_two_processes_are_one_and_their_checkpoint_resumes_in_one(project: Path) -> None:
    one = train(project, "one", 2, *SAME)
    train(project, "two", 1, *SAME, processes=2)
    two = train(project, "two", 2, *SAME, "--resume")
    for alone, shared in zip(projects.history(one), projects.history(two), strict=True):
        assert alone.keys() == shared.keys()
        assert all(abs(alone[key] - shared[key]) <= 1e-12 * abs(alone[key]) for key in alone)
    assert projects.apart(projects.weights(two), projects.weights(one)) < 1e-10


def test_statistics_of_each_process_alone_would_be_seen(project: Path) -> None:
    text = (project / "train.py").read_text()
    (project / "train.py").write_text(text.replace("synchronized(model) if world > 1 else model", "model"))
    try:
        one, two = project / "one", train(project, "alone", 1, *SAME, processes=2)
    finally:
        (project / "train.py").write_text(text)
    assert abs(projects.history(two)[0]["loss"] - projects.history(one)[0]["loss"]) > 1e-6


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
