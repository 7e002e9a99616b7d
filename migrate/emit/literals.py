"""Values and words of a model file as Python source. The only door through which a string becomes code."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

from converters.errors import UserError
from converters.graph import Function
from migrate.blocks.expressions import FORMULAS, Choice, Test
from migrate.simplify.literals import short_reciprocal


def literal(value: Any) -> str:
    """A number, string, None, bool, Ellipsis, slice, function, or a tuple, list or dict of such, as an expression."""
    if isinstance(value, float):
        return _float(value)
    if value is None or isinstance(value, (bool, int)):
        return repr(value)
    if isinstance(value, str):
        return _string(value)
    if value is Ellipsis:
        return "..."
    if isinstance(value, slice):
        return _slice(value)
    if isinstance(value, Function):
        name = value.target.removeprefix("local.")
        options = "".join(f", {key}={literal(option)}" for key, option in value.options)
        return f"partial({name}{options})" if options else name
    if isinstance(value, Choice):
        return _choice(value)
    if isinstance(value, FORMULAS):
        return str(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    raise UserError(f"a {type(value).__name__} cannot be written as source: {value!r:.80}")


def _choice(value: Choice) -> str:
    """`1 if stride == 1 else 0` rather than `0 if stride != 1 else 1`."""
    test, sides = value.test, (value.then, value.other)
    if isinstance(test, Test) and test.sign == "!=":
        test, sides = replace(test, sign="=="), sides[::-1]
    return f"{literal(sides[0])} if {test} else {literal(sides[1])}"


def _float(value: float) -> str:
    """As a person writes it: 1e-3, not 0.001; 0.99, not 9.9e-1."""
    if math.isnan(value) or math.isinf(value):
        return f'float("{value}")'
    plain = repr(value)
    if (divisor := short_reciprocal(value)) is not None:
        return _ratio(divisor)
    mantissa, _, exponent = plain.partition("e")
    if not exponent:
        digits, _, power = f"{value:.17e}".partition("e")
        for precision in range(17):
            digits = f"{value:.{precision}e}".partition("e")[0]
            if float(f"{digits}e{power}") == value:
                break
        mantissa, exponent = digits, power
    scientific = f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return scientific if len(scientific) < len(plain) else plain


def _ratio(divisor: float) -> str:
    """1 / divisor, as a person writes it: 1 / 255 rather than 0.00392156862745098, 1 / 127.5, 2 / 3."""
    if divisor.is_integer():
        return f"1 / {int(divisor)}"
    return f"2 / {int(2 * divisor)}" if abs(divisor) < 50 else f"1 / {divisor}"


def _string(value: str) -> str:
    """ASCII, in double quotes, as ruff formats it."""
    quoted = ascii(value)
    if quoted.startswith("'") and '"' not in value:
        return '"' + quoted[1:-1].replace("\\'", "'") + '"'
    return quoted


def _slice(value: slice) -> str:
    start, stop, step = ("" if part is None else literal(part) for part in (value.start, value.stop, value.step))
    return f"{start}:{stop}:{step}" if step else f"{start}:{stop}"


def prose(text: str, limit: int = 60) -> str:
    """A name from a file, for a comment or docstring: printable ASCII on one line, no quote or backslash."""
    clean = re.sub(r"[^ -~]|[\"\\`]", "?", text)
    return clean if len(clean) <= limit else clean[: limit - 3] + "..."


def marked(text: str, limit: int = 200) -> str:
    """A name from a file, for `code` in Markdown: as the file has it, but on one line, in one cell of a table."""
    clean = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text).replace("`", "?")
    return (clean if len(clean) <= limit else clean[: limit - 3] + "...").replace("|", "\\|")
