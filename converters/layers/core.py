"""Dense, Embedding, and what passes data on."""

from __future__ import annotations

from typing import Any

from converters.arrangement import ANY, AS_WRITTEN
from converters.graph import Value
from converters.layer import LayerHandle
from converters.registry import converts


@converts("layers.Dense", layout=AS_WRITTEN, mask="pass", features=True)
def dense(layer: LayerHandle, x: Value, *, units: int, use_bias: bool = True, activation: Any = None) -> Value:
    """Kernel (in, units) -> Linear.weight (units, in). Flattened features are met by reordered columns."""
    w = layer.weights("kernel", "bias" if use_bias else None)
    kernel = layer.expect(w.kernel, (x.sizes[-1], units), "kernel")
    linear = layer.module("nn.Linear", kernel.shape[0], units, bias=use_bias)
    linear.load(weight=kernel.reorder(0, layer.order).T, bias=w.bias)
    return layer.activate(linear(x), activation)  # type: ignore[no-any-return]  # one value


def nonzero_tokens(layer: LayerHandle, inputs: list[Value]) -> Value | None:
    """Embedding(mask_zero=True): token 0 is padding."""
    return layer.operator("!=", inputs[0], 0) if layer.config.get("mask_zero") else None


@converts("layers.Embedding", layout=AS_WRITTEN, mask=nonzero_tokens)
def embedding(layer: LayerHandle, x: Value, *, input_dim: int, output_dim: int, mask_zero: bool = False) -> Value:
    """Row 0 is an ordinary row even where token 0 is masked, unlike `padding_idx`."""
    w = layer.weights("embeddings")
    table = layer.module("nn.Embedding", input_dim, output_dim)
    table.load(weight=layer.expect(w.embeddings, (input_dim, output_dim), "table"))
    if x.dtype not in ("int32", "int64"):
        x = layer.method("long", x)
    return table(x)  # type: ignore[no-any-return]  # one value


@converts("layers.Identity", layout=ANY, mask="pass")
def identity(layer: LayerHandle, x: Value) -> Value:
    return x


def steps_unlike(layer: LayerHandle, inputs: list[Value]) -> Value:
    """Masking: a step counts if any of its features differs from the mask value."""
    kept: Value = layer.operator("!=", inputs[0], float(layer.config.get("mask_value", 0.0)))
    return layer.method("any", kept, dim=-1)  # type: ignore[no-any-return]  # one value


@converts("layers.Masking", layout=AS_WRITTEN, mask=steps_unlike)
def masking(layer: LayerHandle, x: Value, *, mask_value: float = 0.0) -> Value:
    """Steps that are masked are also set to zero."""
    kept = layer.method("any", layer.operator("!=", x, float(mask_value)), dim=-1, keepdim=True)
    return layer.operator("*", x, kept)  # type: ignore[no-any-return]  # one value
