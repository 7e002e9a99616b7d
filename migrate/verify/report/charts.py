"""The charts of the page, as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite, log10

from migrate.verify.criterion import Verdict
from migrate.verify.report import BINS, LayerRow
from migrate.verify.report.markup import Markup, element

LEFT, RIGHT, TOP, BOTTOM, HEIGHT, WIDTH = 62, 16, 12, 26, 300, 1000
SMALLEST, LARGEST = -18.0, 1.0  # of log10: what is equal is drawn at the bottom, what has no number at the top
NAMES_FROM, NAMES_HEIGHT, NAME_AT_MOST = 22.0, 66, 18  # pixels a layer from which on names are written; letters
BAR_WIDTH, BAR_HEIGHT, BAR_BOTTOM = 330, 120, 18


def error_chart(rows: Sequence[tuple[int, LayerRow]]) -> Markup:
    """Own and inherited error of each layer, with its number in the table, on a log scale with what is allowed."""
    drawn = [(number, row, row.own) for number, row in rows if row.own is not None]
    step = max(4.0, WIDTH / max(len(drawn), 12))
    named = step >= NAMES_FROM
    width, height = LEFT + RIGHT + step * max(len(drawn), 12), HEIGHT + (NAMES_HEIGHT if named else 0)
    marks, limits = [], []
    for place, (number, row, own) in enumerate(drawn):
        x = LEFT + step * (place + 0.5)
        if not own.why:
            limits += [f"{x + side * step / 2:.1f},{_y(own.allowed_rel):.1f}" for side in (-1, 1)]
        if row.inherited is not None:
            marks.append(
                element("circle", class_="inherited", cx=f"{x:.1f}", cy=f"{_y(row.inherited.max_rel):.1f}", r=5)
            )
        marks += [_name(row.layer, x)] if named else []
        marks.append(_mark(row, own, number, x))
    below = [] if named else [element("text", "layers in the order of execution", x=LEFT, y=HEIGHT - 6)]
    line = element("polyline", class_="limit", points=" ".join(limits))
    return _svg(width, height, "own and inherited error by layer", [*_grid(width), line, *marks, *below])


def _name(layer: str, x: float) -> Markup:
    """The last part of a layer's path, aslant below the chart."""
    text, y = layer.rpartition("/")[2], HEIGHT - BOTTOM + 14
    short = text if len(text) <= NAME_AT_MOST else f"{text[: NAME_AT_MOST - 1]}\u2026"
    return element("text", short, x=f"{x:.1f}", y=y, text_anchor="end", transform=f"rotate(-40 {x:.1f} {y})")


def _mark(row: LayerRow, own: Verdict, number: int, x: float) -> Markup:
    """The layer's own error, which leads to its row of the table."""
    title = f"{row.layer} ({row.class_name}): own error {_text(own.max_rel)}, allowed {_text(own.allowed_rel)}"
    title += f", in the running model {_text(row.inherited.max_rel)}" if row.inherited is not None else ""
    kind = "own" if own.passed else "own failed"
    circle = element("circle", class_=kind, cx=f"{x:.1f}", cy=f"{_y(own.max_rel):.1f}", r=3 if own.passed else 5)
    return element("a", element("title", title), circle, href=f"#row-{number}")


def _text(error: float) -> str:
    return f"{error:.1e}" if isfinite(error) else "not comparable"


def _y(error: float) -> float:
    exponent = max(SMALLEST, min(LARGEST, log10(error))) if 0 < error < float("inf") else SMALLEST
    exponent = exponent if isfinite(error) else LARGEST
    return TOP + (LARGEST - exponent) / (LARGEST - SMALLEST) * (HEIGHT - TOP - BOTTOM)


def _grid(width: float) -> Iterator[Markup]:
    for power in range(int(SMALLEST), int(LARGEST) + 1, 3):
        y = _y(10.0**power) if power > SMALLEST else _y(0.0)
        yield element("line", class_="grid", x1=LEFT, x2=f"{width - RIGHT:.0f}", y1=f"{y:.1f}", y2=f"{y:.1f}")
        label = f"1e{power}" if power > SMALLEST else "equal"
        yield element("text", label, x=LEFT - 8, y=f"{y + 4:.1f}", text_anchor="end")


def histogram_chart(row: LayerRow) -> Markup:
    """How many elements of a layer's output are off by how much; beyond the limit in the colour of failure."""
    wide, base = BAR_WIDTH / len(BINS), BAR_HEIGHT - BAR_BOTTOM
    most = log10(1 + max(row.counts, default=0)) or 1.0
    limit = row.own.allowed_rel if row.own is not None and row.own.allowed_rel else float("inf")
    parts = [element("line", class_="grid", x1=0, x2=BAR_WIDTH, y1=base, y2=base)]
    for place, (power, count) in enumerate(zip(BINS, row.counts, strict=True)):
        tall = (base - 6) * log10(1 + count) / most
        title = element("title", f"{count} elements off by {'1e-18 or less' if place == 0 else f'1e{power}'}")
        box = {
            "x": f"{place * wide + 1:.1f}",
            "y": f"{base - tall:.1f}",
            "width": f"{wide - 2:.1f}",
            "height": f"{tall:.1f}",
        }
        parts.append(element("rect", title, class_="bar failed" if 10.0**power >= limit else "bar", **box))
        if power % 4 == 2 or place == 0:
            label, anchor = ("equal", "start") if place == 0 else (f"1e{power}", "middle")
            x = place * wide if place == 0 else (place + 0.5) * wide
            parts.append(element("text", label, x=f"{x:.1f}", y=BAR_HEIGHT - 4, text_anchor=anchor))
    return _svg(BAR_WIDTH, BAR_HEIGHT, f"errors of {row.layer}", parts)


def _svg(width: float, height: float, label: str, parts: Sequence[Markup]) -> Markup:
    view = f"0 0 {width:.0f} {height:.0f}"
    return element(
        "svg", *parts, role="img", aria_label=label, width=f"{width:.0f}", height=f"{height:.0f}", viewBox=view
    )
