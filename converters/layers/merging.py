"""Layers that make one tensor of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from converters.arrangement import ANY, AS_WRITTEN, Arrangement, Flat, as_written, joined, positive
from converters.graph import Value, values
from converters.layer import LayerHandle
from converters.registry import converts

Inputs = Sequence[Any]


def any_valid(layer: LayerHandle, inputs: list[Value]) -> Value | None:
    """A step counts if it counts in one of the inputs; without a mask on each of them there is none."""
    masks = explicit_masks(layer, inputs)
    if any(mask is None for mask in masks):
        return None
    return reduce(lambda a, b: layer.operator("|", a, b), masks)


def explicit_masks(layer: LayerHandle, inputs: list[Value]) -> list[Value | None]:
    """The masks that the call states, else those that the inputs carry."""
    return list(layer.mask) if isinstance(layer.mask, (list, tuple)) else [value.mask for value in inputs]


@converts("layers.Add", layout=ANY, mask=any_valid)
def add(layer: LayerHandle, inputs: Inputs) -> Value:
    return _fold(layer, "+", inputs)


@converts("layers.Subtract", layout=ANY, mask=any_valid)
def subtract(layer: LayerHandle, inputs: Inputs) -> Value:
    return _fold(layer, "-", inputs)


@converts("layers.Multiply", layout=ANY, mask=any_valid)
def multiply(layer: LayerHandle, inputs: Inputs) -> Value:
    """Steps that one input masks are 1 in it; those that all of them mask are 0 in the product (Keras 3)."""
    masks = effective_masks(layer, inputs)
    if not masks:
        return _fold(layer, "*", inputs)
    aligned = layer.align(inputs, insert_at=1)
    ones = [x if m is None else _where(layer, m, x, 1.0) for x, m in zip(aligned, masks, strict=True)]
    product: Value = reduce(lambda a, b: layer.operator("*", a, b), ones)
    present = [mask for mask in masks if mask is not None]
    if len(present) < len(masks):
        return product
    return _where(layer, reduce(lambda a, b: layer.operator("|", a, b), present), product, 0.0)


def effective_masks(layer: LayerHandle, inputs: Inputs) -> list[Value | None]:
    """The masks that change what a merge of Keras 3 computes; none if there is none, or before Keras 3."""
    masks = explicit_masks(layer, list(inputs)) if layer.version[0] >= 3 else []
    if all(mask is None for mask in masks):
        return []
    ranks = {x.rank for x in inputs}
    if len(ranks) != 1 or any(mask is not None and mask.rank + 1 not in ranks for mask in masks):
        layer.unsupported("masked inputs of unequal rank", "in Keras, give its inputs the same rank")
    return masks


def _where(layer: LayerHandle, mask: Value, x: Value, other: Any) -> Value:
    """`x` at the steps that count, something else at the others."""
    steps = layer.method("unsqueeze", layer.coerce(mask, as_written(mask.rank)), -1)
    return layer.function("torch.where", steps, layer.coerce(x, as_written(x.rank)), other)  # type: ignore[no-any-return]


@converts("layers.Average", layout=ANY, mask=any_valid)
def average(layer: LayerHandle, inputs: Inputs) -> Value:
    return layer.operator("/", _fold(layer, "+", inputs), len(inputs))  # type: ignore[no-any-return]  # one value


@converts("layers.Maximum", layout=ANY, mask=any_valid)
def maximum(layer: LayerHandle, inputs: Inputs) -> Value:
    return _extreme(layer, "torch.maximum", inputs)


@converts("layers.Minimum", layout=ANY, mask=any_valid)
def minimum(layer: LayerHandle, inputs: Inputs) -> Value:
    return _extreme(layer, "torch.minimum", inputs)


def _extreme(layer: LayerHandle, function: str, inputs: Inputs) -> Value:
    """Pair by pair. Where one of the two is masked, the other counts alone (Keras 3)."""
    masks = effective_masks(layer, inputs) or [None] * len(inputs)
    first, *others = layer.align(inputs, insert_at=1)
    made, valid = first, masks[0]
    for x, mask in zip(others, masks[1:], strict=True):
        if mask is not None:
            x = _where(layer, mask, x, made)
        if valid is not None:
            made = _where(layer, valid, made, x)
        valid = layer.operator("|", valid, mask) if mask is not None and valid is not None else None
        made = layer.function(function, made, x)
    return made  # type: ignore[no-any-return]  # one value


def _fold(layer: LayerHandle, sign: str, inputs: Inputs) -> Value:
    """Left to right, as Keras sums them. Axes that are missing are inserted behind the batch."""
    aligned = layer.align(inputs, insert_at=1)
    return reduce(lambda a, b: layer.operator(sign, a, b), aligned)  # type: ignore[no-any-return]  # one value


def concatenated_masks(layer: LayerHandle, inputs: list[Value]) -> Value | None:
    """Along the steps, the masks in a row; along features, a step counts if it does in any input."""
    masks = explicit_masks(layer, inputs)
    along_features = positive(layer.config["axis"], inputs[0].rank) == inputs[0].rank - 1
    if all(mask is None for mask in masks) or (along_features and any(mask is None for mask in masks)):
        return None  # an unmasked input counts everywhere
    if along_features:
        return reduce(lambda a, b: layer.operator("|", a, b), masks)
    filled = [
        mask if mask is not None else layer.function("torch.ones_like", layer.index(x, ..., 0), dtype="bool")
        for x, mask in zip(inputs, masks, strict=True)
    ]
    return layer.function("torch.cat", filled, dim=1)  # type: ignore[no-any-return]  # one value


def JOINED(inputs: Sequence[Any], config: Mapping[str, Any]) -> list[Arrangement]:
    """One arrangement for all; flattened features as they come if they are joined feature by feature."""
    if all(x.rank == 2 for x in inputs) and config["axis"] in (1, -1):
        return [x.arrangement for x in inputs]
    wanted = ANY(inputs, config)
    return AS_WRITTEN(inputs, config) if any(isinstance(a, Flat) for a in wanted) else wanted


JOINED.follows = True  # type: ignore[attr-defined]  # an image before it may be channels first


@converts("layers.Concatenate", layout=JOINED, mask=concatenated_masks)
def concatenate(layer: LayerHandle, inputs: Inputs, *, axis: int = -1) -> Value:
    parts = values(list(inputs))
    if any(isinstance(x.arrangement, Flat) for x in parts):
        y: Value = layer.function("torch.cat", list(parts), dim=1)
        return y.arranged(joined([x.arrangement for x in parts], [int(x.sizes[1] or 0) for x in parts]))
    return layer.function("torch.cat", list(parts), dim=layer.axis(parts[0], axis))  # type: ignore[no-any-return]


@converts("layers.Dot", layout=AS_WRITTEN)
def dot(layer: LayerHandle, inputs: Inputs, *, axes: int | tuple[int, int], normalize: bool = False) -> Value:
    """The product of two batches along one axis of each; what is left of the first, then of the second."""
    x, y = inputs
    first, second = (axes, axes) if isinstance(axes, int) else axes
    first, second = layer.axis(x, first), layer.axis(y, second)
    if normalize:
        x, y = (layer.function("F.normalize", v, dim=d) for v, d in ((x, first), (y, second)))
    left, right = _einsum_terms(x.rank, y.rank, first, second)
    result = "b" + left.replace("z", "")[1:] + right.replace("z", "")[1:]
    product: Value = layer.function("torch.einsum", f"{left},{right}->{result}", x, y)
    product = product if product.rank > 1 else layer.method("unsqueeze", product, 1)
    return product.arranged(as_written(product.rank))


def _einsum_terms(first_rank: int, second_rank: int, first: int, second: int) -> tuple[str, str]:
    """Letters of both operands: b the batch, z the axis that is summed."""
    letters = iter("ijklmnop")
    left = "b" + "".join("z" if axis == first else next(letters) for axis in range(1, first_rank))
    right = "b" + "".join("z" if axis == second else next(letters) for axis in range(1, second_rank))
    return left, right
