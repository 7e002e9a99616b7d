"""Convolutions: plain, depthwise, separable and transposed, in one to three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from converters import padding as pad
from converters.arrangement import SPATIAL
from converters.errors import Unsupported
from converters.graph import Value
from converters.layer import LayerHandle, compact
from converters.registry import converts
from converters.weights import Weight

Sizes = tuple[int, ...] | int
DataFormat = Literal["channels_last", "channels_first"]
Padding = Literal["valid", "same", "causal"]


@converts("layers.Conv1D", "layers.Conv2D", "layers.Conv3D", layout=SPATIAL)
def conv(
    layer: LayerHandle,
    x: Value,
    *,
    filters: int,
    kernel_size: Sizes,
    strides: Sizes = 1,
    padding: Padding = "valid",
    data_format: DataFormat = "channels_last",
    dilation_rate: Sizes = 1,
    groups: int = 1,
    activation: Any = None,
    use_bias: bool = True,
) -> Value:
    """Kernel (k..., in / groups, out) -> (out, in / groups, k...)."""
    w = layer.weights("kernel", "bias" if use_bias else None)
    window = Window(x, kernel_size, strides, dilation_rate, padding)
    kernel = layer.expect(w.kernel, (*window.kernel, w.kernel.shape[-2], filters), "kernel")
    y = convolve(layer, x, window, output_first(kernel), w.bias, groups=groups)
    return layer.activate(y, activation)  # type: ignore[no-any-return]  # one value


@converts("layers.DepthwiseConv1D", "layers.DepthwiseConv2D", layout=SPATIAL)
def depthwise_conv(
    layer: LayerHandle,
    x: Value,
    *,
    kernel_size: Sizes,
    strides: Sizes = 1,
    padding: Padding = "valid",
    depth_multiplier: int = 1,
    data_format: DataFormat = "channels_last",
    dilation_rate: Sizes = 1,
    activation: Any = None,
    use_bias: bool = True,
) -> Value:
    """Kernel (k..., C, M) -> (C * M, 1, k...), groups = C; output channel c * M + m."""
    w = layer.weights("kernel", "bias" if use_bias else None)
    window = Window(x, kernel_size, strides, dilation_rate, padding)
    kernel = layer.expect(w.kernel, (*window.kernel, None, depth_multiplier), "kernel")
    y = convolve(layer, x, window, depthwise_first(kernel), w.bias, groups=kernel.shape[-2])
    return layer.activate(y, activation)  # type: ignore[no-any-return]  # one value


@converts("layers.SeparableConv1D", "layers.SeparableConv2D", layout=SPATIAL)
def separable_conv(
    layer: LayerHandle,
    x: Value,
    *,
    filters: int,
    kernel_size: Sizes,
    strides: Sizes = 1,
    padding: Padding = "valid",
    data_format: DataFormat = "channels_last",
    dilation_rate: Sizes = 1,
    depth_multiplier: int = 1,
    activation: Any = None,
    use_bias: bool = True,
) -> Value:
    """A depthwise convolution without bias, then a 1x1 convolution with the bias."""
    w = layer.weights("depthwise_kernel", "pointwise_kernel", "bias" if use_bias else None)
    window = Window(x, kernel_size, strides, dilation_rate, padding)
    depthwise = layer.expect(w.depthwise_kernel, (*window.kernel, None, depth_multiplier), "depthwise kernel")
    y = convolve(layer, x, window, depthwise_first(depthwise), None, groups=depthwise.shape[-2], role="depthwise")
    point = Window(y, 1, 1, 1, "valid")
    y = convolve(layer, y, point, output_first(w.pointwise_kernel), w.bias, role="pointwise")
    return layer.activate(y, activation)  # type: ignore[no-any-return]  # one value


@converts("layers.Conv1DTranspose", "layers.Conv2DTranspose", "layers.Conv3DTranspose", layout=SPATIAL)
def conv_transpose(
    layer: LayerHandle,
    x: Value,
    *,
    filters: int,
    kernel_size: Sizes,
    strides: Sizes = 1,
    padding: Literal["valid", "same"] = "valid",
    output_padding: Sizes | None = None,
    data_format: DataFormat = "channels_last",
    dilation_rate: Sizes = 1,
    activation: Any = None,
    use_bias: bool = True,
) -> Value:
    """Kernel (k..., out, in) -> (in, out, k...). Where `same` cuts an odd number of cells, the last is sliced off."""
    w = layer.weights("kernel", "bias" if use_bias else None)
    window = Window(x, kernel_size, strides, dilation_rate, "valid")
    kernel = layer.expect(w.kernel, (*window.kernel, filters, None), "kernel")
    added = spread(output_padding, window.rank) if output_padding is not None else (None,) * window.rank
    cuts = [
        pad.transposed(k, s, padding, a, d)
        for k, s, a, d in zip(window.kernel, window.stride, added, window.dilation, strict=True)
    ]
    module = layer.module(
        f"nn.ConvTranspose{window.rank}d",
        kernel.shape[-1],
        filters,
        compact(window.kernel),
        stride=compact(window.stride),
        padding=compact([front for front, _ in cuts]),
        output_padding=compact([max(-total, 0) for _, total in cuts]),
        bias=use_bias,
        dilation=compact(window.dilation),
    )
    y = module.load(weight=output_first(kernel), bias=w.bias)(x)
    ends = [slice(None, -1) if total > 0 and total % 2 else slice(None) for _, total in cuts]
    if any(end.stop for end in ends):
        y = layer.index(y, ..., *ends)
    return layer.activate(y, activation)  # type: ignore[no-any-return]  # one value


class Window:
    """What slides over the spatial axes of (N, C, ...) data: one number per axis."""

    def __init__(self, x: Value, kernel: Sizes, stride: Sizes, dilation: Sizes, padding: str) -> None:
        self.rank = x.rank - 2
        self.kernel, self.stride = spread(kernel, self.rank), spread(stride, self.rank)
        self.dilation, self.padding = spread(dilation, self.rank), padding
        self.sizes = x.sizes[2:]

    def pairs(self) -> list[tuple[int, int]] | None:
        """Cells to add before and after each axis, None where they depend on a size known at run time."""
        if self.padding == "valid":
            return [(0, 0)] * self.rank
        if self.padding == "causal":
            return [((k - 1) * d, 0) for k, d in zip(self.kernel, self.dilation, strict=True)]
        return pad.same_of(self.sizes, self.kernel, self.stride, self.dilation)

    @property
    def reach(self) -> tuple[int, ...]:
        """How many cells the window spans on each axis."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))


def convolve(
    layer: LayerHandle,
    x: Value,
    window: Window,
    weight: Weight,
    bias: Weight | None,
    *,
    groups: int = 1,
    role: str = "",
) -> Value:
    """A convolution with Keras' padding: in the module where both sides are alike, else before it."""
    pairs = window.pairs()
    widths = pad.symmetric(pairs) if pairs is not None else None
    if layer.shared and any(s > 1 for s in window.stride):
        widths = None  # at another call the sizes, and with them the padding, may be others
    (reach, *others), (stride, *_) = window.reach, window.stride
    if pairs is None and others == [reach] and window.stride == (stride, stride) and reach >= stride:
        x = layer.function("local.pad_image", x, reach, stride)
    elif pairs is None:
        x = layer.function("local.pad_same", x, window.reach, window.stride)
    elif widths is None:
        x = layer.function("F.pad", x, pad.for_pad(pairs))
    module = layer.module(
        f"nn.Conv{window.rank}d",
        weight.shape[1] * groups,
        weight.shape[0],
        compact(window.kernel),
        role=role,
        stride=compact(window.stride),
        **({"padding": compact(widths)} if widths and any(widths) else {}),
        dilation=compact(window.dilation),
        groups=groups,
        bias=bias is not None,
    )
    return module.load(weight=weight, bias=bias)(x)  # type: ignore[no-any-return]  # one value


def spread(sizes: Sizes, rank: int) -> tuple[int, ...]:
    """One number for each axis. Raises Unsupported for a list of another length."""
    if not isinstance(sizes, int) and len(sizes) != rank:
        raise Unsupported(
            f"its config says {list(sizes)} where {rank} sizes are expected", "check that the file is not damaged"
        )
    return (sizes,) * rank if isinstance(sizes, int) else tuple(sizes)


def output_first(kernel: Weight) -> Weight:
    """(k..., a, b) -> (b, a, k...)."""
    rank = kernel.rank
    return kernel.transpose(rank - 1, rank - 2, *range(rank - 2))


def depthwise_first(kernel: Weight) -> Weight:
    """(k..., C, M) -> (C * M, 1, k...)."""
    rank = kernel.rank
    spatial: Sequence[int] = kernel.shape[:-2]
    return kernel.transpose(rank - 2, rank - 1, *range(rank - 2)).reshape(-1, 1, *spatial)
