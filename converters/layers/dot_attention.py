"""Attention and AdditiveAttention: a list of query, value and perhaps key, without projections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from converters.arrangement import AS_WRITTEN
from converters.graph import Value
from converters.layer import LayerHandle
from converters.layers.attention_masks import boolean
from converters.registry import converts

Masks = Sequence[Value | None] | None


@converts("layers.Attention", layout=AS_WRITTEN)
def attention(
    layer: LayerHandle,
    inputs: Sequence[Value],
    mask: Masks = None,
    return_attention_scores: bool = False,
    use_causal_mask: bool = False,
    *,
    use_scale: bool = False,
    score_mode: Literal["dot", "concat"] = "dot",
    dropout: float = 0.0,
) -> Any:
    """The products of queries and keys as they are (times a learned number), not divided by the root of their size."""
    query, value, key = of_inputs(layer, inputs)
    masks = stated_or_implied(inputs, mask)
    w = layer.weights("scale" if use_scale else None, "concat_score_weight" if score_mode == "concat" else None)
    scale = layer.parameter("scale", layer.expect(w.scale, (), "scale"), fill=1.0) if use_scale else None
    if score_mode == "dot" and not dropout and not return_attention_scores:
        scaled = query if scale is None else layer.operator("*", query, scale)
        hidden = sdpa_mask(layer, query, key, masks[1], use_causal_mask)
        y = layer.function("F.scaled_dot_product_attention", scaled, key, value, **hidden, scale=1.0)
        return hide_queries(layer, y, masks[0])
    if score_mode == "dot":
        scores = layer.operator("@", query, layer.method("transpose", key, -2, -1))
        scores = scores if scale is None else layer.operator("*", scores, scale)
    else:
        sums = pairwise_sums(layer, query, key)
        sums = sums if scale is None else layer.operator("*", sums, scale)
        learned = layer.expect(w.concat_score_weight, (), "concat_score_weight")
        factor = layer.parameter("concat_score_weight", learned, fill=1.0)
        scores = layer.operator("*", layer.method("sum", layer.method("tanh", sums), -1), factor)
    return weighted(layer, scores, query, key, value, masks, dropout, return_attention_scores, use_causal_mask)


@converts("layers.AdditiveAttention", layout=AS_WRITTEN)
def additive_attention(
    layer: LayerHandle,
    inputs: Sequence[Value],
    mask: Masks = None,
    return_attention_scores: bool = False,
    use_causal_mask: bool = False,
    *,
    use_scale: bool = True,
    dropout: float = 0.0,
) -> Any:
    """The sum of tanh(query + key) over the features, each with a learned weight."""
    query, value, key = of_inputs(layer, inputs)
    masks = stated_or_implied(inputs, mask)
    w = layer.weights("scale" if use_scale else None)
    bent = layer.method("tanh", pairwise_sums(layer, query, key))
    if use_scale:
        scale = layer.parameter("scale", layer.expect(w.scale, (query.sizes[-1],), "scale"))
        scores = layer.operator("@", bent, scale)
    else:
        scores = layer.method("sum", bent, -1)
    return weighted(layer, scores, query, key, value, masks, dropout, return_attention_scores, use_causal_mask)


def of_inputs(layer: LayerHandle, inputs: Sequence[Value]) -> tuple[Value, Value, Value]:
    """Query, value and key; the values are the keys where none are given."""
    if len(inputs) not in (2, 3) or any(x.rank < 3 for x in inputs):
        layer.unsupported(
            f"it is called with inputs of shapes {[list(x.sizes) for x in inputs]}",
            "in Keras, call it with [query, value] or [query, value, key], each (batch, steps, features)",
        )
    return inputs[0], inputs[1], inputs[2] if len(inputs) > 2 else inputs[1]


def stated_or_implied(inputs: Sequence[Value], mask: Masks) -> tuple[Value | None, Value | None]:
    """The masks of query and value; that of the key plays no part."""
    found = list(mask) if mask else [x.mask for x in inputs]
    return found[0], found[1]


def pairwise_sums(layer: LayerHandle, query: Value, key: Value) -> Value:
    """(N, T, F) and (N, S, F) -> (N, T, S, F)."""
    left = layer.method("unsqueeze", query, query.rank - 1)
    return layer.operator("+", left, layer.method("unsqueeze", key, key.rank - 2))  # type: ignore[no-any-return]


def visible(layer: LayerHandle, query: Value, key: Value, mask: Value | None, causal: bool) -> Value | None:
    """Where a query may look, (N, T, S) or broadcast to it; None where nothing is hidden."""
    parts = []
    if mask is not None:
        mask = boolean(layer, mask)
        parts.append(layer.method("unsqueeze", mask, mask.rank - 1) if mask.rank == 2 or causal else mask)
    if causal:
        parts.append(layer.function("local.causal_mask", query, key))
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else layer.operator("&", *parts)


def sdpa_mask(layer: LayerHandle, query: Value, key: Value, mask: Value | None, causal: bool) -> dict[str, Any]:
    """Keras subtracts 1e9 from hidden scores: a query that may look nowhere keeps what rounding leaves of them."""
    if causal and mask is None:
        return {"is_causal": True}
    seen = visible(layer, query, key, mask, causal)
    return {} if seen is None else {"attn_mask": layer.function("local.attention_bias", seen, query)}


def weighted(
    layer: LayerHandle, scores: Value, query: Value, key: Value, value: Value,
    masks: tuple[Value | None, Value | None], dropout: float, return_scores: bool, causal: bool,
) -> Any:  # fmt: skip
    """The values, weighted by the softmax of the scores (N, T, S); with the weights, if they are asked for."""
    seen = visible(layer, query, key, masks[1], causal)
    if seen is not None:
        scores = layer.operator("+", scores, layer.function("local.attention_bias", seen, scores))
    weights = layer.method("softmax", scores, dim=-1)
    kept = layer.module("nn.Dropout", dropout, role="dropout")(weights) if dropout else weights
    y = hide_queries(layer, layer.operator("@", kept, value), masks[0])
    return (y, weights) if return_scores else y


def hide_queries(layer: LayerHandle, y: Value, mask: Value | None) -> Value:
    """Zero for the queries that are padding; their mask goes on."""
    if mask is None:
        return y
    counts = layer.method("unsqueeze", boolean(layer, mask), -1)
    hidden: Value = layer.function("torch.where", counts, y, 0.0)
    return hidden.masked(mask)
