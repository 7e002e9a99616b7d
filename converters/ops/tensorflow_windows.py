"""Convolutions and pooling by functions of TensorFlow, in the words of keras.ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.graph import Value
from converters.layer import LayerHandle
from converters.ops.tensorflow import IMAGES
from converters.registry import converts

Window = int | Sequence[int]
POOLS = {"max": "ops.MaxPool", "avg": "ops.AveragePool"}
FORMATS = {None, "NHWC", "NWC", "NDHWC"}


@converts(
    *(
        f"tf.{space}{kind}_pool{rank}"
        for space in ("nn.", "compat.v1.nn.")
        for kind in POOLS
        for rank in ("", "1d", "2d", "3d")
    ),
    layout=IMAGES,
)
def pool(
    layer: LayerHandle,
    input: Value,
    ksize: Window,
    strides: Window,
    padding: str = "VALID",
    data_format: str | None = None,
    name: Any = None,
) -> Any:
    op = POOLS[layer.class_name.rpartition(".")[2][:3]]
    rank = last_channels(layer, input, data_format)
    size, steps = spatial(ksize, rank), spatial(strides, rank)
    return layer.apply(op, input, pool_size=size, strides=steps, padding=words_of(layer, padding))


@converts(
    *(
        f"tf.{space}{name}"
        for space in ("nn.", "compat.v1.nn.")
        for name in ("conv1d", "conv2d", "conv3d", "convolution")
    ),
    layout=IMAGES,
)
def conv(
    layer: LayerHandle,
    input: Value,
    filters: Any = None,
    strides: Window | None = None,
    padding: str = "VALID",
    data_format: str | None = None,
    dilations: Window | None = None,
    name: Any = None,
    filter: Any = None,
    stride: Window | None = None,
    use_cudnn_on_gpu: Any = None,
    dilation_rate: Window | None = None,
) -> Any:
    """By a kernel that the file states, or that the model computes. Old names: filter, stride, dilation_rate."""
    rank = last_channels(layer, input, data_format)
    kernel = filters if filters is not None else filter
    return layer.apply(
        "ops.Conv",
        input,
        kernel if isinstance(kernel, Value) else np.asarray(kernel),
        strides=spatial(strides or stride or 1, rank),
        padding=words_of(layer, padding),
        dilation_rate=spatial(dilations or dilation_rate or 1, rank),
    )


@converts("tf.nn.depthwise_conv2d", "tf.compat.v1.nn.depthwise_conv2d", layout=IMAGES)
def depthwise_conv(
    layer: LayerHandle,
    input: Value,
    filter: Any,
    strides: Window,
    padding: str,
    rate: Window | None = None,
    data_format: str | None = None,
    dilations: Window | None = None,
    name: Any = None,
) -> Any:
    last_channels(layer, input, data_format)
    kernel = filter if isinstance(filter, Value) else np.asarray(filter)
    size, rates = spatial(strides, 2), spatial(dilations or rate or 1, 2)
    return layer.apply(
        "ops.DepthwiseConv", input, kernel, strides=size, padding=words_of(layer, padding), dilation_rate=rates
    )


def last_channels(layer: LayerHandle, x: Value, data_format: str | None) -> int:
    """How many spatial axes there are, if the channels are last."""
    if data_format not in FORMATS:
        layer.unsupported(f"data_format={data_format!r:.20}", "use channels last in Keras")
    return x.rank - 2


def spatial(numbers: Window, rank: int) -> tuple[int, ...]:
    """One number for each spatial axis, of one for all, of one each, or of one for every axis of the tensor."""
    found = [numbers] if isinstance(numbers, int) else list(numbers)
    if len(found) == 1:
        return tuple(found * rank)
    return tuple(found[1:-1] if len(found) == rank + 2 else found)


def words_of(layer: LayerHandle, padding: Any) -> str:
    if str(padding).upper() not in ("SAME", "VALID"):
        layer.unsupported("it pads by numbers of its own", "use ZeroPadding2D before it in Keras")
    return str(padding).lower()
