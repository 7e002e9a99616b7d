"""`tf2torch verify` as its users meet it: exit codes, bundles, edits of model.py, evidence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import migrate
from migrate.cli import main
from migrate.loading import read_migration
from migrate.pipeline import convert_file
from migrate.verify.bundle import DOCUMENT, Bundle
from migrate.verify.criterion import DEVIATIONS, compare_float32, compare_float64
from migrate.verify.emitted import load_emitted
from migrate.verify.gradients import slope
from migrate.verify.modes import check_autocast
from migrate.verify.recorder import Event
from migrate.verify.run import Wanted, verify_project
from migrate.verify.sites import Site, SiteMap, moved_lines
from parity_tests.subjects import Subject

FLOAT64 = Wanted(dtypes=("float64",))
BLOCKED = "import sys, runpy\nfor name in {names}: sys.modules[name] = None\n"


@pytest.fixture
def copy(subjects: Mapping[str, Subject], tmp_path: Path) -> Subject:
    """A subject whose project may be damaged."""
    subject = subjects["two"]
    shutil.copytree(subject.project, tmp_path / "project")
    return Subject(subject.model, Bundle(subject.bundle.folder), tmp_path / "project")


def edit(subject: Subject, old: str, new: str) -> None:
    path = subject.project / "model.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def run(subject: Subject, *options: str) -> tuple[int, str]:
    words = ["verify", str(subject.model), str(subject.project), "--reference", str(subject.bundle.folder), *options]
    done = CliRunner().invoke(main, words)
    return done.exit_code, done.output


def test_exit_codes(copy: Subject, tmp_path: Path) -> None:
    code, output = run(
        copy, "--dtype", "float64", "--json", str(tmp_path / "r.json"), "--html", str(tmp_path / "r.html")
    )
    assert code == 0 and "PASSED" in output, output
    assert json.loads((tmp_path / "r.json").read_text())["passed"] is True
    assert (tmp_path / "r.html").stat().st_size > 10_000
    edit(copy, "a - b", "b - a")
    code, output = run(copy, "--dtype", "float64", "--checks", "layers")
    assert code == 1 and "minus (Subtract) at model.py line" in output and "b - a" in output, output


def test_the_edited_line_is_told(subjects: Mapping[str, Subject], tmp_path: Path) -> None:
    """Of a fault that no output shows: the momentum of BatchNorm stands in a line that belongs to no layer."""
    subject = subjects["cnn"]
    shutil.copytree(subject.project, tmp_path / "project")
    damaged = Subject(subject.model, subject.bundle, tmp_path / "project")
    edit(damaged, "momentum=0.01", "momentum=0.1")
    page = tmp_path / "r.html"
    code, output = run(damaged, "--dtype", "float64", "--checks", "gradients", "--html", str(page))
    assert code == 1, output
    for text in (output, page.read_text()):
        assert "model.py was edited at line" in text and "momentum=0.1)" in text


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--checks", "numbers"), "there is no check 'numbers'"),
        (("--reference", "nowhere"), "is not a reference bundle"),
        (("--device", "cuda"), "there is no CUDA device"),
    ],
)
def test_what_cannot_be_done(copy: Subject, options: tuple[str, ...], says: str) -> None:
    if "cuda" in options and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    code, output = run(copy, *options)
    assert code == 2 and says in output and "what to do" in output, output


def test_another_file_is_refused(copy: Subject, subjects: Mapping[str, Subject]) -> None:
    other = Subject(subjects["rnn"].model, copy.bundle, copy.project)
    code, output = run(other)
    assert code == 2 and "was made from another file" in output, output


def test_lines_are_found_again_after_an_edit(copy: Subject) -> None:
    """Comments and new lines move everything; the damaged line is still told."""
    edit(copy, "        x = torch.cat", "        # a comment\n        # of two lines\n        x = torch.cat")
    assert verify_project(copy.model, copy.project, copy.bundle, FLOAT64).passed
    edit(copy, "softmax(dim=1)", "softmax(dim=-1)")
    report = verify_project(copy.model, copy.project, copy.bundle, FLOAT64)
    assert report.first_divergent_layer == "weights"
    assert report.divergent is not None and report.divergent.place is not None
    assert "softmax(dim=-1)" in report.divergent.place.text
    assert any("model.py is not as convert wrote it" in note for check in report.checks for note in check.notes)


def test_another_function_beside_one_that_is_no_layer(copy: Subject) -> None:
    """F.gelu for F.silu in a line that pads, too: gelu stands for the layer, as its sizes say; else the last one."""
    sites = SiteMap(copy.project, read_migration(copy.project))
    site = Site("activation", (0,), 0, (Event("", 0, 20, "silu"), 0))
    sites.sites = [site]
    gelu, pad = ((Event("", 0, 20, name), 0) for name in ("gelu", "pad"))
    assert sites.resolved([gelu, pad], lambda site, key: key == gelu) == {site: gelu}
    assert sites.resolved([gelu, pad]) == {site: pad}


def test_moved_lines() -> None:
    assert moved_lines([1, 2, 3, 4], [1, 9, 9, 2, 7, 4]) == {1: 1, 2: 4, 3: 5, 4: 6}
    assert moved_lines([1, 2, 3], [1, 3]) == {1: 1, 3: 2}


def test_model_that_raises(copy: Subject) -> None:
    edit(copy, "dim=2)", "dim=1)")
    report = verify_project(copy.model, copy.project, copy.bundle, FLOAT64)
    assert report.first_divergent_layer == "join"
    assert report.divergent is not None and report.divergent.own is not None and report.divergent.place is not None
    assert "RuntimeError" in report.divergent.own.why and "torch.cat" in report.divergent.place.text


def test_removed_layer(copy: Subject) -> None:
    edit(copy, "        self.norm = nn.LayerNorm(6, eps=1e-3)\n", "")
    report = verify_project(copy.model, copy.project, copy.bundle, FLOAT64)
    assert [check.name for check in report.checks if not check.passed] == ["structure"]
    assert report.checks[0].failed[0].layer == "norm"


def test_damaged_bundle(copy: Subject, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(copy.bundle.folder, folder)
    data = bytearray((folder / "forward.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "forward.safetensors").write_bytes(bytes(data))
    code, output = run(Subject(copy.model, Bundle(folder), copy.project))
    assert code == 2 and "forward.safetensors" in output


def test_a_bundle_without_training_is_no_failure(copy: Subject, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(copy.bundle.folder, folder)
    document = json.loads((folder / DOCUMENT).read_text())
    document |= {"training": None, "checks": document["checks"][:-1], "notes": ["the original cannot be trained"]}
    (folder / DOCUMENT).write_text(json.dumps(document))
    code, output = run(Subject(copy.model, Bundle(folder), copy.project), "--dtype", "float64")
    assert code == 0 and "not checked: training" in output and "the original cannot be trained" in output


def test_without_the_originals_framework(copy: Subject) -> None:
    """Verified by a bundle, then replayed by the project itself: neither needs TensorFlow, the second nothing of ours."""
    words = ["tf2torch", "verify", str(copy.model), str(copy.project), "--reference", str(copy.bundle.folder)]
    words += ["--dtype", "float64"]
    code = (
        BLOCKED.format(names=["tensorflow", "keras", "tf_keras"]) + f"sys.argv = {words}\nrunpy.run_module('migrate')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "PASSED" in done.stdout, done.stdout + done.stderr
    assert (
        sum((copy.project / name).stat().st_size for name in ("test_parity.py", "reference.safetensors")) <= 2_000_000
    )
    assert replayed(copy.project).returncode == 0
    edit(copy, "eps=1e-3", "eps=1e-4")
    assert "off by" in replayed(copy.project).stderr


def replayed(project: Path) -> subprocess.CompletedProcess[str]:
    """test_parity.py, where nothing but torch, numpy and safetensors can be imported."""
    blocked = ["tensorflow", "keras", "tf_keras", "migrate", "converters", "h5py", "click", "rich"]
    code = (
        BLOCKED.format(names=blocked) + "sys.path.insert(0, '.')\nrunpy.run_path('test_parity.py', run_name='__main__')"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=False)


def test_evidence_is_written_once(copy: Subject) -> None:
    report = verify_project(copy.model, copy.project, copy.bundle, FLOAT64)
    assert [Path(name).name for name in report.written] == ["test_parity.py", "reference.safetensors"]
    assert not verify_project(copy.model, copy.project, copy.bundle, FLOAT64).written


def test_exact_has_no_drift(subjects: Mapping[str, Subject], tmp_path: Path) -> None:
    """The default project drifts in training for known causes, which are measured; that of --exact does not."""
    subject = subjects["cnn"]
    report = verify_project(subject.model, subject.project, subject.bundle, Wanted(("training",), ("float64",)))
    assert any("Known causes: BatchNorm" in note for check in report.checks for note in check.notes)
    convert_file(subject.model, tmp_path / "exact", exact=True)
    exact = verify_project(subject.model, tmp_path / "exact", subject.bundle, FLOAT64)
    assert exact.passed, exact.to_json()
    assert not any("BatchNorm" in note for check in exact.checks for note in check.notes)


def test_compiled_and_exported(subjects: Mapping[str, Subject], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the compiler's last stage, which takes long and is PyTorch's own business."""
    subject = subjects["decoder"]
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    report = verify_project(
        subject.model, subject.project, subject.bundle, Wanted(("forward",), ("float32",), compiled=True)
    )
    assert report.passed, report.to_json()
    assert {check.name for check in report.checks} == {"forward", "compile", "export"}


def test_python_api(copy: Subject, tmp_path: Path) -> None:
    report = migrate.verify(copy.model, copy.project, reference=copy.bundle.folder, dtypes=("float64",))
    assert report.passed and len(report.checks) == 5
    assert report.to_html(tmp_path / "report.html").exists()
    assert "PASSED" in str(report)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["cnn", "rnn", "two", "decoder"])
def test_on_a_gpu(name: str, subjects: Mapping[str, Subject]) -> None:
    subject = subjects[name]
    report = verify_project(subject.model, subject.project, subject.bundle, Wanted(device="cuda", compiled=True))
    assert report.passed, report.to_json()
    assert {"autocast", "compile", "export"} <= {check.name for check in report.checks}


# -- the criterion -----------------------------------------------------------------------------------------


def array(*numbers: float) -> Any:
    return np.array(numbers, np.float64)


def test_masks_come_first() -> None:
    assert "NaN" in compare_float64(array(1, np.nan), array(1, 2)).why
    assert "infinities" in compare_float64(array(1, np.inf), array(1, -np.inf)).why
    assert compare_float64(array(1, np.nan, np.inf), array(1, np.nan, np.inf)).passed
    assert "shape" in compare_float64(array(1), array(1, 2)).why
    assert "dtype" in compare_float64(np.array([1]), array(1)).why


def test_worst_element_and_norm() -> None:
    """An error that the largest element hides is seen by the norm of the rest, and the other way round."""
    expected = np.ones(10_000)
    assert not compare_float64(expected + np.eye(1, 10_000)[0] * 2e-10, expected).passed
    small = np.concatenate([[1e3], np.full(10_000, 1e-3)])
    off = small + np.concatenate([[0], np.full(10_000, 5e-8)])
    verdict = compare_float64(off, small)
    assert verdict.max_rel < verdict.allowed_rel and not verdict.passed
    assert compare_float64(expected * (1 + 1e-15), expected).passed


def test_float32_is_measured_against_the_original() -> None:
    truth = np.random.default_rng(0).normal(size=1000)
    single = truth.astype(np.float32)
    assert compare_float32(single, single, truth).passed
    assert not compare_float32(single + np.float32(1e-5), single, truth).passed
    noisy = single + np.float32(1e-4) * np.sign(truth).astype(np.float32)
    assert compare_float32(noisy, noisy, truth).passed, "the original is as far off"


def test_float32_out_of_range_in_the_original_alone_is_no_fault() -> None:
    truth = array(1e38, 2.0)
    overflown = np.array([np.inf, 2], np.float32)
    assert compare_float32(truth.astype(np.float32), overflown, truth).passed
    assert "infinities" in compare_float32(overflown, truth.astype(np.float32), truth).why
    assert not compare_float32(np.array([5e37, 2], np.float32), overflown, truth).passed


def test_norms_of_numbers_whose_squares_are_out_of_range() -> None:
    large = array(1e180, -3e179, 2e179)
    assert compare_float64(large * (1 + 1e-15), large).passed
    assert not compare_float64(large * (1 + 1e-8), large).passed


def test_one_element_of_a_sum_may_be_further_off() -> None:
    """One of a gradient may lie where the worst of as many independent errors does, and no further; not one of outputs."""
    truth = np.random.default_rng(0).normal(size=1000)
    single = truth.astype(np.float32)
    norm = compare_float32(single, single, truth).allowed_norm * float(np.abs(truth).max())
    off = single + np.eye(1, 1000, 3)[0].astype(np.float32) * np.float32(4 * norm)
    assert not compare_float32(off, single, truth).passed
    assert compare_float32(off, single, truth, outlier=DEVIATIONS).passed
    off += np.eye(1, 1000, 3)[0].astype(np.float32) * np.float32(4 * norm)
    assert not compare_float32(off, single, truth, outlier=DEVIATIONS).passed


@pytest.mark.parametrize(("found", "passes"), [((1.0, 7.0), True), ((1.0, np.nan), True), ((np.nan, 7.0), False)])
def test_a_gradient_that_the_original_has_not_may_be_any(found: tuple[float, ...], passes: bool) -> None:
    expected = array(1.0, np.nan)
    assert slope("float64", array(*found), expected, expected, 0.0, 0.0).passed is passes


def test_rounding_that_was_measured_is_allowed_in_float32(subjects: Mapping[str, Subject], tmp_path: Path) -> None:
    """A softmax between two large numbers: what float64 does to it allows the same of float32, and that is told."""
    subject = subjects["two"]
    shutil.copytree(subject.bundle.folder, tmp_path / "bundle")
    path = tmp_path / "bundle" / DOCUMENT
    document = json.loads(path.read_text())
    document["sets"][0]["rounding"] = 1e-12
    path.write_text(json.dumps(document))
    wanted = Wanted(checks=("forward",), dtypes=("float32",))
    (check,) = verify_project(subject.model, subject.project, Bundle(path.parent), wanted).checks
    limits = {finding.case: finding.verdict.allowed_rel for finding in check.findings}
    assert limits.pop(document["sets"][0]["name"]) == pytest.approx(1e-12 * 2**29)
    assert max(limits.values()) < 1e-5
    assert [note for note in check.notes if "5.4e-04" in note and document["sets"][0]["name"] in note]


@pytest.mark.parametrize("name", ["cnn", "two"])  # not every CPU has an LSTM in bfloat16
def test_autocast(name: str, subjects: Mapping[str, Subject]) -> None:
    """In bfloat16 the outputs are as far off as its roundings allow; a weight of the wrong sign is seen."""
    subject = subjects[name]
    emitted = load_emitted(subject.project, "float32")
    check = check_autocast(emitted, subject.bundle, "bfloat16")
    assert check.passed and check.findings, [(f.what, f.case, f.verdict) for f in check.failed]
    assert any(finding.verdict.max_rel > 1e-6 for finding in check.findings), "autocast did nothing"
    *_, last = (p for p in emitted.model.parameters() if p.ndim == 2)
    with torch.no_grad():
        last *= -1.0
    assert not check_autocast(emitted, subject.bundle, "bfloat16").passed


def test_readme_says_the_keys_of_a_dict(subjects: Mapping[str, Subject]) -> None:
    text = (subjects["keyed"].project / "README.md").read_text()
    assert "`forward` returns a dict with the keys `" in text
    assert "returns a dict" not in (subjects["cnn"].project / "README.md").read_text()
