"""The report: JSON as the interface has it, a page that works offline, in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from migrate.verify.bundle import Bundle
from migrate.verify.report import LayerRow, Report
from migrate.verify.report.html import page
from migrate.verify.report.terminal import verdict
from migrate.verify.run import Wanted, verify_project
from parity_tests import browser
from parity_tests.faults import FAULTS
from parity_tests.subjects import Subject

EVIL = "</script><img src=x onerror=alert(1)>\"'&<b>"


@pytest.fixture(scope="module")
def reports(subjects: Mapping[str, Subject], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Report]:
    """One that passes, and one with a fault in it."""
    found = {}
    for name in ("passed", "failed"):
        subject, folder = subjects["cnn"], tmp_path_factory.mktemp(name) / "project"
        shutil.copytree(subject.project, folder)
        if name == "failed":
            next(f for f in FAULTS if f.name == "leaky slope").plant(folder, subject.bundle)
        wanted = Wanted(("structure", "forward", "layers"), ("float64", "float32"))
        found[name] = verify_project(subject.model, folder, Bundle(subject.bundle.folder), wanted)
    return found


def test_json_is_as_promised(reports: Mapping[str, Report]) -> None:
    for name, report in reports.items():
        document = json.loads(json.dumps(report.to_json(), allow_nan=False))
        assert set(document) >= {"passed", "model", "project", "device", "versions", "checks", "first_divergent_layer"}
        assert document["passed"] is (name == "passed")
        assert document["first_divergent_layer"] == (None if name == "passed" else "leaky")
        assert {"torch", "tensorflow", "keras"} <= set(document["versions"])
        for check in document["checks"]:
            assert {"name", "dtype", "passed", "cases", "worst"} <= set(check)
            assert {"what", "layer", "max_abs", "max_rel", "allowed_rel", "index"} <= set(check["worst"])


def test_verdict_names_the_line(reports: Mapping[str, Report]) -> None:
    sentence = verdict(reports["failed"])
    line = re.search(r"line (\d+) `(.*)`: at \[", sentence)
    assert line is not None and "leaky (LeakyReLU)" in sentence, sentence
    assert reports["failed"].source.splitlines()[int(line[1]) - 1].strip() == line[2]
    assert "leaky_relu" in line[2]
    assert verdict(reports["passed"]).startswith("PASSED")


def test_verdict_names_the_weight(subjects: Mapping[str, Subject], tmp_path: Path) -> None:
    subject = subjects["cnn"]
    shutil.copytree(subject.project, tmp_path / "project")
    next(f for f in FAULTS if f.name == "kernel flipped").plant(tmp_path / "project", subject.bundle)
    wanted = Wanted(("structure", "layers"), ("float64",))
    report = verify_project(subject.model, tmp_path / "project", Bundle(subject.bundle.folder), wanted)
    assert "depthwise" in verdict(report) and "Not the file's are the numbers of depthwise.weight." in verdict(report)


def test_page_needs_nothing_from_outside(reports: Mapping[str, Report], tmp_path: Path) -> None:
    text = reports["failed"].to_html(tmp_path / "report.html").read_text()
    found: list[tuple[str, str | None]] = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend((name, value) for name, value in attrs if name in ("src", "href"))

    Links().feed(text)
    assert found and all(name == "href" and value is not None and value.startswith("#") for name, value in found)
    assert "url(" not in text and "@import" not in text


def evil(report: Report) -> Report:
    """Every string that comes from a file, or from a user, is markup that would do something."""
    rows = [replace(row, layer=EVIL, class_name=EVIL, within=EVIL if row.own is None else "") for row in report.layers]
    rows.append(LayerRow(EVIL, EVIL, "0", "float64", None, within=EVIL))
    checks = [
        replace(c, notes=(EVIL,), findings=tuple(replace(f, what=EVIL, layer=EVIL, case=EVIL) for f in c.findings))
        for c in report.checks
    ]
    return replace(
        report, layers=tuple(rows), checks=tuple(checks), model=EVIL, project=EVIL, source=f"# {EVIL}\n", notes=(EVIL,),
        commands=(EVIL,), versions={EVIL: EVIL},
    )  # fmt: skip


def test_nothing_from_a_file_is_markup(reports: Mapping[str, Report]) -> None:
    tags: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)
            assert not any(name.startswith("on") for name, _ in attrs)

    text = page(evil(reports["failed"]))
    Tags().feed(text)
    assert EVIL not in text
    assert "img" not in tags and tags.count("script") == 1


@pytest.mark.skipif(
    not browser.installed(), reason="needs chromium and chromedriver (Debian: chromium chromium-driver)"
)
def test_page_in_a_browser(reports: Mapping[str, Report], tmp_path: Path) -> None:
    path = reports["failed"].to_html(tmp_path / "report.html")
    with browser.Browser(tmp_path / "profile") as window:
        window.open(path)
        assert window.errors() == []
        assert window.run("return document.getElementById('verdict').textContent").startswith("FAILED")
        count = len(reports["failed"].layers)
        sorts(window)
        window.type("#filter", "conv2d float64")
        shown = window.run(SHOWN)
        assert shown and all("Conv2D" in text and "float64" in text for text in shown)
        assert window.run("return document.getElementById('shown').textContent") == f"{len(shown)} of {count}"
        window.run("document.getElementById('filter').value = ''")
        window.click("#failed-only")
        assert {text.split()[0] for text in window.run(SHOWN)} == {"leaky"}
        window.click("#layers tr.failed a")  # the line of model.py
        assert window.run("return document.querySelector(':target').textContent").count("leaky_relu") == 1
        window.open(_saved(page(evil(reports["failed"])), tmp_path))
        assert window.errors() == [] and window.run("return document.images.length") == 0


SHOWN = "return [...document.querySelectorAll('#layers tbody tr')].filter(r => !r.hidden).map(r => [...r.cells].slice(1).map(c => c.textContent).join(' '))"
COLUMN = "return [...document.querySelectorAll('#layers tbody tr')].map(r => Number(r.cells[4].dataset.value))"


def sorts(window: browser.Browser) -> None:
    """By its own error, up at the first click and down at the second."""
    before: list[Any] = window.run(COLUMN)
    assert before != sorted(before)
    window.click("#layers th:nth-child(5) button")
    assert window.run(COLUMN) == sorted(before)
    window.click("#layers th:nth-child(5) button")
    assert window.run(COLUMN) == sorted(before, reverse=True)
    assert (
        window.run("return document.querySelector('#layers th:nth-child(5)').getAttribute('aria-sort')") == "descending"
    )


def _saved(text: str, folder: Path) -> Path:
    path = folder / "evil.html"
    path.write_text(text)
    return path
