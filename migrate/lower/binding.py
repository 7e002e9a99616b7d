"""How the arguments of a call meet the signature of a converter."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from converters.errors import Unsupported
from converters.graph import Tree, Value, map_tree
from converters.registry import Converter


def bind(converter: Converter, args: Sequence[Tree], kwargs: Mapping[str, Tree]) -> tuple[dict[str, Any], Any]:
    """The call arguments by name, and the explicit mask if there is one."""
    kwargs = {k: v for k, v in kwargs.items() if v is not None}
    kwargs.pop("training", None)
    names = [p.name for p in converter.call_arguments]
    mask = kwargs.pop("mask", None) if "mask" not in names else None
    if converter.call_arguments and converter.call_arguments[0].kind is inspect.Parameter.VAR_POSITIONAL:
        return {"*": tuple(args), **kwargs}, mask
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in converter.call_arguments)
    if len(args) > len(names) or (not open_ended and any(key not in names for key in kwargs)):
        unknown_arguments = [repr(key) for key in kwargs if key not in names] or [f"{len(args)} positional arguments"]
        raise Unsupported(
            f"it is called with {', '.join(unknown_arguments)}; known are {names}",
            "remove the argument in Keras, or report the model",
        )
    bound = dict(zip(names, args, strict=False))
    return bound | kwargs, mask


def takes_implied_mask(converter: Converter) -> bool:
    """Whether the layer takes its implied mask from its first input, as all but the merging layers do."""
    return not callable(converter.mask)


def without_masks_of(result: Tree, given: list[Value]) -> Tree:
    """A layer that does nothing hands its input on; the input's mask must not slip through with it."""
    return map_tree(lambda v: v.masked(None) if isinstance(v, Value) and v in given else v, result)
