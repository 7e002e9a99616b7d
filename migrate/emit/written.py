"""The most readable text of a model that can be proved: with blocks where they hold, else one attribute a layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from converters.errors import UserError
from converters.graph import Call, Graph
from migrate.blocks import forms
from migrate.blocks.rates import rounded, with_rules
from migrate.emit.names import Names, assign_names, flat_names
from migrate.emit.selfcheck import check
from migrate.emit.source import SourceFile, locals_used, source_of


@dataclass(frozen=True)
class Written:
    """A text, what it was written from, and the emitted model on meta tensors.

    `refused`: why forms that would have been more readable are not what was written; a bug of the block stage.
    """

    text: SourceFile
    graph: Graph
    names: Names
    model: Any
    refused: tuple[str, ...] = ()


def write(flat: Graph, class_name: str, title: str, *, blocks: bool = True) -> Written:
    """The text of a lowered graph in canonical order. Raises UserError where not even the flat text is the graph.

    Every form is checked against the flat graph, of which the block stage knows nothing.
    """
    texts = []
    for form, base in candidates(flat, blocks=blocks):
        names = assign_names(form, class_name, locals_used(form))
        texts.append((source_of(form, names, title), form, base, names))
    failed: list[UserError] = []
    # Blocks say what repeats, and may take some lines for that: what is added to the model later comes as a block.
    worth = [WORTH if form is base else UNITS if number else 1 for number, (_, form, base, _) in enumerate(texts)]
    loose = [_joins(form) if form is not base else 0 for _, form, base, _ in texts]
    least = min(loose[:-1], default=0)
    cost = [JOIN * max(count - least, 0) for count in loose]
    order = sorted(range(len(texts)), key=lambda n: _lines(texts[n][0].text) * worth[n] + cost[n])
    for text, form, base, names in (texts[number] for number in order):
        try:
            model = check(text.text, base, flat_names(base, form, names))
            return Written(text, form, names, model, tuple(map(str, failed)))
        except UserError as error:
            failed.append(error)
    raise failed[-1]


WORTH = 1.2  # the lines of a text without blocks, for which one with blocks is taken
UNITS = 1.04  # and of one with units in its blocks, for which one without is
JOIN = 2  # the lines of a sum in the model itself, where it is within a block in another form


def _joins(form: Graph) -> int:
    return sum(call.target in ("+", "*", "torch.cat") for call in form.nodes if isinstance(call, Call))


def _lines(text: str) -> int:
    return len(text.splitlines())


def candidates(flat: Graph, *, blocks: bool) -> Iterator[tuple[Graph, Graph]]:
    """The forms of a graph, the most readable first; of each the flat graph, with the dropout rates that it states."""
    plain = rounded(flat)
    if blocks:
        ruled = [with_rules(form, flat) for form in forms(flat)]
        others = list(forms(plain)) if None in ruled else []
        for number, form in enumerate(ruled):
            yield (form, flat) if form is not None else (others[number], plain)
    yield plain, plain
