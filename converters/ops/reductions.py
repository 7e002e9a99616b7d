"""Ops that reduce axes. No permute is needed: the axis argument follows the data."""

from __future__ import annotations

from typing import Any

from converters.arrangement import AS_WRITTEN, AXIS
from converters.graph import Value
from converters.layer import LayerHandle
from converters.ops.elementwise import as_type
from converters.ops.operands import Axis, is_float, keras_axes, operands, promoted, reduced, tensor, write
from converters.registry import converts

# Keras' class -> (torch method, whether it works in floats).
METHODS = {
    "Sum": ("sum", False), "Mean": ("mean", True), "Amax": ("amax", False), "Amin": ("amin", False),
    "Logsumexp": ("logsumexp", True), "Nansum": ("nansum", False),
}  # fmt: skip
NAN_FUNCTIONS = {
    "Nanmean": "local.nan_mean", "Nanmax": "local.nan_max", "Nanmin": "local.nan_min", "Nanvar": "local.nan_var",
    "Nanstd": "local.nan_std",
}  # fmt: skip


def over(layer: LayerHandle, target: str, x: Value, axis: Axis, keepdims: bool, **more: Any) -> Value:
    """A reduction over Keras axes: `x.mean(dim=(1, 2), keepdim=True)`, or `x.mean()` over all."""
    options: dict[str, Any] = {}
    if axis is not None or keepdims or target in ("logsumexp", "torch.count_nonzero"):
        dims = layer.axes(x, axis)
        options["dim"] = dims[0] if len(dims) == 1 else dims
    if keepdims:
        options["keepdim"] = True
    return reduced(write(layer, target, x, **options, **more), x, axis, keepdims)


@converts(*(f"ops.{name}" for name in METHODS), layout=AXIS)
def reduction(layer: LayerHandle, x: Value, *, axis: Axis = None, keepdims: bool = False) -> Value:
    """Maxima share the gradient among equals, as Keras has it."""
    method, floating = METHODS[layer.class_name]
    if axis == ():
        return layer.floating(x) if floating else x
    return over(layer, method, layer.floating(x) if floating else x, axis, keepdims)


@converts("ops.Max", "ops.Min", layout=AXIS)
def extremum(
    layer: LayerHandle, x: Value, *, axis: Axis = None, keepdims: bool = False, initial: float | None = None
) -> Value:
    """At least (at most) `initial`."""
    if axis == ():
        return x
    y = over(layer, "amax" if layer.class_name == "Max" else "amin", x, axis, keepdims)
    if initial is None:
        return y
    bound = initial if is_float(x) else int(initial)
    return write(layer, "clamp", y, **{"min" if layer.class_name == "Max" else "max": bound})


@converts("ops.Std", "ops.Var", layout=AXIS)
def deviation(layer: LayerHandle, x: Value, *, axis: Axis = None, keepdims: bool = False) -> Value:
    """Of the population: divided by n, not n - 1."""
    return over(layer, layer.class_name.lower(), layer.floating(x), axis, keepdims, correction=0)


@converts("ops.All", "ops.Any", layout=AXIS)
def truth_of_all(layer: LayerHandle, x: Value, *, axis: Axis = None, keepdims: bool = False) -> Value:
    return over(layer, layer.class_name.lower(), x if x.dtype != "uint8" else write(layer, "bool", x), axis, keepdims)


@converts("ops.Prod", "ops.Nanprod", layout=AXIS)
def prod(layer: LayerHandle, x: Value, *, axis: Axis = None, keepdims: bool = False, dtype: str | None = None) -> Value:
    """PyTorch multiplies along one axis at a time: the last ones first, so that the others keep their numbers."""
    x = as_type(layer, x, dtype)
    if layer.class_name == "Nanprod":
        x = write(layer, "nan_to_num", x, nan=1.0, posinf=float("inf"), neginf=float("-inf"))
    if axis is None and not keepdims:
        return write(layer, "prod", x)
    y = x
    for dim in reversed(layer.axes(x, axis)):
        y = write(layer, "prod", y, dim=dim, **({"keepdim": True} if keepdims else {}))
    return reduced(y, x, axis, keepdims)


@converts("ops.CountNonzero", layout=AXIS)
def count_nonzero(layer: LayerHandle, x: Value, *, axis: Axis = None) -> Value:
    if axis is None:
        return write(layer, "count_nonzero", x)
    return over(layer, "torch.count_nonzero", x, axis, False)


@converts("ops.Ptp", layout=AXIS)
def peak_to_peak(layer: LayerHandle, x: Value, *, axis: Axis = None, keepdims: bool = False) -> Value:
    """The largest minus the smallest."""
    high, low = (over(layer, method, x, axis, keepdims) for method in ("amax", "amin"))
    return write(layer, "-", high, low)


@converts("ops.Average", layout=AXIS)
def average(layer: LayerHandle, x: Value, weights: Any = None, *, axis: Axis = None) -> Value:
    """With weights of lower rank, those of the axis."""
    x = layer.floating(x)
    if weights is None:
        return over(layer, "mean", x, axis, False)
    weight = tensor(layer, weights, "weights")
    if weight.rank < x.rank and isinstance(axis, int):
        trailing = x.rank - 1 - layer.axis(x, axis)
        shaped = layer.index(weight, ..., *[None] * trailing) if trailing else weight
        total = over(layer, "sum", write(layer, "*", x, shaped), axis, False)
        return write(layer, "/", total, write(layer, "sum", weight)).arranged(total.arrangement)
    given, weight = operands(layer, x, weights, roles=("x", "weights"))
    total = over(layer, "sum", write(layer, "*", given, weight), axis, False)
    return write(layer, "/", total, over(layer, "sum", weight, axis, False)).arranged(total.arrangement)


@converts(*(f"ops.{name}" for name in NAN_FUNCTIONS), layout=AXIS)
def ignoring_nan(layer: LayerHandle, x: Value, *, axis: Axis = None, keepdims: bool = False) -> Value:
    if axis == () and layer.class_name == "Nanmean":
        return layer.floating(x)
    if layer.class_name in ("Nanmax", "Nanmin") and not is_float(x):
        return over(layer, "amax" if layer.class_name == "Nanmax" else "amin", x, axis, keepdims)
    more = [True] if keepdims else []
    y = write(layer, NAN_FUNCTIONS[layer.class_name], layer.floating(x), layer.axes(x, axis), *more)
    return reduced(y, x, axis, keepdims)


@converts("ops.Moments", layout=AXIS)
def moments(
    layer: LayerHandle, x: Value, *, axes: Axis, keepdims: bool = False, synchronized: bool = False
) -> list[Value]:
    """(mean, variance of the population)."""
    more = {"keepdim": True} if keepdims else {}
    variance, mean = layer.function("torch.var_mean", x, dim=layer.axes(x, axes), correction=0, **more)
    return [reduced(y, x, axes, keepdims) for y in (mean, variance)]


@converts("ops.Argmax", "ops.Argmin", "ops.Nanargmax", "ops.Nanargmin", layout=AXIS)
def arg_extremum(layer: LayerHandle, x: Value, *, axis: int | None = None, keepdims: bool = False) -> Value:
    """The first of equals, in both. Over all axes it counts in the order of Keras."""
    name = layer.class_name.lower()
    if x.dtype == "bool":
        x = write(layer, "byte", x)
    if axis is None:
        x = layer.coerce(x, AS_WRITTEN([x], {})[0])
    options: dict[str, Any] = {"dim": layer.axis(x, axis)} if axis is not None else {}
    if keepdims:
        options["keepdim"] = True
    if name.startswith("nan") and is_float(x):
        y = write(layer, f"local.nan_{name[3:]}", x, *options.values())
    else:
        y = write(layer, name.removeprefix("nan"), x, **options)
    return reduced(y, x, axis, keepdims)


@converts("ops.Norm", layout=AXIS)
def norm(
    layer: LayerHandle, x: Value, *, ord: int | float | str | None = None, axis: Axis = None, keepdims: bool = False
) -> Value:
    """Of vectors along one axis, of matrices along two, of everything by its squares."""
    x = layer.floating(x)
    axes = keras_axes(axis, x.rank)
    if ord in (None, "fro") or len(axes) == 1:
        more = {} if ord in (None, 2, "fro") else {"ord": ord}
        return over(layer, "torch.linalg.vector_norm", x, axis, keepdims, **more)
    if len(axes) != 2:
        layer.unsupported(f"a norm of order {ord!r} over {len(axes)} axes", "give one or two axes in Keras")
    assert isinstance(axis, tuple) or axis is None
    dims = tuple(layer.axis(x, a) for a in (axis or (0, 1)))
    return reduced(write(layer, "local.matrix_norm", x, ord, dims, *([True] if keepdims else [])), x, axis, keepdims)


@converts("ops.Trapezoid", layout=AXIS)
def trapezoid(layer: LayerHandle, y: Value, *, x: Any = None, dx: float = 1.0, axis: int = -1) -> Value:
    """The integral of samples that lie dx apart, or at the points x."""
    y = layer.floating(y)
    if x is not None:
        layer.unsupported("it integrates over given points", "give their distance dx in Keras")
    more = {"dx": dx} if dx != 1 else {}
    return reduced(write(layer, "torch.trapezoid", y, **more, dim=layer.axis(y, axis)), y, axis, False)


@converts("ops.PSNR", layout=AXIS)
def psnr(layer: LayerHandle, x1: Any, x2: Any, *, max_val: float) -> Value:
    """20 log10(max_val) - 10 log10(mean squared difference), in decibel."""
    x, y = promoted(layer, operands(layer, x1, x2), floating=True)
    return write(layer, "local.peak_signal_noise_ratio", x, tensor(layer, y, "constant"), max_val)
