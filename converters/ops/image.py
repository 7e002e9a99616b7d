"""Ops of images: colours, sizes, filters. Images are channels first."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from converters import padding as pad
from converters.arrangement import SPATIAL, Perm
from converters.graph import Value
from converters.layer import LayerHandle
from converters.layers.convolution import DataFormat
from converters.ops.elementwise import as_type
from converters.ops.operands import is_float, write
from converters.registry import converts

Interpolation = Literal["bilinear", "nearest", "bicubic", "lanczos3", "lanczos5", "area"]
COLOURS = {"RGBToGrayscale": "local.grayscale", "RGBToHSV": "local.rgb_to_hsv", "HSVToRGB": "local.hsv_to_rgb"}


def batch(layer: LayerHandle, images: Value) -> Value:
    """Images (N, C, H, W)."""
    if images.rank != 4:
        layer.unsupported(f"it takes a tensor of rank {images.rank} for images", "use a batch of images in Keras")
    return images


@converts(*(f"ops.{name}" for name in COLOURS), layout=SPATIAL)
def colours(layer: LayerHandle, images: Value, *, data_format: DataFormat | None = "channels_last") -> Value:
    x = batch(layer, images)
    if layer.class_name == "RGBToGrayscale" and x.sizes[1] == 1:
        return x
    y = write(layer, COLOURS[layer.class_name], layer.floating(x)).arranged(x.arrangement)
    return y if is_float(x) else as_type(layer, y, x.dtype)


@converts("ops.Resize", layout=SPATIAL)
def resize(
    layer: LayerHandle,
    images: Value,
    *,
    size: tuple[int, int],
    interpolation: Interpolation = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: DataFormat | None = "channels_last",
) -> Value:
    """To a height and width, cut or padded to their ratio first if asked."""
    x = batch(layer, images)
    if crop_to_aspect_ratio or pad_to_aspect_ratio:
        x = to_ratio(layer, x, size, fill_value if pad_to_aspect_ratio else None)
    return resized(layer, layer.floating(x) if interpolation != "nearest" else x, size, interpolation, antialias)


def resized(layer: LayerHandle, x: Value, size: tuple[int, int], interpolation: str, antialias: bool = False) -> Value:
    """Keras' nearest rounds at pixel centres; its bicubic has another constant than PyTorch's unless antialiased."""
    height, width = x.sizes[2:]
    options: dict[str, Any] = {"mode": "nearest-exact" if interpolation == "nearest" else interpolation}
    if interpolation not in ("nearest", "bilinear", "bicubic"):
        layer.unsupported(f"PyTorch has no {interpolation} interpolation", "use nearest, bilinear or bicubic in Keras")
    grows = height is not None and width is not None and size[0] >= height and size[1] >= width
    if interpolation == "bicubic" and not antialias and not grows:
        layer.unsupported("bicubic that makes images smaller without antialias", "set antialias=True in Keras")
    if interpolation != "nearest" and (antialias or interpolation == "bicubic"):
        options["antialias"] = True
    return write(layer, "F.interpolate", x, tuple(size), **options).arranged(x.arrangement)


def to_ratio(layer: LayerHandle, x: Value, size: tuple[int, int], fill: float | None) -> Value:
    """Cut in the middle (fill is None) or padded, to the ratio of `size`. Fractions are dropped as Keras drops them."""
    height, width = x.sizes[2:]
    if height is None or width is None:
        layer.unsupported("it keeps the ratio of images of unknown size", "state the size of the images in Keras")
    wanted = (
        int(np.float32(width * size[0]) / np.float32(size[1])),
        int(np.float32(height * size[1]) / np.float32(size[0])),
    )
    if fill is None:
        tall, wide = max(min(height, wanted[0]), 1), max(min(width, wanted[1]), 1)
        top, left = (height - tall) // 2, (width - wide) // 2
        cuts = [
            slice(a or None, a + n if a + n != full else None)
            for a, n, full in ((top, tall, height), (left, wide, width))
        ]
        return layer.index(x, ..., *cuts) if any(cut != slice(None) for cut in cuts) else x
    top, left = ((max(full, w) - full) // 2 for full, w in ((height, wanted[0]), (width, wanted[1])))
    return write(layer, "F.pad", x, (left, left, top, top), **({"value": fill} if fill else {})) if top or left else x


@converts("ops.PadImages", layout=SPATIAL)
def pad_images(
    layer: LayerHandle,
    images: Value,
    *,
    top_padding: int | None = None,
    left_padding: int | None = None,
    bottom_padding: int | None = None,
    right_padding: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: DataFormat | None = "channels_last",
) -> Value:
    x = batch(layer, images)
    top, bottom = _ends(layer, x.sizes[2], target_height, top_padding, bottom_padding)
    left, right = _ends(layer, x.sizes[3], target_width, left_padding, right_padding)
    return write(layer, "F.pad", x, (left, right, top, bottom))


@converts("ops.CropImages", layout=SPATIAL)
def crop_images(
    layer: LayerHandle,
    images: Value,
    *,
    top_cropping: int | None = None,
    left_cropping: int | None = None,
    bottom_cropping: int | None = None,
    right_cropping: int | None = None,
    target_height: int | None = None,
    target_width: int | None = None,
    data_format: DataFormat | None = "channels_last",
) -> Value:
    x = batch(layer, images)
    top, bottom = _ends(layer, x.sizes[2], target_height, top_cropping, bottom_cropping, sign=-1)
    left, right = _ends(layer, x.sizes[3], target_width, left_cropping, right_cropping, sign=-1)
    cuts = [slice(before or None, -after or None) for before, after in ((top, bottom), (left, right))]
    return layer.index(x, ..., *cuts)  # type: ignore[no-any-return]  # one value


def _ends(
    layer: LayerHandle, size: int | None, target: int | None, before: int | None, after: int | None, *, sign: int = 1
) -> tuple[int, int]:
    """How much is added (or cut) before and after an axis; two of the three numbers are given."""
    if before is not None and after is not None:
        return before, after
    if size is None or target is None:
        layer.unsupported("it depends on the size of the images", "state the size of the images in Keras")
    total = sign * (target - size)
    if before is None:
        return total - (after or 0), after or 0
    return before, total - before


@converts("ops.GaussianBlur", layout=SPATIAL)
def gaussian_blur(
    layer: LayerHandle,
    images: Value,
    *,
    kernel_size: tuple[int, int] = (3, 3),
    sigma: tuple[float, float] = (1.0, 1.0),
    data_format: DataFormat | None = "channels_last",
) -> Value:
    """A depthwise convolution by a fixed kernel, padded with zeros."""
    x = batch(layer, images)
    columns, rows = (_bell(n, s) for n, s in zip(kernel_size, sigma, strict=True))
    kernel = np.outer(rows, columns).reshape(kernel_size)
    channels = int(x.sizes[1] or 1)
    weight = layer.constant("kernel", np.broadcast_to(kernel, (channels, 1, *kernel.shape)))
    pairs = [((n - 1) // 2, n // 2) for n in kernel_size]
    widths = pad.symmetric(pairs)
    options: dict[str, Any] = {"padding": widths} if widths else {}
    x = x if widths else write(layer, "F.pad", x, pad.for_pad(pairs))
    return write(layer, "F.conv2d", x, weight, **options, groups=channels).arranged(images.arrangement)


def _bell(size: int, sigma: float) -> Any:
    x = np.arange(size) - (size - 1) / 2
    bell = np.exp(-0.5 * (x / sigma) ** 2)
    return bell / bell.sum()


@converts("ops.SobelEdges", layout=SPATIAL)
def sobel_edges(layer: LayerHandle, images: Value, *, data_format: DataFormat | None = "channels_last") -> Value:
    """The slopes down and right, in a new last axis."""
    y = write(layer, "local.sobel_edges", batch(layer, images))
    axes = images.arrangement.axes if isinstance(images.arrangement, Perm) else (0, 1, 2, 3)
    return y.arranged(Perm((*axes, 4)))
