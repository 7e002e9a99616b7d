"""Functions of TensorFlow whose arguments mean other things than those of keras.ops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from math import sqrt
from typing import Any

import numpy as np

from converters.graph import Value
from converters.layer import LayerHandle
from converters.ops.tensorflow import AS_IT_COMES
from converters.registry import converts

Sizes = int | Sequence[int]


@converts("tf.compat.v1.shape", "tf.shape", "tf.shape_v2", layout=AS_IT_COMES)
def shape(layer: LayerHandle, input: Value, out_type: Any = None, name: Any = None) -> Value:
    """Stands for the tensor until somebody asks for one of its sizes."""
    return replace(input, dtype="shape")


@converts("tf.__operators__.getitem", layout=AS_IT_COMES)
def get_item(layer: LayerHandle, x: Value, slice_spec: Any) -> Any:
    """x[slice_spec]; of a shape, one size."""
    parts = slice_spec if isinstance(slice_spec, (list, tuple)) else [slice_spec]
    key = [slice(p.get("start"), p.get("stop"), p.get("step")) if isinstance(p, dict) else p for p in parts]
    if x.dtype != "shape":
        return layer.apply("ops.GetItem", x, key)
    if len(key) != 1 or not isinstance(key[0], int):
        layer.unsupported("it takes a part of a shape", "take single sizes, such as tf.shape(x)[1], in Keras")
    return layer.size(replace(x, dtype=""), layer.axis(x, key[0]))


@converts("tf.strided_slice", layout=AS_IT_COMES)
def strided_slice(
    layer: LayerHandle,
    input_: Value,
    begin: Sequence[int],
    end: Sequence[int],
    strides: Sequence[int] | None = None,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
    var: Any = None,
    name: Any = None,
) -> Any:
    """The bits of a mask say of which axes an end counts, and which axes are one element."""
    if ellipsis_mask or new_axis_mask:
        layer.unsupported("it inserts axes while it slices", "use indexing by [] in Keras")
    key: list[Any] = []
    for i, (start, stop) in enumerate(zip(begin, end, strict=True)):
        step = strides[i] if strides else 1
        bounds = None if begin_mask >> i & 1 else start, None if end_mask >> i & 1 else stop
        key.append(start if shrink_axis_mask >> i & 1 else slice(*bounds, step if step != 1 else None))
    return layer.apply("ops.GetItem", input_, key)


@converts("tf.reshape", layout=AS_IT_COMES)
def reshape(layer: LayerHandle, tensor: Value, shape: Any, name: Any = None) -> Any:
    """To sizes, some of which may be those of a tensor at run time."""
    if isinstance(shape, Value) and shape.dtype == "shape":
        like = replace(shape, dtype="")
        sizes = [layer.size(like, layer.axis(like, axis)) for axis in range(like.rank)]
    else:
        sizes = list(shape) if isinstance(shape, (list, tuple)) else [shape]
    if isinstance(sizes[0], Value) and not any(isinstance(size, Value) or size == -1 for size in sizes[1:]):
        sizes[0] = -1
    if any(isinstance(size, Value) for size in sizes):
        return layer.apply("ops.DynamicReshape", tensor, sizes)
    return layer.apply("ops.Reshape", tensor, newshape=tuple(sizes))


@converts("tf.split", layout=AS_IT_COMES)
def split(
    layer: LayerHandle, value: Value, num_or_size_splits: Sizes, axis: int = 0, num: Any = None, name: Any = None
) -> Any:
    """By sizes, where keras.ops splits at places."""
    if isinstance(num_or_size_splits, int):
        return layer.apply("ops.Split", value, indices_or_sections=num_or_size_splits, axis=axis)
    sizes = list(num_or_size_splits)
    if -1 in sizes:
        total = value.keras_shape[axis]
        if total is None:
            layer.unsupported(
                "it splits an axis of unknown size into parts of unknown size", "state all sizes in Keras"
            )
        sizes[sizes.index(-1)] = total - sum(sizes) - 1
    return layer.apply("ops.Split", value, indices_or_sections=tuple(np.cumsum(sizes)[:-1].tolist()), axis=axis)


@converts("tf.linalg.matmul", layout=AS_IT_COMES)
def matmul(
    layer: LayerHandle,
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    output_type: Any = None,
    grad_a: bool = False,
    grad_b: bool = False,
    name: Any = None,
) -> Any:
    """Of real matrices the adjoint is the transpose."""
    turned = (transpose_a or adjoint_a, transpose_b or adjoint_b)
    x, y = (_transposed(layer, v) if flag else v for v, flag in zip((a, b), turned, strict=True))
    return layer.apply("ops.Matmul", x, y)


def _transposed(layer: LayerHandle, x: Any) -> Any:
    if isinstance(x, Value):
        return layer.apply("ops.Swapaxes", x, axis1=-1, axis2=-2)
    return np.swapaxes(np.asarray(x), -1, -2)


@converts("tf.clip_by_value", layout=AS_IT_COMES)
def clip_by_value(layer: LayerHandle, t: Value, clip_value_min: Any, clip_value_max: Any, name: Any = None) -> Any:
    bounds = clip_value_min, clip_value_max
    if all(isinstance(bound, (int, float)) for bound in bounds):
        return layer.apply("ops.Clip", t, x_min=bounds[0], x_max=bounds[1])
    return layer.apply("ops.Maximum", layer.apply("ops.Minimum", t, bounds[1]), bounds[0])


@converts("tf.math.squared_difference", layout=AS_IT_COMES)
def squared_difference(layer: LayerHandle, x: Any, y: Any, name: Any = None) -> Any:
    return layer.apply("ops.Square", layer.apply("ops.Subtract", x, y))


@converts("tf.math.add_n", layout=AS_IT_COMES)
def add_n(layer: LayerHandle, inputs: Any, name: Any = None) -> Any:
    parts = inputs if isinstance(inputs, (list, tuple)) else [inputs]
    return reduce(lambda a, b: layer.apply("ops.Add", a, b), parts)


@converts("tf.nn.bias_add", layout=AS_IT_COMES)
def bias_add(layer: LayerHandle, value: Value, bias: Any, data_format: str | None = None, name: Any = None) -> Any:
    """Along the last axis, or along axis 1."""
    if data_format in (None, "NHWC", "N...C"):
        return layer.apply("ops.Add", value, bias)
    channels_last = layer.apply("ops.Moveaxis", value, source=1, destination=-1)
    return layer.apply("ops.Moveaxis", layer.apply("ops.Add", channels_last, bias), source=-1, destination=1)


@converts("tf.nn.silu", "tf.nn.swish", layout=AS_IT_COMES)
def silu(layer: LayerHandle, features: Value, beta: float = 1.0, name: Any = None) -> Any:
    """x sigmoid(beta x)."""
    if beta == 1:
        return layer.apply("ops.Silu", features)
    return layer.apply(
        "ops.Multiply", features, layer.apply("ops.Sigmoid", layer.apply("ops.Multiply", features, beta))
    )


@converts("tf.compat.v1.nn.crelu", "tf.nn.crelu", layout=AS_IT_COMES)
def crelu(layer: LayerHandle, features: Value, axis: int = -1, name: Any = None) -> Any:
    """What is positive beside what is negative."""
    halves = [layer.apply("ops.Relu", x) for x in (features, layer.apply("ops.Negative", features))]
    return layer.apply("ops.Concatenate", halves, axis=axis)


@converts("tf.math.l2_normalize", layout=AS_IT_COMES)
def l2_normalize(
    layer: LayerHandle, x: Value, axis: Any = None, epsilon: float = 1e-12, name: Any = None, dim: Any = None
) -> Any:
    """Epsilon is a bound of the squares."""
    axes = axis if axis is not None else dim
    return layer.apply(
        "ops.Normalize", x, axis=axes if axes is not None else tuple(range(x.rank)), epsilon=sqrt(epsilon)
    )


@converts("tf.compat.v1.norm", "tf.norm", layout=AS_IT_COMES)
def norm(
    layer: LayerHandle,
    tensor: Value,
    ord: Any = "euclidean",
    axis: Any = None,
    keepdims: bool | None = None,
    name: Any = None,
    keep_dims: bool | None = None,
) -> Any:
    if axis is None and ord not in ("euclidean", 2):
        tensor, axis = layer.apply("ops.Ravel", tensor), 0
    order = None if ord in ("euclidean", "fro") else ord
    return layer.apply("ops.Norm", tensor, ord=order, axis=axis, keepdims=bool(keepdims or keep_dims))


@converts("tf.linalg.band_part", layout=AS_IT_COMES)
def band_part(layer: LayerHandle, input: Value, num_lower: int, num_upper: int, name: Any = None) -> Any:
    """So many diagonals below and above the main one; a negative number stands for all."""
    if num_upper >= 0:
        input = layer.apply("ops.Tril", input, k=num_upper)
    return layer.apply("ops.Triu", input, k=-num_lower) if num_lower >= 0 else input


@converts("tf.keras.backend.batch_flatten", layout=AS_IT_COMES)
def batch_flatten(layer: LayerHandle, x: Value) -> Any:
    return layer.apply("layers.Flatten", x)
