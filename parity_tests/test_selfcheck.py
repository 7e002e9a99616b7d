"""The self-check must see what it is there for: each of these damages to the text is one that it refuses."""

from __future__ import annotations

import pytest

from converters.errors import UserError
from converters.graph import Graph
from migrate.emit.names import Names, assign_names
from migrate.emit.selfcheck import check
from migrate.emit.source import source_of
from migrate.lower import lower
from migrate.readers import read
from migrate.simplify import simplify
from parity_tests.case import Case, case
from parity_tests.conftest import Bench

MODEL = case(
    "selfcheck",
    "lambda x: (lambda c: Dense(3, activation='softmax')(Dropout(0.5)(Flatten()(Add()([c, Conv2D(4, 3, padding='same')("
    "BatchNormalization()(Activation('relu')(c)))])))))(Conv2D(4, 3, strides=2, padding='same')(x))",
    (8, 8, 2),
)

DAMAGES = {
    "a padding on the wrong side": ("(0, 1, 0, 1)", "(1, 0, 1, 0)"),
    "an activation lost": ("F.relu(x)", "x"),
    "another epsilon": ("eps=1e-3", "eps=1e-5"),
    "a stride": ("stride=2", "stride=1"),
    "another axis": ("softmax(dim=-1)", "softmax(dim=0)"),
    "another dropout": ("Dropout(0.5)", "Dropout(0.4)"),
    "an operand for another": ("(x + self.conv2", "(F.relu(x) + self.conv2"),
    "a call that nobody needs": ("return self", "F.relu(x)\n        return self"),
    "a bias lost": ("nn.Linear(4 * 4 * 4, num_classes)", "nn.Linear(4 * 4 * 4, num_classes, bias=False)"),
    "a frozen parameter": (
        "nn.Linear(4 * 4 * 4, num_classes)",
        "nn.Linear(4 * 4 * 4, num_classes).requires_grad_(False)",
    ),
    "a name": ("self.fc", "self.fc2"),
}


# A whole recurrence is one operation of the recording: all that it reads, and each of its results, must still count.
RECURRENT = case(
    "selfcheck of recurrences",
    "lambda x: (lambda s: LSTM(4)(Dense(3)(x), initial_state=s[1:]))(LSTM(4, return_state=True)(x))",
    (5, 3),
)
DAMAGED_RECURRENCES = {
    "states swapped": ("(h, c) = ", "(c, h) = "),
    "another layer": ("self.decoder(", "self.encoder("),
    "another input": ("self.fc(x)", "x"),
    "another direction": ("nn.LSTM(3, 4, batch_first=True)", "nn.LSTM(3, 4)"),
    "another dropout": ("nn.LSTM(3, 4, batch_first=True)", "nn.LSTM(3, 4, batch_first=True, dropout=0.1)"),
}


def _emitted(bench: Bench, model: Case) -> tuple[str, Graph, Names]:
    with read(bench.saved(model)) as source:
        graph = simplify(lower(source.graph).graph)
        names = assign_names(graph, "Net")
        return source_of(graph, names, "test").text, graph, names


@pytest.fixture(scope="module")
def emitted(bench: Bench) -> tuple[str, Graph, Names]:
    return _emitted(bench, MODEL)


@pytest.fixture(scope="module")
def recurrent(bench: Bench) -> tuple[str, Graph, Names]:
    return _emitted(bench, RECURRENT)


def test_the_text_as_it_is_passes(emitted: tuple[str, Graph, Names], recurrent: tuple[str, Graph, Names]) -> None:
    check(*emitted)
    check(*recurrent)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_seen(emitted: tuple[str, Graph, Names], damage: str) -> None:
    refused(*emitted, *DAMAGES[damage])


@pytest.mark.parametrize("damage", DAMAGED_RECURRENCES)
def test_damage_to_a_recurrence_is_seen(recurrent: tuple[str, Graph, Names], damage: str) -> None:
    refused(*recurrent, *DAMAGED_RECURRENCES[damage])


def refused(text: str, graph: Graph, names: Names, before: str, after: str) -> None:
    assert before in text, text
    with pytest.raises(UserError, match=r"emitted source|of the weights"):
        check(text.replace(before, after), graph, names)
