"""When two tensors are the same: equality is proved in float64 and measured in float32.

A. In float64 both frameworks must agree to 1e-10, in norm and in the worst element: no bug hides there, and
   a correct port sits at 1e-15. A known leak of float32 constants in Keras is a limit with a reason.
B. In float32, PyTorch's distance from the float64 truth may be at most 4 times TensorFlow's own distance from it,
   plus 4 ulp of the scale: RMS against RMS, worst element against worst element.

Shape, kind of dtype, and the places of NaNs and infinities are compared first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
ALLOWED_FLOAT64 = 1e-10
TIMES_REFERENCE = 4.0
ULPS = 4.0
DEVIATIONS = 6.0  # within so many of them lies a worst element, if errors are independent
EPSILON = {"float32": float(np.finfo(np.float32).eps), "float16": float(np.finfo(np.float16).eps), "bfloat16": 2.0**-7}


@dataclass(frozen=True)
class Verdict:
    """How far two tensors are apart, how far they may be, and where the worst element is.

    `max_rel` and `allowed_rel` are of the worst element, relative to the scale of the tensor; `norm_rel` and
    `allowed_norm` of the RMS. `why` says what differs where it is not the numbers.
    """

    passed: bool
    max_abs: float
    max_rel: float
    allowed_rel: float
    index: tuple[int, ...]
    why: str = ""
    norm_rel: float = 0.0
    allowed_norm: float = 0.0
    found: float | None = None
    expected: float | None = None

    @property
    def excess(self) -> float:
        """The distance as a multiple of what is allowed: above 1 is too far."""
        if self.why:
            return float("inf")
        pairs = ((self.max_rel, self.allowed_rel), (self.norm_rel, self.allowed_norm))
        return max(distance / allowed if allowed else distance for distance, allowed in pairs)


def scale_of(reference: Array) -> float:
    """The largest finite magnitude; 1 where everything is zero."""
    finite = np.abs(reference[np.isfinite(reference)]) if reference.size else reference
    return float(finite.max()) if finite.size and finite.max() > 0 else 1.0


def rms_of(reference: Array) -> float:
    """The root mean square of what is finite; 1 where everything is zero."""
    finite = reference[np.isfinite(reference)].astype(np.float64) if reference.size else reference
    root = _root_mean_square(finite)
    return root if root > 0 else 1.0


def _root_mean_square(numbers: Array) -> float:
    """Of numbers whose squares may be out of range as well; 0 where there are none."""
    largest = float(np.abs(numbers).max()) if numbers.size else 0.0
    return largest * float(np.sqrt(np.mean((numbers / largest) ** 2))) if largest else 0.0


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


def compare_float64(found: Array, expected: Array, leak: float = 0.0, scale: float = 0.0) -> Verdict:
    """Part A. `leak`: the measured relative error that Keras itself is known to carry into float64.

    `scale`: at least this is what the error is measured against, for sums whose terms cancel.
    """
    if why := same_form(found, expected):
        return refused(why)
    allowed = max(ALLOWED_FLOAT64, leak)
    scales = (max(scale, scale_of(expected)), max(scale, rms_of(expected)))
    return _judged(found, expected, (allowed, allowed), scales)


def compare_float32(
    found: Array, expected: Array, truth: Array, leak: float = 0.0, scale: float = 0.0, *, outlier: float = 0.0
) -> Verdict:
    """Part B: `found` by PyTorch and `expected` by the original, both float32, against the float64 `truth`.

    `outlier`: an element may be off by at least so many times what the norm allows, or by all of it if that is less.
    For gradients, sums of thousands of terms that either side adds in an order of its own: `DEVIATIONS`. For weights
    after a training step any: Adam divides what is nothing but rounding by its own size, and a single weight moves
    anywhere within a step.
    What is out of range in the original alone (TensorFlow takes 1 / 1e-38 for infinite) is no fault of the other.
    """
    if found.shape == expected.shape == truth.shape and found.dtype.kind == "f":
        overflown = ~np.isfinite(expected) & np.isfinite(found) & np.isfinite(truth)
        expected = np.where(overflown, truth, expected)
    if why := same_form(found, expected):
        return refused(why)
    scale = max(scale, scale_of(truth))
    worst, norm = _distances(expected, truth)
    floor = ULPS * EPSILON["float32"]
    allowed = tuple(max(TIMES_REFERENCE * distance / scale + floor, leak) for distance in (worst, norm))
    element = max(allowed[0], min(outlier, float(np.sqrt(max(truth.size, 1)))) * allowed[1])
    return _judged(found, truth, (element, allowed[1]), (scale, scale))


def compare_lower(found: Array, truth: Array, dtype: str, depth: int) -> Verdict:
    """A run in bfloat16 or float16 against the float64 truth: every one of `depth` layers may round once, as sums of
    independent errors grow, and a worst element lies within `DEVIATIONS`."""
    if why := same_form(found, truth):
        return refused(why)
    norm = ULPS * EPSILON[dtype] * float(np.sqrt(max(depth, 1)))
    return _judged(found, truth, (DEVIATIONS * norm, norm), (scale_of(truth), scale_of(truth)))


def refused(why: str) -> Verdict:
    """The verdict on tensors whose numbers cannot be compared."""
    return Verdict(False, np.inf, np.inf, 0.0, (), why)


def _judged(found: Array, truth: Array, allowed: tuple[float, float], scales: tuple[float, float]) -> Verdict:
    """`allowed`: the relative distance of the worst element, and of the RMS; `scales`: what each is relative to."""
    if not found.size:
        return Verdict(True, 0.0, 0.0, allowed[0], (), allowed_norm=allowed[1])
    off = difference(found, truth)
    index = np.unravel_index(int(off.argmax()), off.shape)
    worst, norm = _distances(found, truth)
    relative = (worst / scales[0], norm / scales[1])
    return Verdict(
        relative[0] <= allowed[0] and relative[1] <= allowed[1],
        worst, relative[0], allowed[0], tuple(int(i) for i in index), "", relative[1], allowed[1],
        float(found[index]), float(truth[index]),
    )  # fmt: skip


def difference(found: Array, truth: Array) -> Array:
    """How far each element is off; 0 where that is no number."""
    with np.errstate(invalid="ignore"):
        off = np.abs(found.astype(np.float64) - truth.astype(np.float64))
    return np.where(np.isfinite(off), off, 0.0)


def _distances(found: Array, truth: Array) -> tuple[float, float]:
    """(largest, RMS) of the differences, NaNs and infinities left out."""
    off = difference(found, truth)
    if not off.size:
        return 0.0, 0.0
    finite = np.isfinite(found.astype(np.float64)) & np.isfinite(truth.astype(np.float64))
    return float(off.max()), _root_mean_square(off[finite])
