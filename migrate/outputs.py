"""What `compile` calls the outputs of a model: the keys of the dict that it returns, else the layers that make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from converters.graph import Tree, Value, values

SETTINGS = ("loss", "loss_weights", "metrics", "weighted_metrics")


def output_keys(outputs: Tree) -> list[str]:
    """The keys of a dict of outputs, in its order; none where the model returns something else."""
    if isinstance(outputs, Mapping) and all(isinstance(value, Value) for value in outputs.values()):
        return list(outputs)
    return []


def output_names(outputs: Tree) -> list[str]:
    """What each output is called in training: its key, else the layer that makes it."""
    return output_keys(outputs) or layer_names(outputs)


def layer_names(outputs: Tree) -> list[str]:
    return [value.name.partition(":")[0] for value in values(outputs)]


def by_key(compiled: Mapping[str, Any], outputs: Tree) -> dict[str, Any]:
    """A compile configuration whose settings name the outputs by their keys, also where it has the layers' names.

    `outputs`: of the graph as it was read, whose values are called after the layers.
    """
    keys, names = output_keys(outputs), layer_names(outputs)
    if not keys:
        return dict(compiled)
    return {what: renamed(stated, keys, names) if what in SETTINGS else stated for what, stated in compiled.items()}


def renamed(stated: Any, keys: Sequence[str], names: Sequence[str]) -> Any:
    if not isinstance(stated, Mapping) or "class_name" in stated or set(stated) <= set(keys):
        return stated
    key_of = dict(zip(names, keys, strict=True))
    return {name if name in keys else key_of.get(name, name): value for name, value in stated.items()}
