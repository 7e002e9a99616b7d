"""Activations: as functions (`activations.relu`, which other layers name too) and as layers."""

from __future__ import annotations

from typing import Any

from converters.arrangement import ANY, AXIS, Flat, Perm, as_written
from converters.graph import Value
from converters.layer import LayerHandle
from converters.layers.normalization import without_leading_ones
from converters.registry import converts

Axis = int | tuple[int, ...]

# Keras' name -> the torch call that equals it: a function (F.x) or a method of the tensor.
SAME = {
    "sigmoid": "sigmoid", "tanh": "tanh", "exponential": "exp", "relu6": "F.relu6", "selu": "F.selu",
    "softplus": "F.softplus", "softsign": "F.softsign", "silu": "F.silu", "swish": "F.silu", "mish": "F.mish",
    "log_sigmoid": "F.logsigmoid", "hard_silu": "F.hardswish", "hard_swish": "F.hardswish",
    "hard_tanh": "F.hardtanh", "tanh_shrink": "F.tanhshrink", "squareplus": "local.squareplus",
    "sparse_plus": "local.sparse_plus", "sparse_sigmoid": "local.sparse_sigmoid",
}  # fmt: skip


@converts(*(f"activations.{name}" for name in SAME), layout=ANY)
def same(layer: LayerHandle, x: Value) -> Value:
    target = SAME[layer.class_name]
    write = layer.function if "." in target else layer.method
    return write(target, x)  # type: ignore[no-any-return]  # one value


@converts("activations.linear", layout=ANY)
def linear(layer: LayerHandle, x: Value) -> Value:
    return x


@converts("activations.hard_sigmoid", layout=ANY)
def hard_sigmoid(layer: LayerHandle, x: Value) -> Value:
    """relu6(x + 3) / 6 since Keras 3; clip(0.2 x + 0.5) before."""
    target = "F.hardsigmoid" if layer.version >= (3,) else "local.hard_sigmoid"
    return layer.function(target, x)  # type: ignore[no-any-return]  # one value


@converts("activations.gelu", layout=ANY)
def gelu(layer: LayerHandle, x: Value, *, approximate: bool = False) -> Value:
    more = {"approximate": "tanh"} if approximate else {}
    return layer.function("F.gelu", x, **more)  # type: ignore[no-any-return]  # one value


@converts("activations.leaky_relu", layout=ANY)
def leaky_relu(layer: LayerHandle, x: Value, *, negative_slope: float = 0.2) -> Value:
    return layer.function("F.leaky_relu", x, negative_slope)  # type: ignore[no-any-return]  # one value


@converts("layers.LeakyReLU", layout=ANY, mask="pass")
def leaky_relu_layer(layer: LayerHandle, x: Value, *, negative_slope: float = 0.3) -> Value:
    return leaky_relu(layer, x, negative_slope=negative_slope)  # type: ignore[no-any-return]  # one value


@converts("activations.elu", "layers.ELU", layout=ANY, mask="pass")
def elu(layer: LayerHandle, x: Value, *, alpha: float = 1.0) -> Value:
    return layer.function("F.elu", x, *([alpha] if alpha != 1 else []))  # type: ignore[no-any-return]  # one value


@converts("activations.celu", layout=ANY)
def celu(layer: LayerHandle, x: Value, *, alpha: float = 1.0) -> Value:
    return layer.function("F.celu", x, *([alpha] if alpha != 1 else []))  # type: ignore[no-any-return]  # one value


@converts("activations.hard_shrink", layout=ANY)
def hard_shrink(layer: LayerHandle, x: Value, *, threshold: float = 0.5) -> Value:
    return layer.function("F.hardshrink", x, threshold)  # type: ignore[no-any-return]  # one value


@converts("activations.soft_shrink", layout=ANY)
def soft_shrink(layer: LayerHandle, x: Value, *, threshold: float = 0.5) -> Value:
    return layer.function("F.softshrink", x, threshold)  # type: ignore[no-any-return]  # one value


@converts("activations.threshold", layout=ANY)
def threshold(layer: LayerHandle, x: Value, *, threshold: float, default_value: float) -> Value:
    return layer.function("F.threshold", x, threshold, default_value)  # type: ignore[no-any-return]  # one value


@converts("activations.glu", layout=AXIS)
def glu(layer: LayerHandle, x: Value, *, axis: int = -1) -> Value:
    return layer.function("F.glu", x, dim=layer.axis(x, axis))  # type: ignore[no-any-return]  # one value


@converts("activations.softmax", layout=AXIS)
def softmax(layer: LayerHandle, x: Value, *, axis: Axis = -1) -> Value:
    return _along(layer, "softmax", x, axis)


@converts("activations.log_softmax", layout=AXIS)
def log_softmax(layer: LayerHandle, x: Value, *, axis: Axis = -1) -> Value:
    return _along(layer, "log_softmax", x, axis)


@converts("activations.sparsemax", layout=AXIS)
def sparsemax(layer: LayerHandle, x: Value, *, axis: int = -1) -> Value:
    return layer.function("local.sparsemax", x, layer.axis(x, axis))  # type: ignore[no-any-return]  # one value


@converts("layers.Softmax", layout=AXIS, mask="pass")
def softmax_layer(layer: LayerHandle, x: Value, mask: Value | None = None, *, axis: Axis = -1) -> Value:
    """Positions that the mask hides get nothing; a row that is hidden whole is zero."""
    mask = mask if mask is not None else layer.mask
    if mask is None:
        return _along(layer, "softmax", x, axis)
    axes = layer.axes(x, axis)
    if len(axes) == 1:
        return layer.function("local.masked_softmax", x, mask, axes[0])  # type: ignore[no-any-return]  # one value
    return layer.function("local.masked_softmax_over", x, mask, axes)  # type: ignore[no-any-return]  # one value


def _along(layer: LayerHandle, method: str, x: Value, axis: Axis) -> Value:
    """Softmax over one axis, or over several at once."""
    axes = layer.axes(x, axis)
    if len(axes) == 1:
        dim = -1 if axes[0] == x.rank - 1 else axes[0]
        return layer.method(method, x, dim=dim)  # type: ignore[no-any-return]  # one value
    return layer.function(f"local.{method}_over", x, axes)  # type: ignore[no-any-return]  # one value


@converts("activations.relu", "layers.ReLU", layout=ANY, mask="pass")
def relu(
    layer: LayerHandle, x: Value, *, max_value: float | None = None, negative_slope: float = 0.0, threshold: float = 0.0
) -> Value:
    """max(x, 0), leaky below the threshold, cut off at max_value."""
    if threshold:
        return layer.function("local.thresholded_relu", x, threshold, negative_slope, max_value)  # type: ignore[no-any-return]
    if max_value is None:
        target, more = ("F.leaky_relu", [negative_slope]) if negative_slope else ("F.relu", [])
        return layer.function(target, x, *more)  # type: ignore[no-any-return]  # one value
    if negative_slope:
        y = layer.function("F.leaky_relu", x, negative_slope)
        return layer.method("clamp", y, max=max_value)  # type: ignore[no-any-return]  # one value
    if max_value == 6:
        return layer.function("F.relu6", x)  # type: ignore[no-any-return]  # one value
    return layer.method("clamp", x, 0, max_value)  # type: ignore[no-any-return]  # one value


@converts("layers.Activation", layout=ANY, mask="pass")
def activation(layer: LayerHandle, x: Value, *, activation: Any) -> Value:
    return layer.activate(x, activation)  # type: ignore[no-any-return]  # one value


@converts("layers.PReLU", layout=ANY, mask="pass")
def prelu(layer: LayerHandle, x: Value, *, shared_axes: tuple[int, ...] | None = None) -> Value:
    """One slope for each channel is nn.PReLU; one for each element is a parameter of its own."""
    w = layer.weights("alpha")
    if isinstance(x.arrangement, Flat):
        x = layer.coerce(x, as_written(x.rank))
    assert isinstance(x.arrangement, Perm)
    shape = [w.alpha.shape[axis - 1] for axis in x.arrangement.axes[1:]]
    alpha = w.alpha.transpose(*(axis - 1 for axis in x.arrangement.axes[1:]))
    if all(size == 1 for size in shape[1:]):
        module = layer.module("nn.PReLU", shape[0]).load(weight=alpha.reshape(-1))
        return module(x)  # type: ignore[no-any-return]  # one value
    stripped = without_leading_ones(shape)
    slope = layer.parameter("alpha", alpha.reshape(*stripped))
    scaled = layer.operator("*", slope, layer.method("clamp", x, max=0))
    return layer.operator("+", layer.function("F.relu", x), scaled)  # type: ignore[no-any-return]  # one value
