"""Ops that make a tensor in the form of another, or between two."""

from __future__ import annotations

from typing import Any

from converters.arrangement import ANY, AS_WRITTEN, Perm, as_written, positive
from converters.graph import Value
from converters.layer import LayerHandle
from converters.ops.elementwise import as_type, torch_type
from converters.ops.operands import array_of, is_float, promoted, tensor, write
from converters.ops.shaping import moved
from converters.registry import converts

LIKE = {"OnesLike": "torch.ones_like", "ZerosLike": "torch.zeros_like", "EmptyLike": "torch.zeros_like"}


@converts(*(f"ops.{name}" for name in LIKE), layout=ANY)
def like(layer: LayerHandle, x: Value, *, dtype: str | None = None) -> Value:
    """EmptyLike is filled with zeros in TensorFlow."""
    if dtype in (None, "float32", x.dtype):
        return write(layer, LIKE[layer.class_name], as_type(layer, x, dtype))
    return write(layer, LIKE[layer.class_name], x, dtype=torch_type(layer, dtype))


@converts("ops.FullLike", layout=ANY)
def full_like(layer: LayerHandle, x: Value, fill_value: Any, *, dtype: str | None = None) -> Value:
    fill = array_of(fill_value)
    if isinstance(fill, (int, float)) and dtype not in (None, "float32", x.dtype):
        return write(layer, "torch.full_like", x, int(fill), dtype=torch_type(layer, dtype))
    x = as_type(layer, x, dtype)
    if isinstance(fill, (int, float)):
        return write(layer, "torch.full_like", x, fill if is_float(x) else int(fill))
    zeros = write(layer, "torch.zeros_like", layer.coerce(x, as_written(x.rank)))
    return write(layer, "+", zeros, tensor(layer, fill, "fill"))


@converts("ops.Full", layout=AS_WRITTEN)
def full(layer: LayerHandle, fill_value: Value, *, shape: Any, dtype: str | None = None) -> Value:
    """A tensor of a fixed shape, filled with one that broadcasts to it."""
    x = as_type(layer, fill_value, dtype or "float32")
    sizes = (shape,) if isinstance(shape, int) else shape
    return write(layer, "expand", x, *sizes).arranged(as_written(len(sizes)))


@converts("ops.Linspace", "ops.Logspace", "ops.Geomspace", layout=AS_WRITTEN)
def linspace(
    layer: LayerHandle,
    start: Any,
    stop: Any,
    *,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    base: float = 10,
    dtype: str | None = None,
    axis: int = 0,
) -> Value:
    """Steps from one tensor to another, in a new axis."""
    if retstep or dtype not in (None, "float32"):
        layer.unsupported("it asks for the step, or for whole numbers", "leave retstep and dtype out in Keras")
    first, last = promoted(layer, [array_of(start), array_of(stop)], floating=True)
    given = [tensor(layer, first, "start"), tensor(layer, last, "stop")]
    options = {} if endpoint else {"endpoint": False}
    if layer.class_name == "Geomspace":
        y = write(layer, "local.geomspace", *given, num, **options)
    else:
        y = write(layer, "local.linspace", *given, num, **options)
        y = write(layer, "**", base, y) if layer.class_name == "Logspace" else y
    y = y.arranged(as_written(y.rank))
    order = moved(y.rank, 0, positive(axis, y.rank))
    return layer.rename(y, Perm(tuple(order.index(a) for a in range(y.rank))))


@converts("ops.Vander", layout=AS_WRITTEN)
def vander(layer: LayerHandle, x: Value, *, N: int | None = None, increasing: bool = False) -> Value:  # noqa: N803  # Keras' name
    """Powers of a vector's elements, in columns."""
    if N is None:
        layer.unsupported("its number of columns is that of the batch", "give N in Keras")
    y = write(layer, "local.vander", x, N, **({"increasing": True} if increasing else {}))
    return y.arranged(as_written(2))
