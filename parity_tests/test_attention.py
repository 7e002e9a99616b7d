"""What the cases of attention cannot say: gradients, dynamic export, half precision, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.export import Dim

import migrate
from converters.local import attention
from parity_tests.archives import edited
from parity_tests.case import case
from parity_tests.conftest import Bench

ENCODER = case(
    "encoder",
    "lambda t: (lambda x: MultiHeadAttention(2, 5)(*[LayerNormalization()(Add()([x, MultiHeadAttention(2, 5)(x, x)]))] * 2))(Embedding(50, 8, mask_zero=True)(t))",
    ("int32", None),
)
EINSUM = case("einsum", "EinsumDense('abc,cd->abd', (None, 5), bias_axes='d')", (4, 7))
GRADES = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def test_padding_is_of_no_weight_in_gradients() -> None:
    """A query that may look nowhere: the mean of the values, and no gradient for queries and keys, as in Keras."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 5, dtype=torch.float64, requires_grad=True) for n in (6, 7, 7))
    mask = torch.rand(2, 1, 6, 7) > 0.5
    mask[0, :, 2], mask[1] = False, False
    ours = attention.attention_or_mean(q, k, v, mask)
    scores = (q @ k.mT / 5**0.5).masked_fill(~mask, -1e38)  # Keras replaces the scores
    theirs = scores.softmax(-1) @ v
    torch.testing.assert_close(ours, theirs)
    for found, expected in zip(
        *(torch.autograd.grad(y.square().sum(), (q, k, v)) for y in (ours, theirs)), strict=True
    ):
        torch.testing.assert_close(found, expected)
    plain = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert (plain[0, :, 2] == 0).all(), "PyTorch alone gives zeros: the mean is needed"


@pytest.mark.parametrize("dtype", GRADES)
def test_every_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    mask = torch.tensor([[True, True, False], [False, False, False]])[:, None, None]
    x = torch.randn(2, 3, 8, dtype=torch.float64)
    for kind in (attention.MultiHeadAttention, attention.MaskedAttention, attention.ScoredAttention):
        module = kind(8, 2, 5).double().eval()
        expected, found = module(x, x, x, mask=mask), module.to(dtype)(*[x.to(dtype)] * 3, mask=mask)
        for a, b in zip(*((y,) if isinstance(y, torch.Tensor) else y for y in (found, expected)), strict=True):
            assert a.dtype == dtype
            torch.testing.assert_close(a.double(), b, rtol=GRADES[dtype], atol=GRADES[dtype])


def test_dropout_drops_weights_in_training() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 64, 8)
    module = attention.MultiHeadAttention(8, 2, 4, dropout=0.5)
    still = module.eval()(x, x, x)
    assert (module.train()(x, x, x) - still).abs().max() > 1e-2
    mean = torch.stack([module(x, x, x) for _ in range(400)]).mean(0)
    assert (mean - still).abs().max() < 0.1, "what stays is scaled up"


def test_exports_with_dynamic_sizes(bench: Bench, tmp_path: Path) -> None:
    migrate.convert(Path(bench.ask(ENCODER)["paths"][0]), tmp_path / "out")
    model = migrate.load(tmp_path / "out")
    tokens = torch.randint(0, 50, (3, 11), dtype=torch.int32)
    shapes = ({0: Dim("N", min=1, max=64), 1: Dim("T", min=2, max=64)},)
    exported = torch.export.export(model, (tokens,), dynamic_shapes=shapes).module()
    for size in ((3, 11), (5, 7), (1, 30)):
        tokens = torch.randint(0, 3, size, dtype=torch.int32)
        tokens[0] = 0
        torch.testing.assert_close(exported(tokens), model(tokens))


PLAIN = "lambda x: (lambda a, d: Add()([a(x, x), d(x)]))(MultiHeadAttention(2, 4{}), Dense(8))"


@pytest.mark.parametrize(
    ("model", "short"),
    [
        (PLAIN.format(""), True),
        (PLAIN.format(", dropout=0.5"), False),
        (PLAIN.format(", use_bias=False"), False),
        (PLAIN.format("").replace("a(x, x)", "a(x, d(x))"), False),
        (PLAIN.format("").replace("a(x, x)", "a(x, x, use_causal_mask=True)"), False),
        (PLAIN.format("").replace("d(x)]", "a(d(x), x)]"), False),  # called twice, once in another way
    ],
)
def test_a_sequence_that_looks_at_itself_takes_the_short_class(
    bench: Bench, tmp_path: Path, model: str, short: bool
) -> None:
    migrate.convert(Path(bench.ask(case(f"attention {model}", model, (5, 8)))["paths"][0]), tmp_path / "out")
    text = (tmp_path / "out" / "model.py").read_text()
    assert ("class SelfAttention" in text) is short and ("class MultiHeadAttention" in text) is not short, text


@pytest.mark.parametrize(
    "equation",
    [
        "abc,cd->abd'); import os #", "abc,cd->abd ", "abc,cd->abz", "abc,cz->ab", "aab,bc->aac", "...abc,cd->abd",
        "...ab...,bc->...ac...", "abc->abc", "", "abc,cd->abd\n",
    ],
)  # fmt: skip
def test_equations_are_checked(bench: Bench, tmp_path: Path, equation: str) -> None:
    def damage(config: dict[str, Any]) -> None:
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "EinsumDense":
                layer["config"]["equation"] = equation

    source = edited(bench.ask(EINSUM)["paths"][0], tmp_path / "m.keras", damage)
    with pytest.raises(migrate.UserError, match="equation"):
        migrate.convert(source, tmp_path / "out")


REFUSED = {
    "counts positions along axis 1": case("a", "lambda x: MultiHeadAttention(2, 5, attention_axes=2, sliding_window=2)(x, x)", (4, 4, 8)),
    "aligns wrongly": case("b", "lambda t, m: (lambda x: MultiHeadAttention(5, 4)(x, x, attention_mask=m))(Embedding(50, 8, mask_zero=True)(t))", ("int32", 5), ("bool", 5, 5, 5)),
    "with and without a mask": case("d", "lambda t, u: (lambda e, i: (lambda m: Add()([m(u), m(e(t))]))(keras.Model(i, MultiHeadAttention(2, 5)(i, i))))(Embedding(50, 8, mask_zero=True), layers.Input((9, 8)))", ("int32", 9), (9, 8)),
    "two ways": case("c", "lambda x, m: GroupQueryAttention(5, 4, 2)(x, x, attention_mask=m)", (6, 8), (6, 6)),
}  # fmt: skip


@pytest.mark.parametrize("reason", REFUSED)
def test_refused_by_name(bench: Bench, tmp_path: Path, reason: str) -> None:
    with pytest.raises(migrate.UserError, match=reason):
        migrate.convert(Path(bench.ask(REFUSED[reason])["paths"][0]), tmp_path / "out")
    assert not (tmp_path / "out").exists()
