"""No false alarm: what is converted passes every check, whatever the seed. Architectures and cases, in the sweep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.pipeline import convert_file
from migrate.reference.capture import Options
from migrate.reference.client import Client
from migrate.verify.run import Wanted, verify_project
from parity_tests.case import Case
from parity_tests.cases import families
from parity_tests.subjects import captured
from parity_tests.test_applications import SIZES, application

SEEDS = (0, 1, 2)
# Outputs without axes, of whole numbers, with no gradient at all; a slope that torch itself has in float32; parts of a
# frozen layer that Keras thaws as it loads; what a frozen wrapper wraps, which Keras does not freeze; gradients that
# rounding moves; shapes that Keras states and does not keep; half precision; gradients that only Keras has not.
IN_EVERY_RUN = (
    "activation: softmax masked",
    "attention: dot, explicit mask of pairs",
    "attention: keras 2, masked: the mask stays",
    "attention: rank 4, axes swapped, scores",
    "core: brain floats",
    "core: half precision",
    "ops: a number on the left",
    "ops: casts of floats",
    "ops: not a number",
    "ops_reduce: sorted",
    "ops_reduce: reduce by max",
    "ops_reduce: reduce bools",
    "legacy: keras 3 hard sigmoid",
    "attention: frozen",
    "wrappers: bidirectional frozen",
)
CASES = [pytest.param(case, id=f"{family}: {case.name}") for family, cases in families().items() for case in cases]
# A large architecture is trained by one step, in the precision in which nothing hides.
LARGE = Options(steps=1, dtypes=("float64",))
NOT_TIED = "Keras loads two copies of what is one layer here, and trains each by itself"


@pytest.fixture(scope="module")
def worker() -> Iterator[Client]:
    with Client() as client:
        yield client


def passes(worker: Client, case: Case, seed: int, folder: Path, options: Options) -> None:
    path = Path(worker.ask(**case.request(seed), folder=str(folder / "model"))["paths"][0])
    bundle = captured(worker, path, folder / "bundle", options)
    convert_file(path, folder / "project")
    report = verify_project(path, folder / "project", bundle, Wanted(dtypes=tuple(options.dtypes)))
    assert report.passed, f"{report}\n{report.to_json()['checks']}"


@pytest.mark.parametrize("case", [case for case in CASES if case.id in IN_EVERY_RUN])
def test_what_once_was_an_alarm(case: Case, worker: Client, tmp_path: Path) -> None:
    passes(worker, case, 0, tmp_path, Options(steps=2))


@pytest.mark.sweep
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("case", CASES)
def test_case_passes(case: Case, seed: int, worker: Client, tmp_path: Path) -> None:
    if case.name == "tied in two models":
        pytest.xfail(NOT_TIED)
    passes(worker, case, seed, tmp_path, Options(steps=2, seed=seed))


@pytest.mark.sweep
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SIZES)
def test_architecture_passes(name: str, seed: int, worker: Client, tmp_path: Path) -> None:
    options = Options(steps=LARGE.steps, dtypes=LARGE.dtypes, seed=seed)
    passes(worker, application(name), seed, tmp_path, options)
