"""Masks across the border of a nested model, which Keras hangs on the tensors that go in and come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from converters.errors import Unsupported
from converters.graph import Call, Tree, Value, leaves, map_tree, values

PURE = {"function", "method", "operator", "size"}


def operands(args: Sequence[Tree], kwargs: Mapping[str, Tree]) -> tuple[list[Value], list[Value | None]]:
    """The inputs of a call of a model, each with its mask: the stated one, else the one that it carries."""
    inputs = values((args, {key: tree for key, tree in kwargs.items() if key not in ("mask", "training")}))
    stated = list(leaves(kwargs["mask"])) if kwargs.get("mask") is not None else []
    stated += [None] * (len(inputs) - len(stated))
    return inputs, [mask if mask is not None else value.mask for value, mask in zip(inputs, stated, strict=True)]


def needed(calls: Sequence[Call], wanted: Sequence[Value]) -> set[Value]:
    """Every value that some values are made of, themselves included."""
    found = set(wanted)
    for call in reversed(calls):
        if found.intersection(values(call.outputs)):
            found.update(call.operands)
    return found


def check_masks(found: Sequence[Value | None], inner: Sequence[Value | None]) -> None:
    """A nested model is one class, which has a mask for an input or has none."""
    if [mask is None for mask in found] != [mask is None for mask in inner]:
        raise Unsupported("it is called with and without a mask", "in Keras, give each call a model of its own")


def outer_mask(
    calls: Sequence[Call], mask: Value, outside: Mapping[Value, Value], write: Callable[[Call, Tree, Tree], Tree]
) -> Value:
    """The mask of an inner value, made once more outside: it comes from the inputs by a few calls without weights."""
    needs = needed(calls, [mask])
    known = dict(outside)

    def look_up(leaf: object) -> object:
        return known[leaf] if isinstance(leaf, Value) else leaf

    for call in calls:
        if not needs.intersection(values(call.outputs)):
            continue
        if call.kind not in PURE:
            raise Unsupported(
                "the mask of its output is computed by layers with weights",
                "in Keras, compute the mask outside of the nested model and pass it on",
            )
        made = write(call, map_tree(look_up, call.args), map_tree(look_up, call.kwargs))
        known.update(zip(values(call.outputs), values(made), strict=True))
    return known[mask]
