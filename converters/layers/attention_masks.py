"""What a query may look at: padding, explicit masks, causality and windows as one mask for the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from converters.graph import Value
from converters.layer import LayerHandle

ALL = slice(None)


@dataclass(frozen=True)
class Sight:
    """`mask`, True where a query may look, broadcasts against the scores (N, ..., heads, T, S).

    `is_causal`: a query looks up to its own position, which needs no mask. `certain`: every query may look
    somewhere. `is_bias`: Keras 2 adds the mask to the scores, as -1e9 where it is False.
    """

    mask: Value | None
    is_causal: bool
    certain: bool
    is_bias: bool

    def arguments(self, layer: LayerHandle, inputs: Sequence[Value], explicit: bool) -> dict[str, Any]:
        """The keyword arguments of an attention call. `explicit`: it knows no `is_causal`."""
        if self.is_causal and explicit:
            return {"mask": layer.function("local.causal_mask", inputs[0], inputs[1])}
        if self.is_causal:
            return {"is_causal": True}
        if self.mask is None:
            return {}
        return {"mask": layer.function("local.attention_bias", self.mask, inputs[0]) if self.is_bias else self.mask}


def mask_of(value: Value, explicit: Value | None) -> Value | None:
    """The mask that a call states for one of its inputs, else the one that the input carries."""
    return explicit if explicit is not None else value.mask


def sight(
    layer: LayerHandle,
    inputs: Sequence[Value],
    padding: tuple[Value | None, Value | None, Value | None],
    attention_mask: Value | None,
    causal: bool,
    window: int | None,
    axes: tuple[int, ...],
    rank: int,
) -> Sight:
    """`inputs`: queries, keys and values as sequences; `padding`: the masks of query, value and key.

    `axes` of tensors of `rank` were joined to the one along which the sequences run.
    """
    if (causal or window) and axes[0] != 1:
        layer.unsupported(
            f"Keras counts positions along axis 1 for a causal or sliding mask, but attention_axes is {axes}",
            "in Keras, put the axis of positions first, or pass the mask as attention_mask",
        )
    hidden = [part for part in _padding(layer, padding, axes, rank) if part is not None]
    if attention_mask is not None:
        if attention_mask.rank > rank and hidden:
            layer.unsupported(
                f"an attention_mask of rank {attention_mask.rank} meets masks of padding, which Keras aligns wrongly",
                "in Keras, pass attention_mask without an axis for the heads",
            )
        hidden.append(_for_scores(layer, boolean(layer, attention_mask), axes, rank))
    only_causal = causal and not window and not hidden
    certain = only_causal or (not hidden and inputs[0] == inputs[1])
    if causal and not only_causal:
        hidden.append(layer.function("local.causal_mask", inputs[0], inputs[1]))
    if window:
        hidden.append(layer.function("local.window_mask", inputs[0], inputs[1], window))
    mask = reduce(lambda a, b: layer.operator("&", a, b), hidden) if hidden else None
    return Sight(mask, only_causal, certain or mask is None, layer.version < (3,))


def boolean(layer: LayerHandle, mask: Value) -> Value:
    return mask if mask.dtype == "bool" else layer.method("bool", mask)


def _padding(
    layer: LayerHandle, padding: tuple[Value | None, Value | None, Value | None], axes: tuple[int, ...], rank: int
) -> list[Value | None]:
    """(N, ..., T) of the queries as (N, ..., 1, T, 1), (N, ..., S) of keys and values as (N, ..., 1, 1, S)."""
    query, *others = padding
    different = [mask for number, mask in enumerate(others) if mask is not None and mask not in others[:number]]
    stated = [mask for mask in (query, *different) if mask is not None]
    if any(mask.rank != rank - 1 for mask in stated) or (stated and axes != (rank - 2,)):
        layer.unsupported(
            f"masks of rank {[mask.rank for mask in stated]} meet attention along the axes {axes} of rank {rank}",
            "in Keras, pass the mask as attention_mask",
        )
    leading = (ALL,) * (rank - 2)
    parts = [] if query is None else [layer.index(boolean(layer, query), *leading, None, ALL, None)]
    return [*parts, *(layer.index(boolean(layer, mask), *leading, None, None, ALL) for mask in different)]


def _for_scores(layer: LayerHandle, mask: Value, axes: tuple[int, ...], rank: int) -> Value:
    """An explicit mask (N, ..., T, S) with an axis for the heads, and for what else it leaves out, before T."""
    tail = 2 * len(axes)
    missing = rank + len(axes) - mask.rank
    if mask.rank > tail and missing > 0:
        mask = layer.index(mask, *(ALL,) * (mask.rank - tail), *(None,) * missing)
    if len(axes) == 1:
        return mask
    if mask.rank < tail or 1 in mask.sizes[-tail:]:
        layer.unsupported(
            f"an attention_mask of shape {list(mask.sizes)} is spread over the axes {axes}",
            "in Keras, give attention_mask the size of every axis that attends",
        )
    mask = layer.method("flatten", mask, -len(axes), -1)
    return layer.method("flatten", mask, -1 - len(axes), -2)  # type: ignore[no-any-return]  # one value
