"""HTML and SVG made of elements. Text is escaped unless it was made here: nothing from a file can become markup."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any


class Markup(str):
    """Text that is HTML already."""


def element(name: str, *content: Any, **attributes: Any) -> Markup:
    """`<name attributes>content</name>`. `class_` is class, `data_value` data-value; None and False leave one out."""
    parts = []
    for key, value in attributes.items():
        if value is not None and value is not False:
            written = key.rstrip("_").replace("_", "-")
            parts.append(f" {written}" if value is True else f' {written}="{escape(str(value))}"')
    inner = joined(content)
    return Markup(f"<{name}{''.join(parts)}>{inner}</{name}>")


def joined(content: Iterable[Any]) -> Markup:
    """Several pieces of content, one after the other."""
    return Markup("".join(part if isinstance(part, Markup) else escape(str(part)) for part in content))


def table(heads: Iterable[Any], rows: Iterable[Markup], **attributes: Any) -> Markup:
    """A table in a frame; `heads` are texts or th elements."""
    head = [h if isinstance(h, Markup) else element("th", h) for h in heads]
    whole = element("table", element("thead", element("tr", *head)), element("tbody", *rows), **attributes)
    return element("div", whole, class_="card")
