"""Layers that move, repeat, cut or add elements, and change none."""

from __future__ import annotations

from typing import Any, Literal

from converters.arrangement import ANY, AS_WRITTEN, SPATIAL, Flat, Perm, as_written, channels_first, flattened
from converters.graph import Value
from converters.layer import LayerHandle, compact
from converters.layers.convolution import DataFormat, Sizes, spread
from converters.registry import converts

Pairs = tuple[tuple[int, int], ...]


@converts("layers.Flatten", layout=ANY, reshapes=True)
def flatten(layer: LayerHandle, x: Value, *, data_format: DataFormat = "channels_last") -> Value:
    """`channels_first` data is first brought to the other order, as Keras does."""
    if x.rank == 1:
        return layer.method("unsqueeze", x, 1)  # type: ignore[no-any-return]  # one value
    if x.rank == 2:
        return x
    if isinstance(x.arrangement, Perm) and x.arrangement.axes[0] != 0:
        x = layer.coerce(x, as_written(x.rank))
    if data_format == "channels_first" and isinstance(x.arrangement, Perm):
        # Keras axis 1 is read as the last one: the same memory under another name of its axes.
        last = x.rank - 1
        x = x.arranged(Perm(tuple({0: 0, 1: last}.get(a, a - 1) for a in x.arrangement.axes)))
    y: Value = layer.method("flatten", x, 1)
    return y.arranged(flattened(x.arrangement, x.sizes))


@converts("layers.Reshape", layout=ANY, reshapes=True)
def reshape(layer: LayerHandle, x: Value, *, target_shape: tuple[int | None, ...]) -> Value:
    return reshaped(layer, x, [-1 if size is None else size for size in target_shape])


def reshaped(layer: LayerHandle, x: Value, sizes: list[Any]) -> Value:
    """`x` reshaped behind its batch, in the order of Keras; one size may be -1."""
    if isinstance(x.arrangement, Flat) or not x.arrangement.is_as_written:
        x = layer.coerce(x, as_written(x.rank))
    static = x.sizes[1:]
    if -1 in sizes and None not in static:
        sizes = _completed([int(s or 0) for s in static], sizes)
    rank = 1 + len(sizes)
    if rank in (4, 5) and all(size == 1 for size in sizes[:-1]):
        # (N, 1, 1, C) is in memory the same as (N, C, 1, 1).
        batch = [-1 if -1 not in sizes else layer.size(x, 0)]
        y: Value = layer.method("reshape", x, *batch, sizes[-1], *sizes[:-1])
        return y.arranged(channels_first(rank))
    if x.rank == 2 and -1 not in sizes and None not in static:
        unflattened: Value = layer.method("unflatten", x, 1, tuple(sizes)) if len(sizes) > 1 else x
        return unflattened.arranged(as_written(rank))
    if len(sizes) == 1 and x.rank > 1:
        return layer.method("flatten", x, 1).arranged(as_written(2))  # type: ignore[no-any-return]  # one value
    y = layer.method("reshape", x, layer.size(x, 0) if -1 in sizes else -1, *sizes)
    return y.arranged(as_written(rank))


def _completed(static: list[int], sizes: list[Any]) -> list[int]:
    """The size that -1 stands for."""
    known, total = 1, 1
    for size in sizes:
        known *= size if size != -1 else 1
    for size in static:
        total *= size
    if known == 0 or total % known:
        raise ValueError(f"{total} elements cannot be reshaped to {sizes}")
    return [total // known if size == -1 else size for size in sizes]


@converts("layers.Permute", layout=ANY, reshapes=True)
def permute(layer: LayerHandle, x: Value, *, dims: tuple[int, ...]) -> Value:
    """Axis i of the result is Keras axis dims[i - 1]. The data stays where it is: only its axes get other names."""
    if sorted(dims) != list(range(1, x.rank)):
        layer.unsupported(f"dims={dims} does not name each axis of an input of rank {x.rank} once", "check the file")
    return renamed(layer, x, (0, *dims))


def renamed(layer: LayerHandle, x: Value, dims: tuple[int, ...]) -> Value:
    """A transpose without moving data: what follows asks for the order that it needs."""
    if isinstance(x.arrangement, Flat):
        x = layer.coerce(x, as_written(x.rank))
    assert isinstance(x.arrangement, Perm)
    new = Perm(tuple(dims.index(axis) for axis in x.arrangement.axes))
    return layer.rename(x, new)


@converts("layers.RepeatVector", layout=AS_WRITTEN)
def repeat_vector(layer: LayerHandle, x: Value, *, n: int) -> Value:
    """(N, F) -> (N, n, F), without a copy."""
    return layer.method("expand", layer.method("unsqueeze", x, 1), -1, n, -1)  # type: ignore[no-any-return]


@converts("layers.ZeroPadding1D", "layers.ZeroPadding2D", "layers.ZeroPadding3D", layout=SPATIAL)
def zero_padding(layer: LayerHandle, x: Value, *, padding: Any, data_format: DataFormat = "channels_last") -> Value:
    pairs = both_sides(padding, x.rank - 2)
    widths = tuple(width for pair in reversed(pairs) for width in pair)
    return layer.function("F.pad", x, widths)  # type: ignore[no-any-return]  # one value


@converts("layers.Cropping1D", "layers.Cropping2D", "layers.Cropping3D", layout=SPATIAL)
def cropping(layer: LayerHandle, x: Value, *, cropping: Any, data_format: DataFormat = "channels_last") -> Value:
    pairs = both_sides(cropping, x.rank - 2)
    slices = [slice(before or None, -after or None) for before, after in pairs]
    return layer.index(x, ..., *slices)  # type: ignore[no-any-return]  # one value


def both_sides(widths: Any, rank: int) -> Pairs:
    """((before, after), ...) of each axis, from one number, one a side or one an axis, or all of them."""
    if isinstance(widths, int):
        return ((widths, widths),) * rank
    if rank == 1 and len(widths) == 2 and all(isinstance(w, int) for w in widths):
        return ((widths[0], widths[1]),)
    return tuple((w, w) if isinstance(w, int) else (w[0], w[1]) for w in widths)


@converts("layers.UpSampling1D", "layers.UpSampling2D", "layers.UpSampling3D", layout=SPATIAL)
def up_sampling(
    layer: LayerHandle,
    x: Value,
    *,
    size: Sizes = 2,
    data_format: DataFormat = "channels_last",
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"] = "nearest",
) -> Value:
    """Whole factors. Keras' bicubic has another constant (-0.5) than PyTorch's (-0.75) unless antialiased."""
    modes: dict[str, dict[str, Any]] = {
        "nearest": {},
        "bilinear": {"mode": "bilinear"},
        "bicubic": {"mode": "bicubic", "antialias": True},
    }
    if interpolation not in modes:
        layer.unsupported(f"PyTorch has no {interpolation} interpolation", "use nearest, bilinear or bicubic in Keras")
    scale = compact(spread(size, x.rank - 2))
    return layer.function("F.interpolate", x, scale_factor=scale, **modes[interpolation])  # type: ignore[no-any-return]
