"""What is written of image models: what overwrites its operand, what pads, how sizes that are open are told."""

from __future__ import annotations

import pytest

from converters.errors import UserError
from migrate.emit.names import flat_names
from migrate.emit.selfcheck import check
from migrate.emit.written import Written, write
from parity_tests.case import case
from parity_tests.conftest import Bench
from parity_tests.test_blocks import flat_graph


def written(bench: Bench, model: str, *inputs: tuple[int | None, ...]) -> Written:
    built = bench.ask(case(model, model, *inputs, options={"batches": [1], "sizes": [[32, 32]]}))
    return write(flat_graph(built["paths"][0]), "Net", "test")


READ_TWICE = "lambda x: (lambda y: Add()([ReLU()(y), y]))(BatchNormalization()(Conv2D(4, 3)(x)))"


def test_an_activation_overwrites_what_only_it_reads(bench: Bench) -> None:
    text = written(bench, "Conv2D(4, 3), BatchNormalization(), ReLU(), Flatten(), Dense(2)", (6, 6, 3)).text.text
    assert "F.relu(self.bn(self.conv(x)), inplace=True)" in text, text


@pytest.mark.parametrize(
    "model",
    [
        READ_TWICE,
        "ReLU(), Flatten(), Dense(2)",  # the caller's own tensor
        "Dropout(0.5), ReLU(), Flatten(), Dense(2)",  # in inference, a dropout hands on its input
    ],
)
def test_nothing_else_is_overwritten(bench: Bench, model: str) -> None:
    text = written(bench, model, (6, 6, 3)).text.text
    assert "F.relu(" in text and "inplace" not in text, text


def test_the_selfcheck_sees_what_is_overwritten_too_early(bench: Bench) -> None:
    done = written(bench, READ_TWICE, (6, 6, 3))
    names = flat_names(done.graph, done.graph, done.names)
    check(done.text.text, done.graph, names)
    assert "x + F.relu(x)" in done.text.text, done.text.text
    with pytest.raises(UserError, match="does not do what was converted"):
        check(done.text.text.replace("F.relu(x)", "F.relu(x, inplace=True)"), done.graph, names)


@pytest.mark.parametrize(("activation", "folded"), [("relu", True), ("tanh", False)])
def test_zeros_around_what_is_never_negative_are_padding(bench: Bench, activation: str, folded: bool) -> None:
    model = (
        f"Conv2D(4, 3, activation='{activation}'), ZeroPadding2D(1), MaxPooling2D(3, strides=2), Flatten(), Dense(2)"
    )
    text = written(bench, model, (8, 8, 3)).text.text
    assert ("3, stride=2, padding=1)" in text) is folded and ("F.pad(" in text) is not folded, text


def test_open_sizes_are_told_by_those_of_the_input(bench: Bench) -> None:
    model = "MaxPooling2D(2), Conv2D(5, 3, padding='same'), Conv2D(6, 3), GlobalAveragePooling2D(), Dense(2)"
    text = written(bench, model, (None, None, 3)).text.text
    assert "# (N, 5, H / 2, W / 2)" in text, text
    assert "H / 2 - 2" not in text and "(N, 6, H / 2, W / 2)" not in text, text


def blocks_of(depths: tuple[int, ...], name: str) -> str:
    """Convolutions and a pooling, several times; `name` of block b and layer i."""
    return (
        f"*[layer for b, d in enumerate({depths}) for layer in (*[Conv2D(4 + 4 * b, 3, padding='same', activation='relu'"
        f", {name.format('i')}) for i in range(d)], MaxPooling2D({name.format(9)}))], Flatten(), Dense(2)"
    )


NAMED = "name=f'block{{b}}_layer{{{}}}'"


def test_blocks_that_the_user_names_are_one_class_with_a_depth(bench: Bench) -> None:
    done = written(bench, blocks_of((2, 2, 3, 3, 3), NAMED), (32, 32, 3))
    assert not done.refused
    assert "ConvBlock(8, 12, depth=3)" in done.text.text, done.text.text
    assert "range(depth - 1)" in done.text.text, done.text.text


@pytest.mark.parametrize(("depths", "name"), [((3, 3, 3, 3, 3), NAMED), ((2, 2, 3, 3, 3), "name=None and '{}'")])
def test_a_depth_is_given_where_names_and_numbers_ask_for_it(bench: Bench, depths: tuple[int, ...], name: str) -> None:
    assert "depth" not in written(bench, blocks_of(depths, name), (32, 32, 3)).text.text
