"""The calls that a config states: Keras' two formats of inbound nodes, tensors and literals -> trees of references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.graph import Tree, leaves
from migrate.readers.data import malformed


@dataclass(frozen=True)
class Reference:
    """A tensor as a config names it: layer, number of its call, number of its output."""

    layer: str
    node: int
    tensor: int
    shape: tuple[int | None, ...] | None = None
    dtype: str = "float32"


def values_of(tree: Tree) -> list[Reference]:
    return [leaf for leaf in leaves(tree) if isinstance(leaf, Reference)]


def arguments(node: Any) -> tuple[tuple[Tree, ...], dict[str, Tree]]:
    """(args, kwargs) of one call, from the format of Keras 3 or that of Keras 1 and 2."""
    if isinstance(node, Mapping) and "args" in node:
        args, kwargs = decode(node["args"]), decode(node.get("kwargs") or {})
        if not isinstance(args, list) or not isinstance(kwargs, Mapping):
            raise malformed(f"an inbound node is {node!r:.80}")
        return tuple(args), dict(kwargs)
    given: dict[str, Tree] = {}
    first = _legacy_tensors(node, given)
    # Keras 2 puts a single tensor into a list; only ops of TensorFlow keep a list of one as it was.
    return (first[0] if isinstance(first, list) and len(first) == 1 else first,), given


def _legacy_tensors(tree: Any, given: dict[str, Tree]) -> Tree:
    """`["name", 0, 0, {kwargs}]`, or lists and dicts of such; the keyword arguments go into `given`."""
    if isinstance(tree, Mapping):
        return {key: _legacy_tensors(value, given) for key, value in tree.items()}
    match tree:
        case [str(), int(), _] | [str(), int(), _, Mapping()]:
            given.update({key: _legacy_argument(value) for key, value in (tree[3] if len(tree) == 4 else {}).items()})
            return _legacy_reference(tree[:3])
        case [first, *_] if not isinstance(first, str):
            return [_legacy_tensors(item, given) for item in tree]
    raise malformed(f"an inbound node holds {tree!r:.80}, expected [layer, node, tensor]")


def _legacy_reference(entry: Sequence[Any]) -> Tree:
    """`_CONSTANT_VALUE` stands in front of a number that was given in place of a tensor."""
    return decode(entry[2]) if entry[0] == "_CONSTANT_VALUE" else Reference(entry[0], entry[1], entry[2])


def _legacy_argument(value: Any) -> Tree:
    if isinstance(value, list):
        if len(value) in (3, 4) and isinstance(value[0], str) and isinstance(value[1], int):
            return _legacy_reference(value[:3])
        return [_legacy_argument(item) for item in value]
    return decode(value)


def map_references(tree: Any) -> Tree:
    """`["x", 0, 0]`, or lists and dicts of such, as `input_layers` and `output_layers` hold them."""
    if isinstance(tree, list):
        if len(tree) == 3 and isinstance(tree[0], str) and isinstance(tree[1], int):
            return Reference(tree[0], tree[1], tree[2])
        return tuple(map_references(item) for item in tree)
    if isinstance(tree, Mapping):
        return {key: map_references(tree[key]) for key in sorted(tree)}  # the order in which Keras flattens them
    raise malformed(f"the inputs or outputs of a model are given as {tree!r:.80}")


def decode(tree: Any) -> Tree:
    """The JSON of Keras 3 for call arguments: tensors, slices, arrays, and plain values."""
    if isinstance(tree, list):
        return [decode(item) for item in tree]
    if not isinstance(tree, Mapping):
        return tree
    inner: Any = tree.get("config")
    match tree.get("class_name"):
        case "__keras_tensor__":
            history = inner.get("keras_history") if isinstance(inner, Mapping) else None
            if not (isinstance(history, list) and [type(part) for part in history] == [str, int, int]):
                raise malformed(f"a tensor has the history {history!r:.80}")
            layer, node, tensor = history
            return Reference(layer, node, tensor, _shape(inner.get("shape")), str(inner.get("dtype")))
        case "__slice__":
            return slice(*(decode(inner.get(key)) for key in ("start", "stop", "step")))
        case "__ellipsis__":
            return Ellipsis
        case "__tensor__" | "__numpy__":
            return np.asarray(inner.get("value"), _numpy(inner.get("dtype")))
        case "__lambda__":
            raise malformed("a call has a Python lambda as argument, which is never run here")
    return {key: decode(value) for key, value in tree.items()}


def _shape(shape: Any) -> tuple[int | None, ...] | None:
    if shape is None:
        return None
    if not isinstance(shape, list) or not all(size is None or type(size) is int for size in shape):
        raise malformed(f"a tensor of the shape {shape!r:.80}")
    return tuple(shape)


def _numpy(name: Any) -> np.dtype[Any]:
    """Floats of every type at full precision, as the file writes them."""
    try:
        dtype = np.dtype("float32" if name == "bfloat16" else name)
        return np.dtype("float64") if dtype.kind == "f" else dtype
    except TypeError as error:
        raise malformed(f"an array has the dtype {name!r:.80}") from error
