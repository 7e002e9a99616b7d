"""Ops of one tensor, element by element."""

from __future__ import annotations

from typing import Any

from converters.arrangement import ANY
from converters.graph import Value
from converters.layer import LayerHandle
from converters.ops.operands import is_float, write
from converters.registry import converts

# Keras' class -> the torch call that equals it. Whole numbers become floats first.
IN_FLOATS = {
    "Arccos": "arccos", "Arccosh": "arccosh", "Arcsin": "arcsin", "Arcsinh": "arcsinh", "Arctan": "arctan",
    "Arctanh": "arctanh", "Cos": "cos", "Cosh": "cosh", "Sin": "sin", "Sinh": "sinh", "Tan": "tan", "Tanh": "tanh",
    "Sinc": "sinc", "Deg2rad": "deg2rad", "Rad2deg": "rad2deg", "Exp": "exp", "Exp2": "exp2", "Expm1": "expm1",
    "Log": "log", "Log10": "log10", "Log1p": "log1p", "Log2": "log2", "Sqrt": "sqrt", "Rsqrt": "rsqrt",
    "Cbrt": "local.cbrt", "Ceil": "ceil", "Floor": "floor", "Fabs": "abs", "I0": "i0", "Angle": "angle",
    "Erf": "erf", "Erfc": "erfc", "Erfinv": "erfinv",
}  # fmt: skip

# Those that keep the type of number, or answer with a bool.
AS_THEY_ARE = {
    "Negative": "neg", "Sign": "sign", "Trunc": "trunc", "Signbit": "signbit", "BitwiseInvert": "~", "BitwiseNot": "~",
    "Isfinite": "isfinite", "Isinf": "isinf", "Isnan": "isnan", "Isneginf": "isneginf", "Isposinf": "isposinf",
    "Isreal": "isreal", "StopGradient": "detach",
}  # fmt: skip

# A NumPy name of a dtype -> the tensor method that casts to it.
CASTS = {
    "bool": "bool", "uint8": "byte", "int8": "char", "int16": "short", "int32": "int", "int64": "long",
    "uint16": "int", "uint32": "long", "float16": "half", "bfloat16": "bfloat16", "float64": "double",
}  # fmt: skip


@converts(*(f"ops.{name}" for name in IN_FLOATS), layout=ANY)
def in_floats(layer: LayerHandle, x: Value) -> Value:
    return write(layer, IN_FLOATS[layer.class_name], layer.floating(x))


@converts(*(f"ops.{name}" for name in AS_THEY_ARE), layout=ANY)
def as_they_are(layer: LayerHandle, x: Value) -> Value:
    return write(layer, AS_THEY_ARE[layer.class_name], x)


@converts("ops.Copy", "ops.Real", "ops.Conj", "ops.Conjugate", layout=ANY)
def same(layer: LayerHandle, x: Value) -> Value:
    """Real numbers are their own conjugate."""
    return x


@converts("ops.Imag", layout=ANY)
def imag(layer: LayerHandle, x: Value) -> Value:
    return write(layer, "torch.zeros_like", x)


@converts("ops.Absolute", "ops.Abs", layout=ANY)
def absolute(layer: LayerHandle, x: Value) -> Value:
    return x if x.dtype in ("bool", "uint8") else write(layer, "abs", x)


@converts("ops.Square", layout=ANY)
def square(layer: LayerHandle, x: Value) -> Value:
    return write(layer, "int", x) if x.dtype == "bool" else write(layer, "square", x)


@converts("ops.Reciprocal", layout=ANY)
def reciprocal(layer: LayerHandle, x: Value) -> Value:
    if not is_float(x):
        layer.unsupported("it takes the reciprocal of whole numbers", "cast them to floats in Keras first")
    return write(layer, "/", 1, x)


@converts("ops.Round", layout=ANY)
def rounded(layer: LayerHandle, x: Value, *, decimals: int = 0) -> Value:
    """Halves to the even neighbour, in both."""
    if decimals == 0 or (decimals > 0 and not is_float(x)):
        return write(layer, "round", x) if decimals == 0 and is_float(x) else x
    if not is_float(x):
        layer.unsupported(f"it rounds whole numbers to decimals={decimals}", "cast them to floats in Keras first")
    return write(layer, "round", x, decimals=decimals)


@converts("ops.LogicalNot", layout=ANY)
def logical_not(layer: LayerHandle, x: Value) -> Value:
    return write(layer, "~" if x.dtype == "bool" else "logical_not", x)


@converts("ops.NanToNum", layout=ANY)
def nan_to_num(
    layer: LayerHandle, x: Value, *, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Value:
    """Infinities become the largest finite numbers of the type, in both."""
    given = {"nan": nan or None, "posinf": posinf, "neginf": neginf}
    more = {key: float(value) for key, value in given.items() if value is not None}
    return write(layer, "nan_to_num", x, **more) if is_float(x) else x


@converts("ops.Clip", layout=ANY)
def clip(layer: LayerHandle, x: Value, *, x_min: Any, x_max: Any) -> Value:
    """Whole numbers stay whole: TensorFlow cuts the fraction off their bounds."""
    if any(isinstance(bound, tuple) for bound in (x_min, x_max)):
        layer.unsupported("its bounds are arrays", "in Keras, use maximum and minimum instead of clip")
    if not is_float(x):
        x = write(layer, "int", x) if x.dtype == "bool" else x
        x_min, x_max = (bound if bound is None else int(bound) for bound in (x_min, x_max))
    if x_min is None:
        return write(layer, "clamp", x, max=x_max)
    return write(layer, "clamp", x, x_min, *([x_max] if x_max is not None else []))


@converts("ops.Cast", "ops.Array", "ops.ConvertToTensor", layout=ANY)
def cast(
    layer: LayerHandle, x: Value, *, dtype: str | None = None, sparse: bool | None = None, ragged: bool | None = None
) -> Value:
    """float32 stands for the model's own type: `.double()` and `.half()` change it."""
    if sparse or ragged:
        layer.unsupported("it makes a sparse or ragged tensor", "use a dense one in Keras")
    return as_type(layer, x, dtype)


def as_type(layer: LayerHandle, x: Value, dtype: str | None) -> Value:
    """`x` as numbers of a type as Keras names it; itself if it has it."""
    if dtype in (None, x.dtype):
        return x
    if dtype == "float32":
        return layer.to_float(x)
    if dtype not in CASTS:
        layer.unsupported(f"it casts to {dtype!r:.40}", "use a type that PyTorch computes in")
    return write(layer, CASTS[dtype], x)


def torch_type(layer: LayerHandle, dtype: str | None) -> str:
    """The name of a type in PyTorch, where it computes in it."""
    name = {"uint16": "int32", "uint32": "int64"}.get(str(dtype), str(dtype))
    if name not in CASTS:
        layer.unsupported(f"it makes numbers of type {name!r:.40}", "use a type that PyTorch computes in")
    return name


@converts("ops.SaturateCast", layout=ANY)
def saturate_cast(layer: LayerHandle, x: Value, *, dtype: str) -> Value:
    """A cast that stops at the ends of the range of a whole type."""
    if dtype == x.dtype:
        return x
    if dtype == "float32":
        return layer.to_float(x)
    if dtype not in ("uint8", "int8", "int16", "int32"):
        layer.unsupported(f"it casts to {dtype!r:.40}", "use cast, or a type of at most 32 bits, in Keras")
    bits, low = int(dtype.lstrip("uint")), 0 if dtype.startswith("u") else -1
    least = low * 2 ** (bits - 1)
    greatest = 2 ** (bits + low) - 1
    return as_type(layer, write(layer, "clamp", x, least, greatest), dtype)
