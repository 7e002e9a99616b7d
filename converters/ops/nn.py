"""Ops of neural networks: activations with their own defaults, normalizations, attention, losses of logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from converters.arrangement import ANY, AS_WRITTEN, AXIS, Arrangement, Perm, as_written
from converters.graph import Value
from converters.layer import LayerHandle
from converters.layers import activation as act
from converters.ops.operands import Axis, array_of, keras_axes, operands, perm_of, promoted, tensor, write
from converters.registry import converts

# Keras' class -> the activation of the layers that it equals.
ACTIVATIONS = {
    "Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "SparseSigmoid": "sparse_sigmoid", "Softplus": "softplus",
    "Softsign": "softsign", "SparsePlus": "sparse_plus", "Silu": "silu", "LogSigmoid": "log_sigmoid",
    "HardSigmoid": "hard_sigmoid", "HardSilu": "hard_silu", "Selu": "selu", "TanhShrink": "tanh_shrink",
    "HardTanh": "hard_tanh",
}  # fmt: skip
WITH_OPTIONS = {
    "LeakyRelu": act.leaky_relu, "Elu": act.elu, "Celu": act.celu, "SoftShrink": act.soft_shrink,
    "HardShrink": act.hard_shrink, "Threshold": act.threshold,
}  # fmt: skip
for _name, _function in WITH_OPTIONS.items():
    converts(f"ops.{_name}", layout=ANY)(_function)
for _name, _function in {"Glu": act.glu, "Sparsemax": act.sparsemax}.items():
    converts(f"ops.{_name}", layout=AXIS)(_function)
EPSILON = 1e-7  # keras.config.epsilon()


@converts(*(f"ops.{name}" for name in ACTIVATIONS), layout=ANY)
def activation(layer: LayerHandle, x: Value) -> Value:
    return layer.apply(f"activations.{ACTIVATIONS[layer.class_name]}", x)  # type: ignore[no-any-return]  # one value


@converts("ops.Gelu", layout=ANY)
def gelu(layer: LayerHandle, x: Value, *, approximate: bool = True) -> Value:
    """The op is approximate unless it says otherwise; the activation of a layer is not."""
    return layer.apply("activations.gelu", x, approximate=approximate)  # type: ignore[no-any-return]  # one value


@converts("ops.Squareplus", layout=ANY)
def squareplus(layer: LayerHandle, x: Value, *, b: float = 4) -> Value:
    return write(layer, "local.squareplus", x, *([b] if b != 4 else []))


@converts("ops.Softmax", "ops.LogSoftmax", layout=AXIS)
def softmax(layer: LayerHandle, x: Value, *, axis: Axis = -1) -> Value:
    """Without an axis, over all elements."""
    name = "softmax" if layer.class_name == "Softmax" else "log_softmax"
    return layer.apply(f"activations.{name}", x, axis=axis if axis is not None else tuple(range(x.rank)))  # type: ignore[no-any-return]


# -- normalizations ----------------------------------------------------------------------------------------


@converts("ops.Normalize", layout=AXIS)
def normalize(layer: LayerHandle, x: Value, *, axis: Axis = -1, order: int = 2, epsilon: float | None = None) -> Value:
    """x / max(norm, epsilon)."""
    axes = layer.axes(x, axis)
    if order != 2 and len(axes) > 1:
        layer.unsupported(f"it normalizes matrices by their norm of order {order}", "use order=2, or one axis")
    options: dict[str, Any] = {"p": float(order)} if order != 2 else {}
    options |= {"dim": axes[0] if len(axes) == 1 else axes, "eps": EPSILON if epsilon is None else epsilon}
    return write(layer, "F.normalize", layer.floating(x), **options)


def LAST(inputs: Sequence[Any], config: Mapping[str, Any]) -> list[Arrangement]:
    """The axes that are normalized last, and what scales them as it is written."""
    x, *others = inputs
    axes = keras_axes(config.get("axis"), x.rank)
    order = Perm((*(a for a in range(x.rank) if a not in axes), *axes))
    return [order, *(as_written(v.rank) for v in others)]


@converts("ops.LayerNorm", layout=LAST)
def layer_norm(
    layer: LayerHandle,
    x: Value,
    gamma: Any = None,
    beta: Any = None,
    *,
    axis: int | tuple[int, ...] = -1,
    epsilon: float | None = None,
    rms_scaling: bool = False,
) -> Value:
    if rms_scaling:
        layer.unsupported("rms_scaling=True divides by the deviation", "use rms_normalization in Keras")
    shape = [x.sizes[i] for i in range(x.rank - len(keras_axes(axis, x.rank)), x.rank)]
    scale, offset = (_of_shape(layer, v, shape, role) for v, role in ((gamma, "gamma"), (beta, "beta")))
    given = [scale, offset] if offset is not None else [scale] if scale is not None else []
    return write(layer, "F.layer_norm", x, tuple(shape), *given, eps=EPSILON if epsilon is None else epsilon)


@converts("ops.RMSNorm", layout=LAST)
def rms_norm(
    layer: LayerHandle, x: Value, scale: Any = None, *, axis: int | tuple[int, ...] = -1, epsilon: float | None = None
) -> Value:
    shape = [x.sizes[i] for i in range(x.rank - len(keras_axes(axis, x.rank)), x.rank)]
    given = [_of_shape(layer, scale, shape, "scale")] if scale is not None else []
    return write(layer, "F.rms_norm", x, tuple(shape), *given, eps=EPSILON if epsilon is None else epsilon)


def _of_shape(layer: LayerHandle, numbers: Any, shape: Sequence[int | None], role: str) -> Value | None:
    """What multiplies or is added, if it has one number for each element that is normalized."""
    numbers = array_of(numbers)
    if numbers is None:
        return None
    if isinstance(numbers, np.ndarray):
        numbers = np.broadcast_to(numbers, [size or 0 for size in shape])
    found = tensor(layer, numbers, role)
    if None in shape or list(found.sizes) != list(shape):
        layer.unsupported(f"its {role} has the shape {list(found.sizes)}", f"give it the shape {list(shape)} in Keras")
    return found


@converts("ops.BatchNorm", layout=AXIS)
def batch_norm(
    layer: LayerHandle,
    x: Value,
    mean: Any,
    variance: Any,
    offset: Any = None,
    scale: Any = None,
    *,
    axis: int,
    epsilon: float = 1e-3,
) -> Value:
    """By statistics that the model computes or states, one number for each place along the axis."""
    roles = ("mean", "variance", "scale", "offset")
    trailing = x.rank - 1 - layer.axis(x, axis)
    given: list[Value | None] = []
    for numbers, role in zip((mean, variance, scale, offset), roles, strict=True):
        if numbers is None:
            given.append(None)
            continue
        array = array_of(numbers)
        if isinstance(array, np.ndarray):
            given.append(layer.constant(role, array.reshape(*array.shape, *[1] * trailing)))
        else:
            value = layer.coerce(tensor(layer, array, role), as_written(1))
            given.append(layer.index(value, ..., *[None] * trailing) if trailing else value)
    while given[-1] is None:
        given.pop()
    return write(layer, "local.batch_norm", x, epsilon, *given).arranged(x.arrangement)


# -- attention ---------------------------------------------------------------------------------------------


@converts("ops.DotProductAttention", layout=AS_WRITTEN)
def dot_product_attention(
    layer: LayerHandle,
    query: Value,
    key: Value,
    value: Value,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    *,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Value:
    """(N, T, heads, D). A row whose mask hides everything gives the mean of all values; TensorFlow has no soft cap."""
    if isinstance(scale, Value):
        layer.unsupported("the scale of its attention is computed", "multiply the query by it in Keras")
    options: dict[str, Any] = {}
    for name, given in (("bias", bias), ("mask", mask)):
        if given is not None:
            options[name] = tensor(layer, array_of(given), name)
    options |= {"causal": True} if is_causal else {}
    options |= {"scale": float(scale)} if scale is not None else {}
    return write(layer, "local.dot_product_attention", query, key, value, **options).arranged(as_written(4))


# -- losses as ops -----------------------------------------------------------------------------------------


@converts("ops.BinaryCrossentropy", layout=ANY)
def binary_crossentropy(layer: LayerHandle, target: Any, output: Any, *, from_logits: bool = False) -> Value:
    _of_logits(layer, from_logits)
    y, x = promoted(layer, operands(layer, target, output), floating=True)
    return write(
        layer, "F.binary_cross_entropy_with_logits", x, layer.floating(tensor(layer, y, "target")), reduction="none"
    )


@converts("ops.CategoricalCrossentropy", layout=AXIS)
def categorical_crossentropy(
    layer: LayerHandle, target: Any, output: Any, *, from_logits: bool = False, axis: int = -1
) -> Value:
    _of_logits(layer, from_logits)
    y, x = operands(layer, target, output)
    dim = layer.axis(x, axis)
    products = write(layer, "*", write(layer, "log_softmax", x, dim=dim), y)
    loss = write(layer, "neg", write(layer, "sum", products, dim=dim))
    names = sorted(a for i, a in enumerate(perm_of(x)) if i != dim)
    return loss.arranged(Perm(tuple(names.index(a) for i, a in enumerate(perm_of(x)) if i != dim)))


@converts("ops.SparseCategoricalCrossentropy", layout=AS_WRITTEN)
def sparse_categorical_crossentropy(
    layer: LayerHandle, target: Value, output: Value, *, from_logits: bool = False, axis: int = -1
) -> Value:
    _of_logits(layer, from_logits)
    y = write(layer, "squeeze", target, -1) if target.rank == output.rank else target
    picked = write(layer, "local.log_probability", output, y)
    return write(layer, "neg", picked).arranged(as_written(output.rank - 1))


def _of_logits(layer: LayerHandle, from_logits: bool) -> None:
    """Of probabilities, what Keras computes depends on the layer that made them."""
    if not from_logits:
        layer.unsupported("a crossentropy of probabilities inside the model", "compute it from logits, or as a loss")
