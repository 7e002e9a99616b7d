"""Text of strangers on a terminal."""

from __future__ import annotations

from rich.markup import escape

from converters.errors import printable


def plain(text: str) -> str:
    """Text of a file, without anything in it that a terminal or rich would obey."""
    return escape(printable(text))


def one_line(text: str) -> str:
    """The same in one line, for a cell of a table."""
    return plain(text.replace("\n", "\\n"))
