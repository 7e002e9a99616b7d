"""Local classes without the options that a model does not use compute the same; and masks, each spelled once."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from converters.graph import Call, Graph, Module, Value
from converters.local import attention
from migrate.emit.source import _local_source
from migrate.emit.trimmed import trimmed
from migrate.simplify.masks import spelled_once
from parity_tests.conftest import Bench
from parity_tests.test_blocks import text_of

X = Value("x", (None, 5, 8), "float32")
CONSTRUCTED = ({}, {"kv_dim": 6}, {"bias": False}, {"dropout": 0.3}, {"kv_dim": 6, "bias": False, "dropout": 0.3})
CALLED = ({}, {"mask": True}, {"is_causal": True}, {"mask": True, "is_causal": True})


def model(name: str, constructed: dict[str, Any], called: dict[str, Any]) -> Graph:
    module = Module("a", f"local.{name}", (8,), {"heads": 2, "head_dim": 4, **constructed}, {}, "a")
    call = Call("module", "a", (X, X, X), called, Value("y", (None, 5, 8), "float32"), "a")
    return Graph("", X, call.outputs, (call,), (module,))


def written(name: str, graph: Graph) -> Any:
    """The class that the trimmed texts define."""
    space = {"torch": torch, "F": F, "nn": nn, "Tensor": Tensor} | {
        helper: getattr(attention, helper) for helper in ("split_heads", "join_heads", "attention_or_mean")
    }
    for one in dict.fromkeys(["MultiHeadAttention", name]):
        exec(trimmed(one, _local_source(one), graph), space)
    return space[name]


@pytest.mark.parametrize(("constructed", "called"), list(product(CONSTRUCTED, CALLED)))
def test_attention_computes_the_same(constructed: dict[str, Any], called: dict[str, Any]) -> None:
    made = written("MultiHeadAttention", model("MultiHeadAttention", constructed, called))
    torch.manual_seed(0)
    whole = attention.MultiHeadAttention(8, heads=2, head_dim=4, **constructed).eval()
    part = made(8, heads=2, head_dim=4, **constructed).eval()
    part.load_state_dict(whole.state_dict())
    memory = torch.randn(3, 5, constructed.get("kv_dim", 8))
    options = {"mask": torch.rand(3, 1, 5, 5) > 0.3} if called == {"mask": True} else {}
    options |= {"is_causal": True} if called == {"is_causal": True} else {}  # PyTorch takes one of them
    x = torch.randn(3, 5, 8)
    assert torch.equal(part(x, memory, memory, **options), whole(x, memory, memory, **options))
    unused = {"kv_dim", "bias", "dropout"} - constructed.keys()
    with pytest.raises(TypeError):
        made(8, heads=2, head_dim=4, **dict.fromkeys(unused or {"other"}, 1))
    if unused_calls := {"mask", "is_causal"} - called.keys():
        with pytest.raises(TypeError):
            part(x, memory, memory, **dict.fromkeys(unused_calls))


def test_attention_that_is_always_masked() -> None:
    made = written("MaskedAttention", model("MaskedAttention", {}, {"mask": True}))
    torch.manual_seed(0)
    whole, part = attention.MaskedAttention(8, heads=2, head_dim=4), made(8, heads=2, head_dim=4)
    part.load_state_dict(whole.state_dict())
    x, mask = torch.randn(3, 5, 8), torch.rand(3, 1, 5, 5) > 0.7
    assert torch.equal(part(x, x, x, mask=mask), whole(x, x, x, mask=mask))
    with pytest.raises(TypeError):
        part(x, x, x)


def test_attention_that_tells_its_weights_without_dropout() -> None:
    graph = model("ScoredAttention", {}, {})
    assert "dropout" not in trimmed("ScoredAttention", _local_source("ScoredAttention"), graph)
    used = model("ScoredAttention", {"dropout": 0.1}, {})
    assert "self.dropout" in trimmed("ScoredAttention", _local_source("ScoredAttention"), used)


def test_what_one_of_two_layers_uses_stays() -> None:
    one, other = model("MultiHeadAttention", {}, {}), model("MultiHeadAttention", {"dropout": 0.1}, {"mask": True})
    second = Module(
        "b", *[getattr(other.modules[0], name) for name in ("constructor", "args", "kwargs", "state", "origin")]
    )
    call = Call("module", "b", (X, X, X), {"mask": True}, Value("z", (None, 5, 8), "float32"), "b")
    both = Graph("", X, (one.outputs, call.outputs), (*one.nodes, call), (*one.modules, second))
    text = trimmed("MultiHeadAttention", _local_source("MultiHeadAttention"), both)
    assert "dropout" in text and "mask" in text and "kv_dim" not in text and "is_causal" not in text


# -- masks -----------------------------------------------------------------------------------------------------

MASK = Value("m", (None, 5), "bool")


def view(name: str, source: Value, *, unsqueeze: int | None = None, key: tuple[Any, ...] = ()) -> Call:
    shape = list(source.sizes)
    if unsqueeze is not None:
        shape.insert(unsqueeze, 1)
        return Call("method", "unsqueeze", (source, unsqueeze), {}, Value(name, tuple(shape), "bool"), "")
    rest = iter(shape)
    made = [1 if part is None else next(rest) for part in key]
    return Call("operator", "[]", (source, key), {}, Value(name, (*made, *rest), "bool"), "")


def test_a_view_of_a_view_is_one_and_equal_ones_are_the_same() -> None:
    every = slice(None)
    first = view("a", MASK, unsqueeze=1)
    second = view("b", first.outputs, key=(every, None))
    third = view("c", MASK, key=(every, None, None, every))
    both = Call("operator", "&", (second.outputs, third.outputs), {}, Value("d", (None, 1, 1, 5), "bool"), "")
    graph = spelled_once(Graph("", MASK, both.outputs, (first, second, third, both), ()))
    assert graph.outputs == second.outputs, "a mask and itself is that mask"
    assert [call.target for call in graph.nodes if isinstance(call, Call)] == ["unsqueeze", "[]"]
    last = graph.nodes[-1]
    assert isinstance(last, Call) and last.args == (MASK, (every, None, None))


def test_other_views_and_other_masks_stay() -> None:
    every = slice(None)
    row, column = view("a", MASK, key=(every, None, every)), view("b", MASK, key=(every, every, None))
    both = Call("operator", "&", (row.outputs, column.outputs), {}, Value("c", (None, 5, 5), "bool"), "")
    graph = Graph("", MASK, both.outputs, (row, column, both), ())
    assert spelled_once(graph) == graph
    number = Value("f", (None, 5), "float32")
    turned = Call("method", "unsqueeze", (number, 1), {}, Value("g", (None, 1, 5), "float32"), "")
    plain = Graph("", number, turned.outputs, (turned,), ())
    assert spelled_once(plain) == plain


def test_padding_and_the_same_as_an_explicit_mask_is_one_mask(bench: Bench) -> None:
    attended = "MultiHeadAttention(2, 4)(x, x, attention_mask=keras.ops.expand_dims(keras.ops.not_equal(t, 0), 1))"
    text = text_of(bench, f"lambda t: (lambda x: {attended})(Embedding(20, 8, mask_zero=True)(t))", ("int32", 6))
    assert text.count("!= 0") == 1 and text.count("[:, None, None") == 1 and "unsqueeze" not in text, text
