"""The optimizer state of a model file as the state of the PyTorch optimizer, for optimizer.safetensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import h5py

from converters.graph import Graph, Layer, Module, Node
from converters.training import Optimizer, Variable
from converters.training.state import slots, torch_state
from converters.weights import Array, Leaf
from migrate.emit.project import Project
from migrate.readers import Source
from migrate.readers.hdf5 import Arrays
from migrate.readers.legacy_weights import LegacyWeights, attribute_list

# The order in which Keras makes the parts of a layer; what is not listed stands in the order of the alphabet.
PARTS = ("vars", "forward_layer", "backward_layer", "query_dense", "key_dense", "value_dense", "output_dense")


def optimizer_state(
    source: Source, project: Project, pieces: Optimizer, variables: Sequence[Variable], version: tuple[int, ...]
) -> dict[str, Array]:
    """What `optim.resume` takes, empty where the file holds no state or training had not begun.

    Raises UserError where the state does not fit the model.
    """
    held = held_slots(source.arrays)
    config = source.training.get("optimizer_config") or source.training.get("optimizer")
    if config is None or len(held) < 2:
        return {}
    found = slots(config, keras_order(project), held, source.arrays.read, version)
    return torch_state(pieces, found, variables, source.arrays.read) if found.batches else {}


def held_slots(arrays: Arrays) -> list[Leaf]:
    """The optimizer's variables in the order of the file: numbered in the newer ones, listed by name in the older."""
    tree = arrays.find("optimizer/vars")
    if isinstance(tree, h5py.Group):
        return [arrays.leaf(f"optimizer/vars/{number}") for number in sorted(filter(str.isdigit, tree), key=int)]
    group = arrays.find("optimizer_weights")
    if isinstance(group, h5py.Group):
        return [arrays.leaf(f"optimizer_weights/{name}") for name in attribute_list(group, "weight_names")]
    return []


def keras_order(project: Project) -> list[tuple[str, Leaf]]:
    """`model.trainable_variables`: (name, array) of what learns, layer after layer in the order of the file."""
    layers = {layer.path: (rank, layer) for rank, layer in enumerate(_layers(project.source))}
    found: dict[str, tuple[tuple[Any, ...], str, Leaf]] = {}
    for _, module, name in project.names.state(project.graph):
        if name in module.learned:
            rank, layer = layers[module.origin]
            for leaf in module.state[name].leaves():
                found.setdefault(leaf.key, ((rank, _within(layer, leaf)), keras_path(module, name), leaf))
    return [(path, leaf) for _, path, leaf in sorted(found.values(), key=lambda entry: entry[0])]


def keras_path(module: Module, name: str) -> str:
    """The name of the Keras variable behind a parameter, as far as its module tells: `encoder/dense/kernel`."""
    own = {"weight": "kernel", "bias": "bias"}
    if "Norm" in module.constructor:
        own = {"weight": "gamma", "bias": "beta"}
    elif module.constructor == "nn.Embedding":
        own = {"weight": "embeddings"}
    return f"{module.origin}/{own.get(name, name)}"


def _layers(graph: Graph) -> Iterator[Layer]:
    """Every layer in the order of first use, those of nested models in place of them."""
    seen = set()
    for node in graph.nodes:
        assert isinstance(node, Node)
        if node.layer.path not in seen:
            seen.add(node.layer.path)
            yield from _layers(node.layer.graph) if node.layer.graph is not None else [node.layer]


def _within(layer: Layer, leaf: Leaf) -> tuple[Any, ...]:
    """Where an array stands among those of its layer."""
    if isinstance(layer.weights, LegacyWeights):
        order = [inner.key for array in layer.weights.arrays for inner in array.weight.leaves()]
        return (order.index(leaf.key),) if leaf.key in order else (len(order), leaf.key)
    return tuple(_part(part) for part in leaf.key.split("/"))


def _part(part: str) -> tuple[int, int, str]:
    if part.isdigit():
        return (0, int(part), "")
    return (PARTS.index(part) if part in PARTS else len(PARTS), 0, part)
