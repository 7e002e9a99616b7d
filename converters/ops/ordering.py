"""Ops along an axis that sort, accumulate or search."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from converters.arrangement import AS_WRITTEN, AXIS, Perm, as_written
from converters.graph import Value
from converters.layer import LayerHandle
from converters.ops.elementwise import as_type
from converters.ops.operands import Axis, array_of, is_float, keras_axes, perm_of, tensor, without_axes, write
from converters.registry import converts

Method = Literal["linear", "lower", "higher", "midpoint", "nearest"]


def flat(layer: LayerHandle, x: Value, axis: int | None) -> tuple[Value, int]:
    """The tensor and the physical axis to work along; without an axis, everything in a row in the order of Keras."""
    if axis is not None:
        return x, layer.axis(x, axis)
    x = layer.coerce(x, as_written(x.rank))
    return (write(layer, "flatten", x) if x.rank > 1 else x).arranged(as_written(1)), 0


@converts("ops.Cumsum", "ops.Cumprod", "ops.Nancumsum", "ops.Nancumprod", layout=AXIS)
def cumulative(layer: LayerHandle, x: Value, *, axis: int | None = None, dtype: str | None = None) -> Value:
    """Those that skip NaN also make infinities finite, as Keras does."""
    name = layer.class_name.lower()
    if name.startswith("nan") and is_float(x):
        x = write(layer, "nan_to_num", x, **({"nan": 1.0} if name == "nancumprod" else {}))
    x, dim = flat(layer, as_type(layer, x, dtype), axis)
    return write(layer, name.removeprefix("nan"), x, dim=dim)


@converts("ops.Sort", layout=AXIS)
def sort(layer: LayerHandle, x: Value, *, axis: int | None = -1) -> Value:
    x, dim = flat(layer, x, axis)
    values, _ = layer.method("sort", x, dim=dim)
    return values.arranged(x.arrangement)  # type: ignore[no-any-return]  # one value


@converts("ops.Argsort", layout=AXIS)
def argsort(layer: LayerHandle, x: Value, *, axis: int | None = -1) -> Value:
    """Equal elements keep their order."""
    x, dim = flat(layer, x, axis)
    return write(layer, "argsort", x, dim=dim, stable=True)


@converts("ops.TopK", layout=AXIS)
def top_k(layer: LayerHandle, x: Value, *, k: int, sorted: bool = True) -> list[Value]:
    """Along the last axis of Keras."""
    return list(layer.function("local.top_k", x, k, layer.axis(x, -1)))


@converts("ops.InTopK", layout=AS_WRITTEN)
def in_top_k(layer: LayerHandle, targets: Any, predictions: Any, *, k: int) -> Value:
    arguments = [tensor(layer, array_of(v), role) for v, role in ((targets, "targets"), (predictions, "predictions"))]
    return write(layer, "local.in_top_k", *arguments, k).arranged(as_written(1))


@converts("ops.Diff", layout=AXIS)
def diff(layer: LayerHandle, a: Value, *, n: int = 1, axis: int = -1) -> Value:
    more = {"n": n} if n != 1 else {}
    return write(layer, "diff", a, **more, dim=layer.axis(a, axis))


@converts("ops.Median", "ops.Nanmedian", layout=AXIS)
def median(layer: LayerHandle, x: Value, *, axis: Axis = None, keepdims: bool = False) -> Value:
    """The mean of the two in the middle; torch.median takes the lower one. Of two equal infinities it is NaN."""
    return quantiles(layer, "nan" in layer.class_name.lower(), x, 0.5, axis, "linear", keepdims)


@converts("ops.Quantile", "ops.Percentile", "ops.Nanquantile", "ops.Nanpercentile", layout=AXIS)
def quantile(
    layer: LayerHandle, x: Value, q: Any, *, axis: Axis = None, method: Method = "linear", keepdims: bool = False
) -> Value:
    q = array_of(q)
    if isinstance(q, Value):
        layer.unsupported("the quantile that it asks for is computed", "give it as a number in Keras")
    if layer.class_name in ("Percentile", "Nanpercentile"):
        q = q / 100
    if layer.class_name == "Quantile":
        method = "linear"  # inside of a model, Keras 3.15 forgets the method of this one
    return quantiles(layer, layer.class_name.startswith("Nan"), x, q, axis, method, keepdims)


def quantiles(layer: LayerHandle, skip_nan: bool, x: Value, q: Any, axis: Axis, method: str, keepdims: bool) -> Value:
    """torch.quantile takes one axis or all: several are brought to the end and flattened."""
    target = "torch.nanquantile" if skip_nan else "torch.quantile"
    options = {"interpolation": method} if method != "linear" else {}
    amount = layer.constant("q", q) if isinstance(q, np.ndarray) else float(q)
    first = [slice(None)] if isinstance(q, np.ndarray) else []
    x, axes = layer.floating(x), keras_axes(axis, x.rank)
    if len(axes) in (1, x.rank):
        dim = {"dim": layer.axis(x, axes[0])} if len(axes) == 1 else {}
        more = {"keepdim": True} if keepdims else {}
        y = write(layer, target, x, amount, **dim, **more, **options)
        left = perm_of(x) if keepdims else without_axes(x, axes).axes
    else:
        others = [a for a in range(x.rank) if a not in axes]
        x = write(layer, "flatten", layer.coerce(x, Perm((*others, *axes))), len(others))
        y = write(layer, target, x, amount, dim=-1, **options)
        if keepdims:
            y = layer.index(y, *first, *(None if a in axes else slice(None) for a in range(len(others) + len(axes))))
        left = tuple(range(y.rank - len(first)))
    return y.arranged(Perm((*range(len(first)), *(a + len(first) for a in left))))


@converts("ops.Digitize", layout=AXIS)
def digitize(layer: LayerHandle, x: Value, bins: Any) -> Value:
    """The number of the bin, whose left edge belongs to it."""
    return write(layer, "torch.bucketize", x, tensor(layer, array_of(bins), "bins"), right=True)


@converts("ops.SearchSorted", layout=AS_WRITTEN)
def search_sorted(
    layer: LayerHandle, sorted_sequence: Any, values: Any, *, side: Literal["left", "right"] = "left"
) -> Value:
    """Where each value would be inserted into an ascending sequence."""
    sequence = tensor(layer, array_of(sorted_sequence), "sequence")
    wanted = tensor(layer, array_of(values), "values")
    found = write(layer, "torch.searchsorted", sequence, wanted, **({"right": True} if side == "right" else {}))
    return found.arranged(as_written(found.rank))
