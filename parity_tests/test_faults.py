"""The harness's own proof: what is planted is seen, by the right check, and the layer named is the one that was damaged."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from migrate.verify import trainer
from migrate.verify.bundle import Bundle
from migrate.verify.report import Report
from migrate.verify.run import Wanted, verify_project
from parity_tests.faults import FAULTS, Fault
from parity_tests.subjects import Subject

FLOAT64 = Wanted(dtypes=("float64",))
# Training is the slowest: a fault that shows before it is not trained with. What only training shows gets all checks.
CHECKS_FOR = dict.fromkeys(("structure", "forward", "layers"), ("structure", "forward", "layers"))


def verified(subject: Subject, folder: Path, bundle: Bundle) -> Report:
    return verify_project(subject.model, folder, bundle, FLOAT64)


@pytest.mark.parametrize("fault", [pytest.param(f, id=f"{f.subject}: {f.name}") for f in FAULTS])
def test_fault(fault: Fault, subjects: Mapping[str, Subject], tmp_path: Path) -> None:
    subject, folder = subjects[fault.subject], tmp_path / "project"
    shutil.copytree(subject.project, folder)
    bundle = Bundle(subject.bundle.folder)
    fault.plant(folder, bundle)
    report = verify_project(subject.model, folder, bundle, Wanted(CHECKS_FOR.get(fault.check, ()), ("float64",)))
    failed = {check.name: check for check in report.checks if not check.passed}
    assert fault.check in failed, report.to_json()
    if fault.check == "layers":
        assert report.first_divergent_layer == fault.layer, report.to_json()
    elif fault.layer:
        assert fault.layer in {finding.layer for finding in failed[fault.check].failed}, report.to_json()
    if fault.check in ("training", "gradients"):
        assert set(failed) <= {"training", "gradients"}, "what only training shows must not be blamed on anything else"
    assert not report.written


def test_there_are_thirty_kinds() -> None:
    assert len({fault.name for fault in FAULTS}) >= 30


@pytest.mark.parametrize("name", ["cnn", "rnn", "two", "decoder", "keyed"])
def test_nothing_planted_nothing_seen(name: str, subjects: Mapping[str, Subject], tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(subjects[name].project, folder)
    report = verify_project(subjects[name].model, folder, subjects[name].bundle, Wanted())
    assert report.passed, report.to_json()
    assert all(check.findings for check in report.checks if check.name == "training")


def test_dropped_regularizer(subjects: Mapping[str, Subject], monkeypatch: pytest.MonkeyPatch) -> None:
    subject = subjects["cnn"]
    monkeypatch.setattr(trainer, "penalties", lambda *given: [])
    report = verified(subject, subject.project, subject.bundle)
    assert [check.name for check in report.checks if not check.passed] == ["training"]
