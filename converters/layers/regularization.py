"""Layers that act in training only."""

from __future__ import annotations

from typing import Any

from converters.arrangement import ANY, SPATIAL, Flat, Perm, as_written
from converters.graph import Value
from converters.layer import LayerHandle
from converters.registry import converts


@converts("layers.Dropout", layout=ANY, mask="pass")
def dropout(layer: LayerHandle, x: Value, *, rate: float, noise_shape: Any = None) -> Value:
    if noise_shape is None:
        return layer.module("nn.Dropout", rate)(x)  # type: ignore[no-any-return]  # one value
    if len(noise_shape) != x.rank:
        layer.unsupported(f"noise_shape={noise_shape} has not one size for each axis", "check the file")
    if isinstance(x.arrangement, Flat):
        x = layer.coerce(x, as_written(x.rank))
    assert isinstance(x.arrangement, Perm)
    # One decision for all of an axis whose noise has size 1, one for each element elsewhere.
    shared = tuple(i for i, axis in enumerate(x.arrangement.axes) if noise_shape[axis] == 1)
    if shared == tuple(range(1, x.rank)) and rate < 1:
        return layer.local("StochasticDepth", rate)(x)  # type: ignore[no-any-return]  # one value
    return layer.local("SharedDropout", rate, shared)(x)  # type: ignore[no-any-return]  # one value


@converts("layers.SpatialDropout1D", "layers.SpatialDropout2D", "layers.SpatialDropout3D", layout=SPATIAL, mask="pass")
def spatial_dropout(layer: LayerHandle, x: Value, *, rate: float, data_format: str = "channels_last") -> Value:
    """Whole channels."""
    return layer.module(f"nn.Dropout{x.rank - 2}d", rate)(x)  # type: ignore[no-any-return]  # one value


@converts("layers.GaussianNoise", layout=ANY, mask="pass")
def gaussian_noise(layer: LayerHandle, x: Value, *, stddev: float) -> Value:
    return layer.local("GaussianNoise", stddev)(x)  # type: ignore[no-any-return]  # one value


@converts("layers.GaussianDropout", layout=ANY, mask="pass")
def gaussian_dropout(layer: LayerHandle, x: Value, *, rate: float) -> Value:
    """Noise of mean 1 and standard deviation sqrt(rate / (1 - rate)), by which the input is multiplied."""
    return layer.local("GaussianDropout", rate)(x)  # type: ignore[no-any-return]  # one value


@converts("layers.AlphaDropout", layout=ANY, mask="pass")
def alpha_dropout(layer: LayerHandle, x: Value, *, rate: float, noise_shape: Any = None) -> Value:
    if noise_shape is not None:
        layer.unsupported("AlphaDropout with a noise_shape", "leave noise_shape out in Keras")
    return layer.module("nn.AlphaDropout", rate)(x)  # type: ignore[no-any-return]  # one value


@converts("layers.ActivityRegularization", layout=ANY, mask="pass")
def activity_regularization(layer: LayerHandle, x: Value, *, l1: float = 0.0, l2: float = 0.0) -> Value:
    """Passes its input on, by a module that the training project can watch: the penalty is the loss's business."""
    return layer.module("nn.Identity")(x)  # type: ignore[no-any-return]  # one value
