"""The self-check must see what it is there for: each of these damages to the text is one that it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from converters.errors import UserError
from converters.graph import Graph
from migrate.emit.names import Names, assign_names
from migrate.emit.selfcheck import check
from migrate.emit.source import source_of
from migrate.lower import lower
from migrate.readers import read
from migrate.simplify import simplify
from parity_tests.case import case
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
    "a bias lost": ("nn.Linear(64, num_classes)", "nn.Linear(64, num_classes, bias=False)"),
    "a frozen parameter": ("nn.Linear(64, num_classes)", "nn.Linear(64, num_classes).requires_grad_(False)"),
    "a name": ("self.fc", "self.fc2"),
}


@pytest.fixture(scope="module")
def emitted(bench: Bench) -> tuple[str, Graph, Names]:
    built = bench.ask(MODEL)
    with read(Path(built["paths"][0])) as source:
        graph = simplify(lower(source.graph).graph)
        names = assign_names(graph, "Net")
        return source_of(graph, names, "test").text, graph, names


def test_the_text_as_it_is_passes(emitted: tuple[str, Graph, Names]) -> None:
    check(*emitted)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_seen(emitted: tuple[str, Graph, Names], damage: str) -> None:
    text, graph, names = emitted
    before, after = DAMAGES[damage]
    assert before in text, text
    with pytest.raises(UserError, match=r"emitted source|of the weights"):
        check(text.replace(before, after), graph, names)
