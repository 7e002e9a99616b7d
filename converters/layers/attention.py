"""MultiHeadAttention and GroupQueryAttention. What their heads do is in `attention_heads`."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

from converters.arrangement import AS_WRITTEN, as_written
from converters.graph import Value
from converters.layer import LayerHandle
from converters.layers.attention_heads import Sizes, attend
from converters.layers.attention_masks import mask_of, sight
from converters.registry import converts

Axes = tuple[int, ...]


@converts("layers.MultiHeadAttention", layout=AS_WRITTEN)
def multi_head_attention(
    layer: LayerHandle,
    query: Value,
    value: Value,
    key: Value | None = None,
    query_mask: Value | None = None,
    value_mask: Value | None = None,
    key_mask: Value | None = None,
    attention_mask: Value | None = None,
    return_attention_scores: bool = False,
    use_causal_mask: bool = False,
    *,
    num_heads: int,
    key_dim: int,
    value_dim: int | None = None,
    dropout: float = 0.0,
    use_bias: bool = True,
    use_gate: bool = False,
    output_shape: int | Axes | None = None,
    attention_axes: int | Axes | None = None,
    sliding_window: int | None = None,
    flash_attention: bool | None = None,
    softmax_robust_masking: bool = False,
) -> Any:
    """Keras takes the query's implied mask even where the call states another, and then all masks off the inputs."""
    key = value if key is None else key
    padding = (query.mask, mask_of(value, value_mask), mask_of(key, key_mask))
    if layer.version >= (3,):
        layer.end_masks(query, value, key)
    axes = attended_axes(layer, query.rank, attention_axes)
    inputs = sequences(layer, query, axes), sequences(layer, key, axes), sequences(layer, value, axes)
    out = (query.sizes[-1],) if not output_shape else (output_shape,) if isinstance(output_shape, int) else output_shape
    sizes = Sizes(
        *features(query, key, value), prod(int(n or 0) for n in out), num_heads, num_heads, key_dim,
        value_dim or key_dim, bias=use_bias, gate=use_gate, dropout=float(dropout),
    )  # fmt: skip
    seen = sight(layer, inputs, padding, attention_mask, use_causal_mask, sliding_window, axes, query.rank)
    if softmax_robust_masking:  # of Keras 2: masked scores are replaced, nothing is added to them
        seen = replace(seen, is_bias=False)
        if seen.mask is not None and (dropout or return_attention_scores or query.rank > 3):
            layer.unsupported("softmax_robust_masking=True with dropout or scores", "in Keras, set it to False")
    y, weights = attend(layer, sizes, inputs, seen, return_attention_scores, exact_softmax=query.rank > 3)
    y = unsequenced(layer, y, query, axes)
    if len(out) > 1:
        y = layer.method("unflatten", y, -1, tuple(out)).arranged(as_written(y.rank + len(out) - 1))
    y = y.masked(query.mask)
    return (y, unflattened_weights(layer, weights, query, value, axes)) if weights is not None else y


@converts("layers.GroupQueryAttention", "layers.GroupedQueryAttention", layout=AS_WRITTEN)
def group_query_attention(
    layer: LayerHandle,
    query: Value,
    value: Value,
    key: Value | None = None,
    query_mask: Value | None = None,
    value_mask: Value | None = None,
    key_mask: Value | None = None,
    attention_mask: Value | None = None,
    return_attention_scores: bool = False,
    use_causal_mask: bool = False,
    *,
    head_dim: int,
    num_query_heads: int,
    num_key_value_heads: int,
    dropout: float = 0.0,
    use_bias: bool = True,
    use_gate: bool = False,
    sliding_window: int | None = None,
    flash_attention: bool | None = None,
) -> Any:
    """Each head of keys and values serves `num_query_heads / num_key_value_heads` heads of queries in a row."""
    key = value if key is None else key
    padding = (mask_of(query, query_mask), mask_of(value, value_mask), mask_of(key, key_mask))
    if attention_mask is not None and attention_mask.dtype.startswith(("float", "bfloat")):
        layer.unsupported(
            "Keras reads an attention_mask of floating-point numbers in two ways, by its other arguments",
            "in Keras, cast attention_mask to bool",
        )
    width = features(query, key, value)
    sizes = Sizes(
        *width, width[0], num_query_heads, num_key_value_heads, head_dim, head_dim,
        bias=use_bias, gate=use_gate, dropout=float(dropout),
    )  # fmt: skip
    inputs = query, key, value
    seen = sight(layer, inputs, padding, attention_mask, use_causal_mask, sliding_window, (1,), 3)
    y, weights = attend(layer, sizes, inputs, seen, return_attention_scores)
    y = y.masked(query.mask)
    return (y, weights) if weights is not None else y


def features(query: Value, key: Value, value: Value) -> tuple[int, int, int]:
    """The last sizes of the inputs, which are always known."""
    return int(query.sizes[-1] or 0), int(key.sizes[-1] or 0), int(value.sizes[-1] or 0)


# -- the axes that attend ------------------------------------------------------------------------------------


def attended_axes(layer: LayerHandle, rank: int, axes: int | Axes | None) -> Axes:
    """The axes along which positions look at each other: all but batch and features, if none are named."""
    named = range(1, rank - 1) if not axes else (axes,) if isinstance(axes, int) else axes
    found = tuple(axis % rank if -rank <= axis < rank else -1 for axis in named)
    if any(axis not in range(1, rank - 1) for axis in found):
        layer.unsupported(
            f"attention_axes={axes} are not axes of positions of a tensor of rank {rank}", "check the file"
        )
    return found


def _order(rank: int, axes: Axes) -> list[int]:
    """Where `sequences` takes each axis from."""
    return [0, *(a for a in range(1, rank - 1) if a not in axes), *axes, rank - 1]


def sequences(layer: LayerHandle, x: Value, axes: Axes) -> Value:
    """(N, ..., T, F): the axes that attend behind the others, joined to one."""
    if (order := _order(x.rank, axes)) != sorted(order):
        x = layer.method("permute", x, *order)
    if len(axes) > 1:
        x = layer.method("flatten", x, x.rank - 1 - len(axes), x.rank - 2)
    return x


def unsequenced(layer: LayerHandle, y: Value, query: Value, axes: Axes) -> Value:
    """The inverse of `sequences`, with the positions of the queries."""
    if len(axes) > 1:
        y = layer.method("unflatten", y, -2, tuple(layer.size(query, axis) for axis in axes))
    if (order := _order(query.rank, axes)) != sorted(order):
        y = layer.method("permute", y, *(order.index(axis) for axis in range(query.rank)))
    return y.arranged(as_written(query.rank))


def unflattened_weights(layer: LayerHandle, weights: Value, query: Value, value: Value, axes: Axes) -> Value:
    """(N, ..., heads, T, S) with T and S as the axes that they join."""
    if len(axes) > 1:
        weights = layer.method("unflatten", weights, -1, tuple(layer.size(value, axis) for axis in axes))
        weights = layer.method("unflatten", weights, -1 - len(axes), tuple(layer.size(query, axis) for axis in axes))
    return weights.arranged(as_written(weights.rank))
