"""Ops that slide a window: convolutions by kernels of the model's own, pooling, patches."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from converters import padding as pad
from converters.arrangement import AS_WRITTEN, SPATIAL, Perm, as_written
from converters.graph import Value
from converters.layer import LayerHandle, compact
from converters.layers import pooling
from converters.layers.convolution import DataFormat, Sizes, Window, spread
from converters.ops.operands import array_of, write
from converters.registry import converts

Padding = Literal["valid", "same"]


@converts("ops.MaxPool", layout=SPATIAL)
def max_pool(
    layer: LayerHandle,
    inputs: Value,
    *,
    pool_size: Sizes,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    data_format: DataFormat | None = "channels_last",
) -> Value:
    return pooling.max_pooling(layer, inputs, pool_size=pool_size, strides=strides, padding=padding)  # type: ignore[no-any-return]  # one value


@converts("ops.AveragePool", layout=SPATIAL)
def average_pool(
    layer: LayerHandle,
    inputs: Value,
    *,
    pool_size: Sizes,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    data_format: DataFormat | None = "channels_last",
) -> Value:
    return pooling.average_pooling(layer, inputs, pool_size=pool_size, strides=strides, padding=padding)  # type: ignore[no-any-return]  # one value


@converts("ops.Conv", "ops.DepthwiseConv", layout=SPATIAL)
def conv(
    layer: LayerHandle,
    inputs: Value,
    kernel: Any,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    data_format: DataFormat | None = "channels_last",
    dilation_rate: Sizes = 1,
) -> Value:
    """The kernel (k..., in, out) is a tensor of the model, or stated by it."""
    return slide(layer, inputs, kernel, layer.class_name == "DepthwiseConv", strides, padding, dilation_rate)


@converts("ops.SeparableConv", layout=SPATIAL)
def separable_conv(
    layer: LayerHandle,
    inputs: Value,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    data_format: DataFormat | None = "channels_last",
    dilation_rate: Sizes = 1,
) -> Value:
    x = slide(layer, inputs, depthwise_kernel, True, strides, padding, dilation_rate, "depthwise")
    return slide(layer, x, pointwise_kernel, False, 1, "valid", 1, "pointwise")


def slide(
    layer: LayerHandle,
    x: Value,
    kernel: Any,
    depthwise: bool,
    strides: Sizes,
    padding: str,
    dilation: Sizes,
    role: str = "kernel",
) -> Value:
    """A convolution by a kernel in the order of Keras, padded as Keras does."""
    weight = torch_kernel(layer, kernel, depthwise, role)
    window = Window(x, weight.sizes[2:], strides, dilation, padding)  # type: ignore[arg-type]  # a kernel's sizes are known
    pairs = window.pairs()
    widths = pad.symmetric(pairs) if pairs is not None else None
    if pairs is None:
        x = write(layer, "local.pad_same", x, window.reach, window.stride)
    elif widths is None:
        x = write(layer, "F.pad", x, pad.for_pad(pairs))
    options: dict[str, Any] = {"stride": compact(window.stride)} if set(window.stride) != {1} else {}
    options |= {"padding": compact(widths)} if widths and any(widths) else {}
    options |= {"dilation": compact(window.dilation)} if set(window.dilation) != {1} else {}
    groups = int(x.sizes[1] or 1) // int(weight.sizes[1] or 1)
    options |= {"groups": groups} if groups != 1 else {}
    return write(layer, f"F.conv{window.rank}d", x, weight, **options).arranged(x.arrangement)


def torch_kernel(layer: LayerHandle, kernel: Any, depthwise: bool, role: str) -> Value:
    """(k..., in, out) -> (out, in, k...); depthwise (k..., C, M) -> (C * M, 1, k...)."""
    kernel = array_of(kernel)
    rank = kernel.rank if isinstance(kernel, Value) else kernel.ndim
    last = (rank - 2, rank - 1) if depthwise else (rank - 1, rank - 2)
    order = (*last, *range(rank - 2))
    if isinstance(kernel, np.ndarray):
        moved = kernel.transpose(order)
        moved = moved.reshape(-1, 1, *moved.shape[2:]) if depthwise else moved
        return layer.constant(role, moved)
    turned = layer.coerce(kernel, Perm(order))
    turned = write(layer, "reshape", turned, -1, 1, *turned.sizes[2:]) if depthwise else turned
    return turned.arranged(as_written(rank))


@converts("ops.Unfold", layout=AS_WRITTEN)
def unfold(
    layer: LayerHandle, x: Value, *, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
) -> Value:
    """Of (N, C, H, W) images, in Keras too."""
    given = {"dilation": (dilation, 1), "padding": (padding, 0), "stride": (stride, 1)}
    options = {key: value for key, (value, default) in given.items() if value != default}
    return write(layer, "F.unfold", x, kernel_size, **options).arranged(as_written(3))


@converts("ops.Fold", layout=AS_WRITTEN)
def fold(
    layer: LayerHandle,
    x: Value,
    *,
    output_size: Sizes,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Value:
    given = {"dilation": (dilation, 1), "padding": (padding, 0), "stride": (stride, 1)}
    options = {key: value for key, (value, default) in given.items() if value != default}
    return write(layer, "F.fold", x, spread(output_size, 2), kernel_size, **options).arranged(as_written(4))


@converts("ops.DepthToSpace", "ops.SpaceToDepth", layout=SPATIAL)
def depth_and_space(
    layer: LayerHandle, x: Value, *, block_size: int, data_format: DataFormat | None = "channels_last"
) -> Value:
    """The position within a block is the first part of the channels; in pixel_shuffle it is the last."""
    name = "local.depth_to_space" if layer.class_name == "DepthToSpace" else "local.space_to_depth"
    return write(layer, name, x, block_size).arranged(x.arrangement)


@converts("ops.ExtractPatches", layout=SPATIAL)
def extract_patches(
    layer: LayerHandle,
    images: Value,
    *,
    size: Sizes,
    strides: Sizes | None = None,
    dilation_rate: Sizes = 1,
    padding: Padding = "valid",
    data_format: DataFormat | None = "channels_last",
) -> Value:
    """The patches become channels, in the order (row, column, channel)."""
    if images.rank != 4:
        layer.unsupported(f"it takes patches of a tensor of rank {images.rank}", "use a batch of images in Keras")
    window = Window(images, size, strides or size, dilation_rate, padding)
    pairs = window.pairs()
    if pairs is None:
        images = write(layer, "local.pad_same", images, window.reach, window.stride)
    elif any(map(any, pairs)):
        images = write(layer, "F.pad", images, pad.for_pad(pairs))
    more = [window.dilation] if set(window.dilation) != {1} else []
    return write(layer, "local.extract_patches", images, window.kernel, window.stride, *more).arranged(
        images.arrangement
    )


@converts("ops.ExtractSequences", layout=AS_WRITTEN)
def extract_sequences(layer: LayerHandle, x: Value, *, sequence_length: int, sequence_stride: int) -> Value:
    """Windows of the last axis, in a new one."""
    y = write(layer, "unfold", x, -1, sequence_length, sequence_stride)
    return y.arranged(as_written(y.rank))
