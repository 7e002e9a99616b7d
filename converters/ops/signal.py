"""Fourier transforms. Keras holds a complex tensor as a pair: its real and its imaginary part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.arrangement import AS_WRITTEN, as_written
from converters.graph import Value
from converters.layer import LayerHandle
from converters.ops.operands import write
from converters.registry import converts

PAIRS = {"FFT": "fft", "FFT2": "fft2", "IFFT2": "ifft2"}


def parts(z: Value, layer: LayerHandle) -> list[Value]:
    """(real, imaginary) of a complex tensor."""
    return [y.arranged(as_written(z.rank)) for y in layer.method("unbind", write(layer, "torch.view_as_real", z), -1)]


@converts(*(f"ops.{name}" for name in PAIRS), layout=AS_WRITTEN)
def transform(layer: LayerHandle, x: Sequence[Value]) -> list[Value]:
    """Along the last axis, or the last two."""
    z = write(layer, f"torch.fft.{PAIRS[layer.class_name]}", write(layer, "torch.complex", *x))
    return parts(z, layer)


@converts("ops.RFFT", layout=AS_WRITTEN)
def rfft(layer: LayerHandle, x: Value, *, fft_length: int | None = None) -> list[Value]:
    return parts(write(layer, "torch.fft.rfft", x, *([fft_length] if fft_length else [])), layer)


@converts("ops.IRFFT", layout=AS_WRITTEN)
def irfft(layer: LayerHandle, x: Sequence[Value], *, fft_length: int | None = None) -> Value:
    y = write(layer, "torch.fft.irfft", write(layer, "torch.complex", *x), *([fft_length] if fft_length else []))
    return y.arranged(as_written(y.rank))


@converts("ops.STFT", layout=AS_WRITTEN)
def stft(
    layer: LayerHandle,
    x: Value,
    *,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    window: Any = "hann",
    center: bool = True,
) -> list[Value]:
    """Spectra of overlapping windows: (..., steps, frequencies)."""
    array = stft_window(layer, window, sequence_length, fft_length)
    options = {} if center else {"center": False}
    z = write(layer, "local.short_time_spectrum", x, layer.constant("window", array), sequence_stride, **options)
    return parts(z.arranged(as_written(z.rank)), layer)


def stft_window(layer: LayerHandle, window: Any, length: int, fft_length: int) -> Any:
    """A periodic window, padded with zeros on both sides to the length of the transform."""
    if isinstance(window, str):
        if window not in ("hann", "hamming"):
            layer.unsupported(f"the window {window!r:.40}", "use hann or hamming in Keras")
        period = max(length - length % 2, 1)  # TensorFlow's periodic windows of odd length are symmetric ones
        wave = np.cos(2 * np.pi * np.arange(length) / period)
        array = 0.5 - 0.5 * wave if window == "hann" else 0.54 - 0.46 * wave
    else:
        array = np.ones(length) if window is None else np.asarray(window, np.float64)
    before = (fft_length - length) // 2
    return np.pad(array, (before, fft_length - length - before))
