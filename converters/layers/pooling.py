"""Pooling: windows, global, adaptive."""

from __future__ import annotations

from typing import Literal

from converters import padding as pad
from converters.arrangement import AXIS, SPATIAL, as_written
from converters.graph import Value
from converters.layer import LayerHandle, compact
from converters.layers.convolution import DataFormat, Sizes, Window, spread
from converters.registry import converts

Padding = Literal["valid", "same"]
IMAGE = 2  # spatial axes


@converts("layers.MaxPooling1D", "layers.MaxPooling2D", "layers.MaxPooling3D", layout=SPATIAL)
def max_pooling(
    layer: LayerHandle,
    x: Value,
    *,
    pool_size: Sizes = 2,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    data_format: DataFormat = "channels_last",
) -> Value:
    """Cells that `same` adds are minus infinity."""
    window = Window(x, pool_size, strides or pool_size, 1, padding)
    pairs = window.pairs()
    more = _padding(window, pairs)
    kernel, stride = compact(window.kernel), compact(window.stride)
    if pairs is None and window.rank == IMAGE and type(kernel) is type(stride) is int and kernel >= stride:
        return layer.function("local.max_pool_same", x, kernel, stride=stride)  # type: ignore[no-any-return]  # one value
    if pairs is None:
        x = layer.function("local.pad_same", x, window.kernel, window.stride, float("-inf"))
    elif more is None:
        x = layer.function("F.pad", x, pad.for_pad(pairs), value=float("-inf"))
    target = f"F.max_pool{window.rank}d"
    return layer.function(target, x, kernel, **_stride(window), **(more or {}))  # type: ignore[no-any-return]  # one value


@converts("layers.AveragePooling1D", "layers.AveragePooling2D", "layers.AveragePooling3D", layout=SPATIAL)
def average_pooling(
    layer: LayerHandle,
    x: Value,
    *,
    pool_size: Sizes = 2,
    strides: Sizes | None = None,
    padding: Padding = "valid",
    data_format: DataFormat = "channels_last",
) -> Value:
    """Cells that `same` adds do not count."""
    window = Window(x, pool_size, strides or pool_size, 1, padding)
    more = _padding(window, window.pairs())
    if more is None:
        return layer.function("local.average_pool_same", x, window.kernel, window.stride)  # type: ignore[no-any-return]
    if "padding" in more:
        more["count_include_pad"] = False
    target = f"F.avg_pool{window.rank}d"
    return layer.function(target, x, compact(window.kernel), **_stride(window), **more)  # type: ignore[no-any-return]  # one value


def _stride(window: Window) -> dict[str, object]:
    """The stride, where it is not the size."""
    return {} if window.stride == window.kernel else {"stride": compact(window.stride)}


def _padding(window: Window, pairs: list[tuple[int, int]] | None) -> dict[str, object] | None:
    """The arguments with which PyTorch pools as `same` does, None if it cannot.

    An odd cell at the end is what `ceil_mode` adds, except at stride 1.
    """
    if pairs is None or any(a != b and s == 1 for (a, b), s in zip(pairs, window.stride, strict=True)):
        return None
    if not any(map(any, pairs)):
        return {}
    odd = any(before != after for before, after in pairs)
    before = [front for front, _ in pairs]
    options: dict[str, object] = {"padding": compact(before)} if any(before) else {}
    return options | ({"ceil_mode": True} if odd else {})


@converts("layers.GlobalAveragePooling1D", layout=AXIS)
def global_average_pooling_1d(
    layer: LayerHandle, x: Value, *, data_format: DataFormat = "channels_last", keepdims: bool = False
) -> Value:
    """The mean over the steps, of those that the mask keeps if there is one; NaN for a row that it empties."""
    if layer.mask is None:
        return _reduce(layer, "mean", x, data_format, keepdims)
    steps = 1 if data_format == "channels_last" else 2
    axis = layer.axis(x, steps)
    mask = layer.method("unsqueeze", layer.mask, 3 - axis)
    total = layer.method("sum", layer.operator("*", x, mask), dim=axis, keepdim=keepdims)
    count = layer.method("sum", mask, dim=axis, keepdim=keepdims)
    return _reduced(layer.operator("/", total, count), x, keepdims)


@converts("layers.GlobalAveragePooling2D", "layers.GlobalAveragePooling3D", layout=AXIS)
def global_average_pooling(
    layer: LayerHandle, x: Value, *, data_format: DataFormat = "channels_last", keepdims: bool = False
) -> Value:
    return _reduce(layer, "mean", x, data_format, keepdims)


@converts("layers.GlobalMaxPooling1D", "layers.GlobalMaxPooling2D", "layers.GlobalMaxPooling3D", layout=AXIS)
def global_max_pooling(
    layer: LayerHandle, x: Value, *, data_format: DataFormat = "channels_last", keepdims: bool = False
) -> Value:
    """`amax` shares the gradient among equal maxima, as Keras does."""
    return _reduce(layer, "amax", x, data_format, keepdims)


def _reduce(layer: LayerHandle, method: str, x: Value, data_format: str, keepdims: bool) -> Value:
    first = 1 if data_format == "channels_last" else 2
    axes = layer.axes(x, range(first, first + x.rank - 2))
    return _reduced(
        layer.method(method, x, dim=compact_axes(axes), **({"keepdim": True} if keepdims else {})), x, keepdims
    )


def compact_axes(axes: tuple[int, ...]) -> int | tuple[int, ...]:
    """`dim=1` rather than `dim=(1,)`."""
    return axes[0] if len(axes) == 1 else axes


def _reduced(y: Value, x: Value, keepdims: bool) -> Value:
    return y.arranged(x.arrangement if keepdims else as_written(y.rank))


@converts(
    *(f"layers.Adaptive{kind}Pooling{rank}D" for kind in ("Average", "Max") for rank in (1, 2, 3)), layout=SPATIAL
)
def adaptive_pooling(
    layer: LayerHandle, x: Value, *, output_size: Sizes, data_format: DataFormat = "channels_last"
) -> Value:
    rank = x.rank - 2
    kind = "avg" if "Average" in layer.class_name else "max"
    target = f"F.adaptive_{kind}_pool{rank}d"
    return layer.function(target, x, compact(spread(output_size, rank)))  # type: ignore[no-any-return]  # one value
