"""Ops of two tensors or more, element by element: arithmetic, comparison, logic, choice."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

from converters.arrangement import ANY
from converters.graph import Value
from converters.layer import LayerHandle
from converters.ops.operands import array_of, is_float, operands, promoted, same_type, tensor, write
from converters.registry import converts

ARITHMETIC = {"Add": "+", "Subtract": "-", "Multiply": "*", "Divide": "/", "TrueDivide": "/", "Power": "**"}
COMPARISONS = {"Equal": "==", "NotEqual": "!=", "Less": "<", "LessEqual": "<=", "Greater": ">", "GreaterEqual": ">="}
MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
BITWISE = {"BitwiseAnd": "&", "BitwiseOr": "|", "BitwiseXor": "^"}
SHIFTS = {
    "BitwiseLeftShift": "torch.bitwise_left_shift", "LeftShift": "torch.bitwise_left_shift",
    "BitwiseRightShift": "torch.bitwise_right_shift", "RightShift": "torch.bitwise_right_shift",
}  # fmt: skip
LOGIC = {"LogicalAnd": "&", "LogicalOr": "|", "LogicalXor": "^"}
WORDS = {"&": "torch.logical_and", "|": "torch.logical_or", "^": "torch.logical_xor"}
# Functions of two tensors; a number among the operands becomes a buffer. True: in floats whatever comes in.
FUNCTIONS = {
    "Arctan2": ("torch.atan2", True), "Hypot": ("torch.hypot", True), "Logaddexp": ("torch.logaddexp", True),
    "Logaddexp2": ("torch.logaddexp2", True), "Heaviside": ("local.heaviside", True), "Fmod": ("torch.fmod", False),
    "Gcd": ("torch.gcd", False), "Lcm": ("torch.lcm", False), "DivideNoNan": ("local.divide_no_nan", True),
}  # fmt: skip
EXTREMES = {"Maximum": "maximum", "Minimum": "minimum", "Fmax": "fmax", "Fmin": "fmin"}


@converts(*(f"ops.{name}" for name in ARITHMETIC), layout=ANY)
def arithmetic(layer: LayerHandle, x1: Any, x2: Any) -> Value:
    """A quotient is a float; PyTorch subtracts no bools."""
    sign = ARITHMETIC[layer.class_name]
    x, y = promoted(layer, operands(layer, x1, x2), floating=sign == "/")
    if sign == "-":
        x, y = (layer.floating(v) if isinstance(v, Value) and v.dtype == "bool" else v for v in (x, y))
    return write(layer, sign, x, y)


@converts("ops.FloorDivide", layout=ANY)
def floor_divide(layer: LayerHandle, x1: Any, x2: Any) -> Value:
    """The floor of the quotient as it is rounded: 1.0 // 0.1 is 10 in TensorFlow, 9 in Python and PyTorch."""
    x, y = promoted(layer, operands(layer, x1, x2))
    if any(isinstance(v, Value) and is_float(v) for v in (x, y)):
        return write(layer, "floor", write(layer, "/", x, y))
    return write(layer, "//", x, y)


@converts("ops.Mod", layout=ANY)
def mod(layer: LayerHandle, x1: Any, x2: Any) -> Value:
    """The sign is that of the divisor, as in Python. A number divided by a tensor has no gradient in PyTorch."""
    x, y = promoted(layer, operands(layer, x1, x2))
    if not isinstance(x, Value) and is_float(y):
        x = write(layer, "torch.full_like", y, x)
    return write(layer, "%", x, y)


@converts(*(f"ops.{name}" for name in COMPARISONS), layout=ANY)
def comparison(layer: LayerHandle, x1: Any, x2: Any) -> Value:
    sign, (x, y) = COMPARISONS[layer.class_name], operands(layer, x1, x2)
    return write(layer, sign, x, y) if isinstance(x, Value) else write(layer, MIRRORED.get(sign, sign), y, x)


@converts(*(f"ops.{name}" for name in BITWISE), layout=ANY)
def bitwise(layer: LayerHandle, x: Any, y: Any) -> Value:
    return write(layer, BITWISE[layer.class_name], *operands(layer, x, y))


@converts(*(f"ops.{name}" for name in SHIFTS), layout=ANY)
def shift(layer: LayerHandle, x: Any, y: Any) -> Value:
    return write(layer, SHIFTS[layer.class_name], *operands(layer, x, y))


@converts(*(f"ops.{name}" for name in LOGIC), layout=ANY)
def logic(layer: LayerHandle, x1: Any, x2: Any) -> Value:
    """Every number but zero is true."""
    sign = LOGIC[layer.class_name]
    x, y = (bool(v) if isinstance(v, (int, float)) else v for v in operands(layer, x1, x2))
    if all(isinstance(v, bool) or v.dtype == "bool" for v in (x, y)):
        return write(layer, sign, x, y)
    return write(layer, WORDS[sign], tensor(layer, x, "first"), tensor(layer, y, "constant"))


@converts(*(f"ops.{name}" for name in FUNCTIONS), layout=ANY)
def function(layer: LayerHandle, x1: Any, x2: Any) -> Value:
    target, floating = FUNCTIONS[layer.class_name]
    x, y = promoted(layer, operands(layer, x1, x2), floating=floating)
    return write(layer, target, *same_type(layer, [tensor(layer, x, "first"), tensor(layer, y, "constant")]))


@converts("ops.Ldexp", layout=ANY)
def ldexp(layer: LayerHandle, x1: Any, x2: Any) -> Value:
    """x1 * 2 ** x2."""
    x, y = promoted(layer, operands(layer, x1, x2))
    x = layer.floating(tensor(layer, x, "first"))
    return write(layer, "torch.ldexp", x, tensor(layer, y, "constant"))


@converts(*(f"ops.{name}" for name in EXTREMES), layout=ANY)
def extreme(layer: LayerHandle, x1: Any, x2: Any) -> Value:
    """With a number, `clamp`. fmax and fmin prefer a number to NaN."""
    name = EXTREMES[layer.class_name]
    x, y = promoted(layer, operands(layer, x1, x2))
    if not isinstance(x, Value):
        x, y = y, x
    if not isinstance(y, Value) and name in ("maximum", "minimum"):
        return write(layer, "clamp", x, **{"min" if name == "maximum" else "max": y})
    return write(layer, f"torch.{name}", x, tensor(layer, y, "constant"))


@converts("ops.Isclose", layout=ANY)
def is_close(
    layer: LayerHandle, x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, *, equal_nan: bool = False
) -> Value:
    """|x1 - x2| <= atol + rtol |x2|: what is infinite is close to nothing, unlike in torch.isclose."""
    x, y = same_type(layer, operands(layer, x1, x2))
    if not any(isinstance(v, float) or (isinstance(v, Value) and is_float(v)) for v in (x, y)):
        return write(layer, "==", x, y)
    arguments = [tensor(layer, x, "first"), tensor(layer, y, "constant"), rtol, atol]
    return write(layer, "local.is_close", *arguments, *([True] if equal_nan else []))


@converts("ops.AllClose", layout=ANY)
def all_close(
    layer: LayerHandle, x1: Any, x2: Any, *, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Value:
    x, y = same_type(layer, operands(layer, x1, x2))
    x, y = tensor(layer, x, "first"), tensor(layer, y, "constant")
    close = write(layer, "torch.isclose", x, y, rtol=rtol, atol=atol, equal_nan=equal_nan)
    return write(layer, "all", close)


@converts("ops.Where", layout=ANY)
def where(layer: LayerHandle, condition: Any, x1: Any = None, x2: Any = None) -> Value:
    if x1 is None or x2 is None:
        layer.unsupported("where with a condition only gives as many indices as are true", "use where(condition, x, y)")
    mask, x, y = operands(layer, condition, x1, x2)
    mask = truth(layer, mask)
    return choose(layer, mask, x, y)


def truth(layer: LayerHandle, condition: Any) -> Value:
    condition = tensor(layer, condition, "condition")
    return condition if condition.dtype == "bool" else write(layer, "bool", condition)


def choose(layer: LayerHandle, mask: Value, x: Any, y: Any) -> Value:
    """torch.where. Two numbers have no tensor that gives them the model's type: one of them becomes a buffer."""
    if not isinstance(x, Value) and not isinstance(y, Value):
        if isinstance(x, float) != isinstance(y, float):
            x, y = float(x), float(y)
        x = tensor(layer, x, "constant")
    elif any(isinstance(v, float) for v in (x, y)):
        x, y = (layer.floating(v) if isinstance(v, Value) else v for v in (x, y))
    return write(layer, "torch.where", mask, x, y)


@converts("ops.Select", layout=ANY)
def select(layer: LayerHandle, condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Value:
    """The first choice whose condition holds."""
    given = operands(
        layer, *condlist, *choicelist, default, roles=[f"operand{i}" for i in range(2 * len(condlist) + 1)]
    )
    masks = [truth(layer, mask) for mask in given[: len(condlist)]]
    pairs = list(zip(masks, given[len(condlist) : -1], strict=True))
    return reduce(lambda rest, pair: choose(layer, pair[0], pair[1], rest), reversed(pairs), given[-1])  # type: ignore[no-any-return]  # one value


@converts("ops.IsIn", layout=ANY)
def is_in(layer: LayerHandle, x1: Any, x2: Any, *, assume_unique: bool = False, invert: bool = False) -> Value:
    x, y = (tensor(layer, array_of(v), role) for v, role in ((x1, "elements"), (x2, "among")))
    return write(layer, "torch.isin", x, y, **({"invert": True} if invert else {}))
