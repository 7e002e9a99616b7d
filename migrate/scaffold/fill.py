"""Templates: real Python files with places to fill and lines that are there under a condition.

optimizer = __OPTIMIZER__       a place: replaced by text, which is source already. Alone on its line, a text of
                                several lines keeps the indentation, and an empty one takes the line away
#: if schedule                  these lines only where `schedule` is among the flags; `#: if not schedule`,
#: else                         `#: if several or schedule`
#: end
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path

TEMPLATES = Path(__file__).parent / "templates"
PLACE = re.compile(r"__([A-Z][A-Z0-9_]*?)__")


def filled(template: str, places: Mapping[str, str], flags: Collection[str]) -> str:
    """The text of `templates/<template>` with its places filled. KeyError for a place that nobody fills."""
    chosen = _chosen((TEMPLATES / template).read_text().splitlines(), flags)
    return "\n".join(line for raw in chosen for line in _lines(raw, places)) + "\n"


def _chosen(lines: list[str], flags: Collection[str]) -> list[str]:
    """The lines whose conditions hold."""
    kept, open_conditions = [], [True]
    for line in lines:
        word, _, rest = line.strip().removeprefix("#:").strip().partition(" ")
        if not line.strip().startswith("#:"):
            kept += [line] if all(open_conditions) else []
        elif word == "if":
            open_conditions.append(any(_holds(part, flags) for part in rest.split(" or ")))
        elif word == "else":
            open_conditions[-1] = not open_conditions[-1]
        elif word == "end":
            open_conditions.pop()
    return kept


def _holds(condition: str, flags: Collection[str]) -> bool:
    return (condition.removeprefix("not ") in flags) != condition.startswith("not ")


def _lines(line: str, places: Mapping[str, str]) -> list[str]:
    alone = PLACE.fullmatch(line.strip())
    if alone:
        indent = line[: len(line) - len(line.lstrip())]
        return [f"{indent}{part}" if part else "" for part in places[alone[1]].splitlines()]
    return [PLACE.sub(lambda found: places[found[1]], line)]
