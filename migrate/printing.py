"""Text of strangers on a terminal."""

from __future__ import annotations

from rich.markup import escape

from converters.errors import printable


def plain(text: str) -> str:
    """Text of a file, without anything in it that a terminal or rich would obey."""
    return escape(printable(text))
