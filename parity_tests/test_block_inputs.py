"""Blocks that read more than the block before: masks, memories, what all of them are given; and loops over them."""

from __future__ import annotations

import re

import pytest

from converters.graph import Call, Value
from migrate.blocks.bystanders import families
from migrate.blocks.families import Families
from migrate.blocks.pattern import Tokens
from migrate.emit.body import Statement
from migrate.emit.loops import _lead, _rest, folded, indexed
from parity_tests.case import case
from parity_tests.conftest import Bench
from parity_tests.test_blocks import flat_graph, text_of

FEED = "(lambda y: LayerNormalization()(Add()([y, Dense(16)(Dense(32, activation='relu')(y))])))"
ENCODER = f"(lambda x, m: {FEED}(LayerNormalization()(Add()([x, MultiHeadAttention(2, 8)(x, x, attention_mask=m)]))))"
LOOK_BACK = "(lambda x: LayerNormalization()(Add()([x, MultiHeadAttention(2, 8)(x, x, use_causal_mask=True)])))"
DECODER = f"(lambda x, m: (lambda y: {FEED}(LayerNormalization()(Add()([y, MultiHeadAttention(2, 8)(y, m)]))))({LOOK_BACK}(x)))"
MASKED = f"lambda x, m: (lambda e: Dense(3)(GlobalAveragePooling1D()(e(e(e(Dense(16)(x), m), m), m))))({ENCODER})"
BOTH = (
    f"lambda s, m, t: (lambda e, d: (lambda z: Dense(5)(d(d(d(Dense(16)(t), z), z), z)))(e(e(e(Dense(16)(s), m), m), m)))"
    f"({ENCODER}, {DECODER})"
)
RESIDUAL = (
    "(lambda x, n: Activation('relu')(Add()([x if x.shape[-1] == n else Conv2D(n, 1)(x), BatchNormalization()("
    "Conv2D(n, 3, padding='same')(Activation('relu')(BatchNormalization()(Conv2D(n, 3, padding='same')(x)))))])))"
)
TOWER = f"lambda x, t: Dense(2)(Concatenate()([GlobalAveragePooling2D()({RESIDUAL}({RESIDUAL}({RESIDUAL}(x, 8), 8), 16)), t]))"
UNET = (
    f"lambda x: (lambda r: (lambda a: (lambda b: Conv2D(2, 1)(r(r(Concatenate()([UpSampling2D()(r(r(Concatenate()(["
    f"UpSampling2D()(r(r(MaxPooling2D()(b), 32), 32)), b]), 16), 16)), a]), 8), 8)))(r(r(MaxPooling2D()(a), 16), 16)))"
    f"(r(r(x, 8), 8)))({RESIDUAL})"
)
GIVEN = (
    "lambda x, c: (lambda b: Dense(2)(b(b(b(b(x, c), c), c), c)))"
    "(lambda x, c: Add()([x, Dense(8)(Dense(12, activation='gelu')(Concatenate()([LayerNormalization()(x), c])))]))"
)


def test_layers_that_read_one_mask_are_a_class_and_a_loop(bench: Bench) -> None:
    text = text_of(bench, MASKED, (7, 12), ("bool", 7, 7))
    assert "def forward(self, x: Tensor, mask: Tensor) -> Tensor:" in text, text
    assert '"""x (N, T, 16), mask (N, 1, 7, 7) -> (N, T, 16)."""' in text, text
    assert "self.layers = nn.ModuleList(TransformerEncoderLayer() for _ in range(3))" in text, text
    assert "        for layer in self.layers:\n            x = layer(x, mask)\n" in text, text


def test_a_decoder_reads_the_memory_of_its_encoder(bench: Bench) -> None:
    text = text_of(bench, BOTH, (7, 12), ("bool", 7, 7), (5, 6))
    assert "class TransformerDecoderLayer(nn.Module):" in text and "self, x: Tensor, memory: Tensor" in text, text
    assert "self.decoder_layers = nn.ModuleList(TransformerDecoderLayer() for _ in range(3))" in text, text
    assert "        for layer in self.decoder_layers:\n            x = layer(x, memory)\n" in text, text


@pytest.mark.parametrize(
    ("model", "inputs", "blocks"),
    [(TOWER, ((8, 8, 3), (4,)), 3), (UNET, ((16, 16, 3),), 10)],
    ids=["another input", "skips"],
)
def test_blocks_are_found_beside_what_passes_them(
    bench: Bench, model: str, inputs: tuple[tuple[int, ...], ...], blocks: int
) -> None:
    text = text_of(bench, model, *inputs)
    assert text.count("ResidualBlock(") - 1 == blocks, text  # its own line is one
    assert "nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()" in text, text


def test_what_all_blocks_are_given_is_an_argument(bench: Bench) -> None:
    text = text_of(bench, GIVEN, (8,), (4,))
    assert "def forward(self, x: Tensor, context: Tensor) -> Tensor:" in text, text
    assert "        x = x1\n        for block in self.blocks:\n            x = block(x, x2)\n" in text, text
    assert "class MLPBlock(nn.Module):" in text, text


def test_without_looking_beside_nothing_is_found(bench: Bench) -> None:
    graph = flat_graph(bench.saved(case(TOWER, TOWER, (8, 8, 3), (4,))))
    tokens = Tokens(graph.modules)
    assert not [p for p in Families(graph, tokens).find() if len(p.members) > 2]
    assert [len(pattern.members) for pattern in families(graph, tokens)] == [3]


# -- loops -----------------------------------------------------------------------------------------------------


def statement(text: str) -> Statement:
    """One with the calls of list members that its text makes."""
    value = Value("v1", (None, 4), "float32")
    keys = re.findall(r"cells\.(\d)", text)
    return Statement(text, tuple(Call("module", key, (value,), {}, value, "") for key in keys))


LISTED = {str(number): f"cells.{number}" for number in range(3)}
ROW = "x, previous = self.cells.{}(x, previous), x"


def written(*texts: str) -> list[str]:
    return [one.text for one in folded(list(map(statement, texts)), LISTED)]


def test_what_is_called_in_one_way_is_a_loop() -> None:
    looped = ["for cell in self.cells:\n    x, previous = cell(x, previous), x", "return x"]
    assert written(*(ROW.format(n) for n in range(3)), "return x") == looped


@pytest.mark.parametrize(
    "texts",
    [
        (ROW.format(0), "x = x + 1", ROW.format(1), ROW.format(2)),
        (ROW.format(1), ROW.format(0), ROW.format(2)),
        (ROW.format(0), ROW.format(1), "x, previous = self.cells.2(previous, x), x"),
    ],
    ids=["something between", "another order", "other arguments"],
)
def test_what_is_not_stays_as_it_is(texts: tuple[str, ...]) -> None:
    assert written(*texts) == [indexed(text) for text in texts]
    assert all("cells[" in text for text in written(*texts) if "cells" in text)


def test_the_first_and_the_last_step_of_a_loop_may_stand_in_a_longer_line() -> None:
    names = {"layer1", "layer2"}
    text = "x = self.{}(x, mask)"
    assert _lead(text, "x = self.layer1(self.dropout(x), mask)", names) == ("x = self.dropout(x)", "layer1")
    assert _lead(text, "x = self.layer1(self.mix(x, y), mask)  # (N, 4)", names) == ("x = self.mix(x, y)", "layer1")
    assert _rest(text, "return self.fc(self.layer2(x, mask).mean(dim=1))", names) == (
        "return self.fc(x.mean(dim=1))",
        "layer2",
    )


@pytest.mark.parametrize(
    "before", ["x = self.layer1(y, x, mask)", "y = self.layer1(x, mask)", "x = self.layer3(self.dropout(x), mask)"]
)
def test_a_line_that_is_no_step_before(before: str) -> None:
    assert _lead("x = self.{}(x, mask)", before, {"layer1", "layer2"}) == ("", "")


@pytest.mark.parametrize("after", ["return self.layer2(x, mask) + x", "return self.layer2(x, other)", "return x"])
def test_a_line_that_is_no_step_after(after: str) -> None:
    assert _rest("x = self.{}(x, mask)", after, {"layer1", "layer2"}) == ("", "")
