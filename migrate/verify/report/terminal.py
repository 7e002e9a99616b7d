"""The report on a terminal: a short table, and one sentence of verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from converters.errors import UserError
from migrate.printing import plain
from migrate.verify.criterion import Verdict
from migrate.verify.report import Check, LayerRow, Place, Report

COLUMNS = ("check", "dtype", "result", "compared", "worst", "error", "allowed")

WHY_AT_MOST = 60  # columns of a reason in the table
EDITS_AT_MOST = 5


def show(report: Report) -> None:
    """Prints the report. A pipe has no width: nothing is cut short there."""
    console = Console(soft_wrap=True)
    if not console.is_terminal:
        console.width = 1000
    table = Table(*COLUMNS, box=None, pad_edge=False)
    for check in report.checks:
        table.add_row(*map(plain, cells(check)), style="" if check.passed else "red")
    console.print(table)
    for note in report.notes:
        console.print(f"note: {plain(note)}", highlight=False)
    for name, note in dict.fromkeys((check.name, note) for check in report.checks for note in check.notes):
        console.print(f"{name}: {plain(note)}", highlight=False)
    for name in report.written:
        console.print(f"written: {plain(name)}", highlight=False)
    if report.suspects:
        console.print(plain(edits(report.suspects)), highlight=False)
    console.print(plain(verdict(report)), style="bold" if report.passed else "bold red", highlight=False)


def write_report(report: Report, json_file: Path | None, html_file: Path | None) -> None:
    """The files that were asked for. Raises UserError where one cannot be written."""
    try:
        if json_file is not None:
            json_file.write_text(json.dumps(report.to_json(), indent=1) + "\n", encoding="utf-8")
        if html_file is not None:
            report.to_html(html_file)
    except OSError as error:
        remedy = "check the path, its permissions and the free space"
        raise UserError("the report cannot be written", found=str(error), remedy=remedy) from error


def cells(check: Check) -> tuple[str, ...]:
    """One line of the table."""
    worst = check.worst
    if check.skipped:
        return check.name, check.dtype, "skipped", "", check.skipped, "", ""
    result = "ok" if check.passed else f"{len(check.failed)} FAILED"
    if worst is None:
        return check.name, check.dtype, result, "0", "", "", ""
    what = " ".join(filter(None, (worst.what, f"({worst.case})" if worst.case else "")))
    if worst.verdict.why:
        return check.name, check.dtype, result, str(len(check.findings)), what, shortened(worst.verdict.why), ""
    if not worst.verdict.allowed_rel:  # nothing was measured: it is equal
        return check.name, check.dtype, result, str(len(check.findings)), "", "0", "0"
    allowed = f"{worst.verdict.allowed_rel:.1e}"
    return check.name, check.dtype, result, str(len(check.findings)), what, f"{worst.verdict.max_rel:.1e}", allowed


def shortened(text: str) -> str:
    return text if len(text) <= WHY_AT_MOST else f"{text[: WHY_AT_MOST - 3]}..."


def verdict(report: Report) -> str:
    """One sentence: it is the same, or which layer is at fault and where it stands."""
    if report.passed:
        skipped = [check.name for check in report.checks if check.skipped]
        made = dict.fromkeys(check.name for check in report.checks if not check.skipped)
        but = f"; not checked: {', '.join(dict.fromkeys(skipped))}" if skipped else ""
        return f"PASSED: {report.project} computes what {report.model} computes ({', '.join(made)}){but}."
    if report.divergent is not None:
        changed = _weights_at_fault(report, report.divergent.layer)
        because = f" Not the file's are the {', the '.join(changed)}." if changed else ""
        return f"FAILED: the first layer whose own error is out of bounds is {fault(report.divergent)}.{because}"
    failed = next(check for check in report.checks if not check.passed)
    finding = failed.failed[0]
    layer = f", of layer {finding.layer}" if finding.layer and finding.layer not in finding.what else ""
    place = report.place_of(finding.layer)
    layer += f", at model.py line {place.line} `{place.text}`" if place is not None else ""
    case = f" ({finding.case})" if finding.case else ""
    return f"FAILED: {failed.name}: {finding.what}{case}{layer}: {measured(finding.verdict)}."


def _weights_at_fault(report: Report, layer: str) -> list[str]:
    """What of a layer's weights the structure check found to differ from the file: `numbers of conv.weight`."""
    failed = [finding for check in report.checks if check.name == "structure" for finding in check.failed]
    return [finding.what for finding in failed if finding.layer == layer]


def edits(places: Sequence[Place]) -> str:
    """Where model.py is not as convert wrote it."""
    shown = [f"line {place.line} `{place.text}`" for place in places[:EDITS_AT_MOST]]
    more = f" and {len(places) - EDITS_AT_MOST} more" if len(places) > EDITS_AT_MOST else ""
    return f"model.py was edited at {', '.join(shown)}{more}"


def fault(row: LayerRow) -> str:
    """The layer, its line of model.py, and how far it is off."""
    own = row.own
    assert own is not None
    where = f" at model.py line {row.place.line} `{row.place.text}`" if row.place is not None else ""
    return f"{row.layer} ({row.class_name}){where}: {measured(own)}"


def measured(verdict: Verdict) -> str:
    """A verdict in words."""
    at = f"at {list(verdict.index)} " if verdict.index else ""
    if verdict.expected is not None and verdict.found is not None:
        at += f"expected {verdict.expected:.9g}, found {verdict.found:.9g}"
    if verdict.why:
        return "; ".join(filter(None, (verdict.why, at)))
    return f"{at}, relative error {verdict.max_rel:.1e}, allowed {verdict.allowed_rel:.1e}"
