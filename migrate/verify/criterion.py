"""When two tensors are the same: equality is proved in float64 and measured in float32.

A. In float64 both frameworks must agree to 1e-10 of the scale, in the worst element: no bug hides there, and
   a correct port sits at 1e-15. A known leak of float32 constants in Keras is a limit with a reason.
B. In float32, PyTorch's RMS distance from the float64 truth may be at most 4 times TensorFlow's own distance
   from it, plus 4 ulp of the scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
ALLOWED_FLOAT64 = 1e-10
TIMES_REFERENCE = 4.0
ULPS = 4.0


@dataclass(frozen=True)
class Verdict:
    """How far two tensors are apart, how far they may be, and where the worst element is."""

    passed: bool
    max_abs: float
    max_rel: float
    allowed_rel: float
    index: tuple[int, ...]
    why: str = ""


def scale_of(reference: Array) -> float:
    """The largest finite magnitude; 1 where everything is zero."""
    finite = np.abs(reference[np.isfinite(reference)]) if reference.size else reference
    return float(finite.max()) if finite.size and finite.max() > 0 else 1.0


def same_form(found: Array, expected: Array) -> str:
    """What differs before any number is compared: shape, kind of dtype, NaN or infinity masks. '' if nothing does."""
    if found.shape != expected.shape:
        return f"shape {list(found.shape)}, expected {list(expected.shape)}"
    kinds = {"f": "float", "i": "int", "u": "int", "b": "bool"}
    if kinds.get(found.dtype.kind) != kinds.get(expected.dtype.kind):
        return f"dtype {found.dtype}, expected {expected.dtype}"
    if found.dtype.kind == "f":
        if (np.isnan(found) != np.isnan(expected)).any():
            return f"{int(np.isnan(found).sum())} NaNs, expected {int(np.isnan(expected).sum())}"
        if (np.isinf(found) != np.isinf(expected)).any() or (
            found[np.isinf(found)] != expected[np.isinf(expected)]
        ).any():
            return "infinities at other places"
    return ""


def compare_float64(found: Array, expected: Array, leak: float = 0.0) -> Verdict:
    """Part A. `leak`: the measured relative error that Keras itself is known to carry into float64."""
    return _judge(found, expected, max(ALLOWED_FLOAT64, leak))


def _judge(found: Array, expected: Array, allowed: float) -> Verdict:
    if why := same_form(found, expected):
        return Verdict(False, np.inf, np.inf, allowed, (), why)
    if not found.size:
        return Verdict(True, 0.0, 0.0, allowed, ())
    difference = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    difference = np.where(np.isfinite(difference), difference, 0.0)
    index = np.unravel_index(int(difference.argmax()), difference.shape)
    worst = float(difference[index])
    relative = worst / scale_of(expected)
    return Verdict(relative <= allowed, worst, relative, allowed, tuple(int(i) for i in index))


def compare_float32(found: Array, expected: Array, truth: Array, leak: float = 0.0) -> Verdict:
    """Part B: `found` by PyTorch and `expected` by the original, both float32, against the float64 `truth`."""
    if why := same_form(found, expected):
        return Verdict(False, np.inf, np.inf, 0.0, (), why)
    scale = scale_of(truth)
    allowed = max(TIMES_REFERENCE * _rms(expected, truth) / scale + ULPS * float(np.finfo(np.float32).eps), leak)
    if not found.size:
        return Verdict(True, 0.0, 0.0, allowed, ())
    difference = np.abs(np.nan_to_num(found.astype(np.float64) - truth))
    index = np.unravel_index(int(difference.argmax()), difference.shape)
    relative = _rms(found, truth) / scale
    return Verdict(relative <= allowed, float(difference[index]), relative, allowed, tuple(int(i) for i in index))


def _rms(found: Array, truth: Array) -> float:
    difference = found.astype(np.float64) - truth.astype(np.float64)
    finite = difference[np.isfinite(difference)]
    return float(np.sqrt(np.mean(finite**2))) if finite.size else 0.0
