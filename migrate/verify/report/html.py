"""The report as one page that works offline: style and script are in it, nothing is loaded from outside."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from math import isfinite
from typing import Any

from migrate.verify.criterion import Verdict
from migrate.verify.report import Check, Finding, LayerRow, Report
from migrate.verify.report.charts import error_chart, histogram_chart
from migrate.verify.report.markup import Markup, element, table
from migrate.verify.report.terminal import COLUMNS, cells, edits, verdict

WORST = 6  # histograms
FINDINGS = 40  # comparisons of a check that are listed
LAYER_COLUMNS = (
    "#", "layer", "class", "dtype", "own error", "inherited", "allowed", "line", "at", "expected", "found", "result",
)  # fmt: skip
NUMERIC = {"#", "own error", "inherited", "allowed", "line", "expected", "found", "worst", "norm"}
OWN = "own error, fed with the original's inputs"


def page(report: Report) -> str:
    """The whole page."""
    folder = files("migrate.verify.report")
    style, script = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    head = element(
        "head",
        Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", f"{'passed' if report.passed else 'FAILED'}: {report.project}"),
        element("style", Markup(f"\n{style}")),
    )
    sections = (_verdict, _checks, _charts, _layers, _worst, _comparisons, _source, _about)
    body = [part for section in sections for part in section(report)]
    body.append(element("script", Markup(script)))
    return f"<!DOCTYPE html>\n{element('html', head, element('body', *body), lang='en')}\n"


def _verdict(report: Report) -> Iterator[Markup]:
    word, _, rest = verdict(report).partition(": ")
    paths = element("span", report.model, class_="path"), " → ", element("span", report.project, class_="path")
    yield element(
        "div",
        element("h1", word, class_="word"),
        element("p", rest),
        *([element("p", edits(report.suspects))] if report.suspects else []),
        element("p", *paths, f" on {report.device}", class_="soft"),
        class_="verdict" if report.passed else "verdict bad",
        id="verdict",
    )


def _checks(report: Report) -> Iterator[Markup]:
    yield element("h2", "Checks")
    yield table(COLUMNS, [_check(check) for check in report.checks], id="checks")
    for name, note in dict.fromkeys((check.name, note) for check in report.checks for note in check.notes):
        yield element("p", f"{name}: {note}", class_="soft")


def _check(check: Check) -> Markup:
    kind = "soft" if check.skipped else "ok" if check.passed else "failed"
    made = [
        element("td", text, class_=kind if column == "result" else None)
        for column, text in zip(COLUMNS, cells(check), strict=True)
    ]
    return element("tr", *made)


def _charts(report: Report) -> Iterator[Markup]:
    if report.layers:
        yield element("h2", "Error by layer")
    for dtype in dict.fromkeys(row.dtype for row in report.layers):
        legend = element(
            "div",
            element("b", dtype),
            element("span", element("i", class_="own"), OWN),
            element("span", element("i", class_="inherited"), "error in the running model"),
            element("span", element("i", class_="limit"), "allowed"),
            class_="legend",
        )
        numbered = [(number, row) for number, row in enumerate(report.layers) if row.dtype == dtype]
        yield element("div", legend, error_chart(numbered), class_="card chart")


def _layers(report: Report) -> Iterator[Markup]:
    if not report.layers:
        return
    count = len(report.layers)
    yield element("h2", "Layers")
    yield element(
        "div",
        element(
            "input", type="search", id="filter", placeholder="filter by name, class, line ...", aria_label="filter"
        ),
        element("label", element("input", type="checkbox", id="failed-only"), " only what is out of bounds"),
        element("span", f"{count} of {count}", class_="soft", id="shown"),
        class_="tools",
    )
    heads = [element("th", element("button", name, type="button"), class_=_numeric(name)) for name in LAYER_COLUMNS]
    yield table(heads, [_layer(number, row) for number, row in enumerate(report.layers)], id="layers")


def _layer(number: int, row: LayerRow) -> Markup:
    own, place = row.own, row.place
    name = row.layer if row.call in ("", "0") else f"{row.layer} (call {row.call})"
    line = element("a", place.line, href=f"#line-{place.line}", title=place.text) if place is not None else ""
    values: tuple[tuple[Any, Any], ...] = (
        (number, number), (name, None), (row.class_name, None), (row.dtype, None), _number(own, "max_rel"),
        _number(row.inherited, "max_rel"), _number(own, "allowed_rel"), (line, place.line if place is not None else -1),
        (list(own.index) if own is not None and own.index else "", None), _number(own, "expected"),
        _number(own, "found"), (_result(row), None),
    )  # fmt: skip
    made = [
        element("td", text, class_=_numeric(column), data_value=value)
        for column, (text, value) in zip(LAYER_COLUMNS, values, strict=True)
    ]
    return element("tr", *made, id=f"row-{number}", class_="failed" if own is not None and not own.passed else None)


def _result(row: LayerRow) -> str:
    if row.own is None:
        return f"part of {row.within}" if row.within else "not in model.py"
    return "ok" if row.own.passed else row.own.why or "out of bounds"


def _numeric(column: str) -> str | None:
    return "n" if column in NUMERIC else None


def _number(verdict: Verdict | None, name: str) -> tuple[str, float]:
    """A number as it is shown, and as it sorts."""
    number = getattr(verdict, name) if verdict is not None else None
    if number is None:
        return "", -1
    if not isfinite(number):
        return "none", 1e300
    return f"{number:.9g}" if name in ("expected", "found") else f"{number:.1e}" if number else "0", float(number)


def _worst(report: Report) -> Iterator[Markup]:
    measured = [row for row in report.layers if row.own is not None and row.counts]
    chosen = sorted(measured, key=lambda row: -row.own.excess if row.own is not None else 0.0)[:WORST]
    if not chosen:
        return
    yield element("h2", "Worst tensors")
    yield element("p", "How many elements (log scale) are off by how much of the largest element.", class_="soft")
    cards = [
        element(
            "div",
            element("h3", row.layer, " ", element("span", f"{row.class_name}, {row.dtype}", class_="soft")),
            histogram_chart(row),
            class_="card",
        )
        for row in chosen
    ]
    yield element("div", *cards, class_="worst")


def _comparisons(report: Report) -> Iterator[Markup]:
    yield element("h2", "Comparisons")
    columns = ("what", "layer", "case", "worst", "norm", "allowed", "result")
    heads = [element("th", name, class_=_numeric(name)) for name in columns]
    for check in report.checks:
        found = sorted(check.findings, key=lambda finding: -finding.verdict.excess)
        more = f", the {FINDINGS} nearest to their limits or beyond" if len(found) > FINDINGS else ""
        summary = element("summary", f"{check.name} {check.dtype}: {len(found)} comparisons{more}")
        rows = [_finding(finding) for finding in found[:FINDINGS]]
        if rows:
            yield element("details", summary, table(heads, rows), open=not check.passed)


def _finding(finding: Finding) -> Markup:
    verdict = finding.verdict
    texts = [element("td", text) for text in (finding.what, finding.layer, finding.case)]
    numbers = [element("td", _number(verdict, name)[0], class_="n") for name in ("max_rel", "norm_rel", "allowed_rel")]
    result = element("td", "ok" if verdict.passed else verdict.why or "out of bounds")
    return element("tr", *texts, *numbers, result, class_=None if verdict.passed else "failed")


def _source(report: Report) -> Iterator[Markup]:
    if not report.source:
        return
    failed = [row for row in report.layers if row.place is not None and row.own is not None and not row.own.passed]
    wrong = {row.place.line for row in failed if row.place is not None}
    lines = [
        element(
            "span", element("b", number), text, class_="row failed" if number in wrong else "row", id=f"line-{number}"
        )
        for number, text in enumerate(report.source.splitlines(), 1)
    ]
    yield element("h2", "model.py")
    text = element("div", element("pre", *lines), class_="card source")
    yield element("details", element("summary", "the text that was run"), text, id="source", open=True)


def _about(report: Report) -> Iterator[Markup]:
    yield element("h2", "To repeat it")
    yield from (element("p", element("code", command)) for command in report.commands)
    yield from (element("p", note, class_="soft") for note in report.notes)
    yield element("h2", "Versions")
    pairs = [part for item in report.versions.items() for part in (element("dt", item[0]), element("dd", item[1]))]
    yield element("dl", *pairs)
