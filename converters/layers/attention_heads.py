"""Projections into heads, then `F.scaled_dot_product_attention`.

A usual layer becomes one class of `converters/local`; what is rare (a gate, values of another size) is
written out in the model itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from converters.graph import Value
from converters.layer import LayerHandle
from converters.layers.attention_masks import Sight
from converters.weights import Weight

Inputs = tuple[Value, Value, Value]  # query, key, value
Projections = Mapping[str, Mapping[str, Weight]]  # part -> name in a Linear's state -> weight


@dataclass(frozen=True)
class Sizes:
    """The sizes of one layer: features of its inputs and output, its heads."""

    query: int
    key: int
    value: int
    out: int
    heads: int
    kv_heads: int
    head_dim: int
    value_head_dim: int
    _: KW_ONLY
    bias: bool
    gate: bool
    dropout: float

    @property
    def grouped(self) -> bool:
        return self.heads != self.kv_heads

    @property
    def usual(self) -> bool:
        """Whether a local class has room for them."""
        kv_free = not self.grouped or self.key == self.query
        return self.key == self.value and kv_free and self.value_head_dim == self.head_dim and self.out == self.query


def attend(
    layer: LayerHandle, sizes: Sizes, inputs: Inputs, seen: Sight, scores: bool, exact_softmax: bool = False
) -> tuple[Value, Value | None]:
    """The output (N, ..., T, out), and the weights (N, ..., heads, T, S) if `scores` are wanted.

    A query that may look nowhere: Keras gives the mean of all values where it takes the short way (`mean`),
    and zeros where it applies its own softmax: with dropout, scores or more than one axis of positions.
    """
    uncertain = (seen.mask is not None and not seen.certain) or (layer.shared and not sizes.grouped)
    mean = uncertain and not (sizes.dropout or scores or exact_softmax or seen.is_bias)
    projections = load_projections(layer, sizes)
    if sizes.gate or not sizes.usual or (scores and (sizes.grouped or seen.is_bias)):
        return written_out(layer, sizes, projections, inputs, seen, scores, mean)
    more: dict[str, Any] = {"bias": sizes.bias, "dropout": sizes.dropout}
    if sizes.grouped:
        more = {"kv_heads": sizes.kv_heads, "head_dim": sizes.head_dim} | more
        name = "MaskedGroupedQueryAttention" if mean else "GroupedQueryAttention"
    else:
        name = "ScoredAttention" if scores else "MaskedAttention" if mean else "MultiHeadAttention"
        more = {"head_dim": sizes.head_dim, "kv_dim": sizes.key if sizes.key != sizes.query else None} | more
    module = layer.local(name, sizes.query, heads=sizes.heads, **more)
    module.load(**{f"{part}.{kind}": w for part, state in projections.items() for kind, w in state.items()})
    result = module(*inputs, **seen.arguments(layer, inputs, explicit=scores))
    return (result[0], result[1]) if scores else (result, None)


def load_projections(layer: LayerHandle, sizes: Sizes) -> Projections:
    """Kernel (E, heads, dim) -> Linear.weight (heads * dim, E), for each projection."""
    parts = ["query", "key", *(["gate"] if sizes.gate else []), "value", "output"]  # Keras' order of creation
    kinds = ["kernel", *(["bias"] if sizes.bias else [])]
    w = layer.weights(*(f"{part}_dense/{kind}" for part in parts for kind in kinds))
    shapes = {
        "query": (sizes.query, sizes.heads, sizes.head_dim),
        "key": (sizes.key, sizes.kv_heads, sizes.head_dim),
        "value": (sizes.value, sizes.kv_heads, sizes.value_head_dim),
        "gate": (sizes.query, sizes.heads, sizes.value_head_dim),
    }
    loaded = {}
    for part in parts:
        kernel, bias = (getattr(w, f"{part}_dense_{kind}") for kind in ("kernel", "bias"))
        if part == "output":
            kernel = kernel.reshape(sizes.heads * sizes.value_head_dim, sizes.out)
        else:
            kernel = layer.expect(kernel, shapes[part], f"{part} kernel").reshape(shapes[part][0], -1)
        loaded[part] = {"weight": kernel.T} | ({"bias": bias.reshape(-1)} if sizes.bias else {})
    return loaded


def written_out(
    layer: LayerHandle, sizes: Sizes, projections: Projections, inputs: Inputs, seen: Sight, scores: bool, mean: bool
) -> tuple[Value, Value | None]:
    """Attention step by step: any combination of sizes, gate, shared heads, mask, dropout and scores."""
    heads = {"query": sizes.heads, "key": sizes.kv_heads, "value": sizes.kv_heads}
    q, k, v = (
        layer.function("local.split_heads", linear(layer, projections, part, x), heads[part])
        for part, x in zip(heads, inputs, strict=True)
    )
    explicit = scores or bool(sizes.dropout)
    if sizes.grouped and (explicit or mean):
        k, v = (layer.method("repeat_interleave", x, sizes.heads // sizes.kv_heads, dim=-3) for x in (k, v))
    arguments = seen.arguments(layer, inputs, explicit)
    weights = None
    if explicit:
        function = "local.biased_attention_weights" if seen.is_bias and arguments else "local.attention_weights"
        weights = layer.function(function, q, k, *arguments.values())
        kept = layer.module("nn.Dropout", sizes.dropout, role="dropout")(weights) if sizes.dropout else weights
        x = layer.operator("@", kept, v)
    elif mean and "mask" in arguments:
        x = layer.function("local.attention_or_mean", q, k, v, arguments["mask"])
    else:
        more = {"attn_mask" if name == "mask" else name: argument for name, argument in arguments.items()}
        more |= {"enable_gqa": True} if sizes.grouped and not mean else {}
        x = layer.function("F.scaled_dot_product_attention", q, k, v, **more)
    x = layer.function("local.join_heads", x)
    if sizes.gate:
        x = layer.operator("*", x, layer.method("sigmoid", linear(layer, projections, "gate", inputs[0])))
    return linear(layer, projections, "output", x), weights if scores else None


def linear(layer: LayerHandle, projections: Projections, part: str, x: Value) -> Value:
    state = projections[part]
    rows, columns = state["weight"].shape
    module = layer.module("nn.Linear", columns, rows, role=part, bias="bias" in state)
    return module.load(**state)(x)  # type: ignore[no-any-return]  # one value
