"""Layers that keras.applications define for themselves (ConvNeXt, InceptionResNetV2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converters.arrangement import ANY, AXIS
from converters.graph import Value
from converters.layer import LayerHandle
from converters.registry import converts


@converts("layers.CustomScaleLayer", layout=ANY)
def custom_scale(layer: LayerHandle, inputs: Sequence[Any], *, scale: float) -> Value:
    """The shortcut plus the scaled residual."""
    shortcut, residual = layer.align(inputs)
    return layer.operator("+", shortcut, layer.operator("*", residual, scale))  # type: ignore[no-any-return]


@converts("layers.LayerScale", layout=AXIS)
def layer_scale(layer: LayerHandle, x: Value, *, init_values: float, projection_dim: int) -> Value:
    """One learned factor for each channel."""
    w = layer.weights("gamma")
    trailing = x.rank - 1 - layer.axis(x, -1)
    learned = layer.expect(w.gamma, (projection_dim,), "gamma").reshape(-1, *[1] * trailing)
    gamma = layer.parameter("gamma", learned, fill=init_values)
    return layer.operator("*", x, gamma)  # type: ignore[no-any-return]  # one value


@converts("layers.StochasticDepth", layout=ANY)
def stochastic_depth(layer: LayerHandle, x: Value, *, drop_path_rate: float) -> Value:
    """In training, drops the whole residual of a sample, or scales it up."""
    return layer.local("StochasticDepth", drop_path_rate)(x)  # type: ignore[no-any-return]  # one value
