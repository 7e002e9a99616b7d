"""What a verification found, and its forms: terminal, JSON, HTML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from migrate.verify.criterion import Verdict

BINS = tuple(range(-18, 3))  # log10 of the relative errors in a histogram


@dataclass(frozen=True)
class Finding:
    """One comparison: of what, which Keras layer it belongs to, with which inputs, and the verdict."""

    what: str
    verdict: Verdict
    layer: str = ""
    case: str = ""


@dataclass(frozen=True)
class Check:
    """All comparisons of one kind in one precision. `skipped`: why it was not made; `notes`: known drift and limits."""

    name: str
    dtype: str
    findings: tuple[Finding, ...] = ()
    cases: int = 0
    skipped: str = ""
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return all(finding.verdict.passed for finding in self.findings)

    @property
    def failed(self) -> list[Finding]:
        return [finding for finding in self.findings if not finding.verdict.passed]

    @property
    def worst(self) -> Finding | None:
        """The finding that is furthest beyond, or nearest to, what is allowed; the first of equals."""
        return max(self.findings, key=lambda f: (not f.verdict.passed, f.verdict.excess), default=None)


@dataclass(frozen=True)
class Place:
    """A line of model.py."""

    line: int
    text: str


@dataclass(frozen=True)
class LayerRow:
    """One call of a Keras layer: its own error (fed with the original's inputs) and the one in the running model.

    `within`: the layer into which it was folded; `counts`: a histogram of log10 of its own relative errors.
    """

    layer: str
    class_name: str
    call: str
    dtype: str
    place: Place | None
    own: Verdict | None = None
    inherited: Verdict | None = None
    within: str = ""
    counts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Report:
    """The result of `verify`. `passed` if every check holds. `source`: the text of model.py; `edited`: its lines
    that are not as convert wrote them; `written`: files made."""

    model: str
    project: str
    device: str
    versions: Mapping[str, str]
    checks: tuple[Check, ...]
    layers: tuple[LayerRow, ...] = ()
    commands: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    source: str = ""
    edited: tuple[Place, ...] = ()
    written: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def divergent(self) -> LayerRow | None:
        """The first layer whose own error is out of bounds."""
        return next((row for row in self.layers if row.own is not None and not row.own.passed), None)

    @property
    def suspects(self) -> tuple[Place, ...]:
        """The lines to look at first: those that were edited, if anything failed."""
        return () if self.passed else self.edited

    def place_of(self, layer: str) -> Place | None:
        """The line of model.py that calls a Keras layer, as far as it was found."""
        return next((row.place for row in self.layers if row.layer == layer and row.place is not None), None)

    @property
    def first_divergent_layer(self) -> str | None:
        return self.divergent.layer if self.divergent is not None else None

    def to_json(self) -> dict[str, Any]:
        """As `verify --json` writes it."""
        row = self.divergent
        document = {
            "passed": self.passed, "model": self.model, "project": self.project, "device": self.device,
            "versions": dict(self.versions), "checks": [check_json(check) for check in self.checks],
            "first_divergent_layer": self.first_divergent_layer,
        }  # fmt: skip
        if row is not None and row.own is not None:
            place = {"line": row.place.line, "text": row.place.text} if row.place is not None else None
            document["divergence"] = {"layer": row.layer, "call": row.call, "model_py": place, **verdict_json(row.own)}
        if self.suspects:
            document["edited_lines"] = [{"line": place.line, "text": place.text} for place in self.suspects]
        return document | {"notes": list(self.notes), "commands": list(self.commands)}

    def to_html(self, path: str | Path) -> Path:
        """Writes one self-contained page, which works offline. Returns its path."""
        from migrate.verify.report.html import page

        path = Path(path)
        path.write_text(page(self), encoding="utf-8")
        return path

    def __str__(self) -> str:
        from migrate.verify.report.terminal import verdict

        return verdict(self)


def check_json(check: Check) -> dict[str, Any]:
    """One entry of `checks`."""
    worst = check.worst
    entry = {
        "name": check.name, "dtype": check.dtype, "passed": check.passed, "cases": check.cases,
        "worst": {"what": worst.what, "layer": worst.layer, "case": worst.case, **verdict_json(worst.verdict)}
        if worst is not None
        else None,
    }  # fmt: skip
    entry |= {"skipped": check.skipped} if check.skipped else {}
    entry |= {"notes": list(check.notes)} if check.notes else {}
    return entry | ({"failed": [f.what for f in check.failed[:20]]} if check.failed else {})


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """The numbers of a verdict; null where there are none, because the shapes or masks differ (`why`)."""
    entry: dict[str, Any] = {
        "max_abs": number(verdict.max_abs), "max_rel": number(verdict.max_rel), "allowed_rel": verdict.allowed_rel,
        "index": list(verdict.index), "norm_rel": number(verdict.norm_rel), "allowed_norm": verdict.allowed_norm,
        "expected": number(verdict.expected), "found": number(verdict.found),
    }  # fmt: skip
    return entry | ({"why": verdict.why} if verdict.why else {})


def number(value: float | None) -> float | None:
    """JSON has no infinity and no NaN."""
    return value if value is not None and isfinite(value) else None
