"""The two ways in which a conversion stops: something the user can mend, and something nobody converts yet."""

from __future__ import annotations

from dataclasses import asdict, dataclass


def printable(text: str) -> str:
    """Text of a file as a terminal may show it: an escape sequence in a name is shown, not obeyed."""
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)


def number_of(count: int, noun: str) -> str:
    """`1 layer`, `2,000 layers`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


class UserError(Exception):
    """What is wrong, what was expected, what was found, what to do. Printed without a traceback, exit code 2."""

    def __init__(self, problem: str, *, expected: str = "", found: str = "", remedy: str = "") -> None:
        self.problem, self.expected, self.found, self.remedy = problem, expected, found, remedy
        parts = [problem]
        parts += [f"{label}: {text}" for label, text in self._details() if text]
        super().__init__(printable("\n  ".join(parts)))

    def _details(self) -> tuple[tuple[str, str], ...]:
        return ("expected", self.expected), ("found", self.found), ("what to do", self.remedy)


@dataclass(frozen=True)
class Gap:
    """One layer that cannot be converted: which, why, and the way out."""

    layer: str
    class_name: str
    reason: str
    way_out: str

    def to_json(self) -> dict[str, str]:
        fields = asdict(self)
        return {"layer": fields["layer"], "class": fields["class_name"], "reason": self.reason, "way_out": self.way_out}


class Unsupported(Exception):
    """Raised by a converter; lowering collects all of them into `Gaps` before anything is written."""

    def __init__(self, reason: str, way_out: str) -> None:
        super().__init__(reason)
        self.reason, self.way_out = reason, way_out


class Gaps(UserError):
    """Everything in a model that cannot be converted, reported together."""

    def __init__(self, gaps: list[Gap]) -> None:
        self.gaps = gaps
        grouped: dict[tuple[str, str], dict[str, list[str]]] = {}
        for gap in gaps:
            grouped.setdefault((gap.reason, gap.way_out), {}).setdefault(gap.class_name, []).append(gap.layer)
        listed = "\n".join(
            f"  - {_classes(classes)}: {why}\n    way out: {out}" for (why, out), classes in grouped.items()
        )
        super().__init__(f"{number_of(len(gaps), 'layer')} cannot be converted; nothing was written.\n{listed}")


def _classes(layers: dict[str, list[str]]) -> str:
    """Conv2D 'a', 'b', Dense 'c'."""
    return ", ".join(f"{name} {_names(paths)}" for name, paths in layers.items())


def _names(layers: list[str]) -> str:
    """'a', 'b', 'c' and 4 more."""
    shown = ", ".join(repr(layer) for layer in layers[:3])
    return shown if len(layers) <= 3 else f"{shown} and {len(layers) - 3} more"
