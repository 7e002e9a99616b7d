"""All that there is to say about one conversion, and migration.json, which says it to programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any
from zlib import crc32

from converters.arrangement import Flat
from converters.graph import Call, Graph, Layer, Module, Node, Value, values
from converters.weights import Leaf, Weight, to_json
from migrate.emit.arguments import argument_names
from migrate.emit.names import Names
from migrate.emit.source import Place


@dataclass(frozen=True)
class Origin:
    """Where a model came from."""

    file: str
    sha256: str
    format: str
    keras_version: str


@dataclass(frozen=True)
class Project:
    """All that there is to say about one conversion."""

    origin: Origin
    toolkit: str
    source: Graph
    graph: Graph
    names: Names
    places: Mapping[Call, Place]
    drift: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def class_name(self) -> str:
        return self.names.classes[self.graph]

    def weights(self) -> dict[str, Weight]:
        """The weight expression behind every key of the state dict, in its order."""
        return {key: module.state[name] for key, module, name in self.names.state(self.graph)}

    def counts(self) -> dict[str, int]:
        return counts_of(self.graph, self.names)


def counts_of(graph: Graph, names: Names) -> dict[str, int]:
    """Parameters as Keras counts them: the numbers in the file, and those of them that learn."""
    total: set[Leaf] = set()
    trainable: set[Leaf] = set()
    for _, module, name in names.state(graph):
        leaves = set(module.state[name].leaves())
        total |= leaves
        if name in module.learned:
            trainable |= leaves
    return {"total": sum(prod(leaf.shape) for leaf in total), "trainable": sum(prod(leaf.shape) for leaf in trainable)}


def migration_json(project: Project, text: str, sites: Mapping[str, dict[str, Any]]) -> str:
    """`migration.json`: the map between the Keras file and the PyTorch model, for programs.

    `text`: of model.py; `sites`: see `migrate.emit.sites`; they become the `calls` of the layers.
    """
    arguments = argument_names(project.graph)
    document = {
        "tf2torch": project.toolkit,
        "origin": vars(project.origin),
        "class_name": project.class_name,
        "inputs": [_interface(name, v) for name, v in zip(arguments, values(project.graph.inputs), strict=True)],
        "outputs": [_interface(v.name, v) for v in named_outputs(project)],
        "parameters": project.counts(),
        "layers": {path: {**entry, "calls": sites.get(path, {})} for path, entry in layer_entries(project)},
        "lines": checksums(text),  # of model.py, to find them again after an edit
        "weights": {key: to_json(weight) for key, weight in project.weights().items()},
        "drift": [{"what": what, "layers": layers} for what, layers in project.drift.items()],
    }
    return by_line(document) + "\n"


def checksums(text: str) -> list[int]:
    """A number for each line of a text, its indentation left aside."""
    return [crc32(line.strip().encode()) for line in text.splitlines()]


def by_line(document: Mapping[str, Any]) -> str:
    """JSON with one entry of the document, or of a table in it, a line."""
    parts = []
    for key, value in document.items():
        inner = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items()] if isinstance(value, dict) else []
        text = "{\n" + ",\n".join(inner) + "\n }" if inner else json.dumps(value)
        parts.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}"


def named_outputs(project: Project) -> list[Value]:
    """The outputs, called after the Keras layers that make them."""
    names = [value.name.partition(":")[0] for value in values(project.source.outputs)]
    return [replace(v, name=name) for name, v in zip(names, values(project.graph.outputs), strict=True)]


def _interface(name: str, value: Value) -> dict[str, Any]:
    return {
        "name": name,
        "keras_name": value.name,
        "keras_shape": list(value.keras_shape),
        "shape": list(value.sizes),
        "permute": list(value.arrangement.axes) if not isinstance(value.arrangement, Flat) else None,
        "dtype": value.dtype,
    }


def layer_entries(project: Project) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every Keras layer with its place in the PyTorch project."""
    modules: dict[str, list[str]] = {}
    for prefix, module in _modules(project.graph, project.names):
        modules.setdefault(module.origin, []).append(prefix)
    lines: dict[str, list[Place]] = {}
    for call, place in project.places.items():
        if place not in lines.setdefault(call.origin, []):
            lines[call.origin].append(place)
    for layer, op, wrapper in source_layers(project.source):
        # What a Bidirectional wraps has no module of its own: it is where the wrapper is.
        home = wrapper if wrapper and layer.path not in modules and layer.path not in lines else layer.path
        yield (
            layer.path,
            {
                "class": layer.class_name,
                "converter": op,
                "route": "direct",
                "modules": modules.get(home, []),
                "lines": [[place.class_name, place.line] for place in lines.get(home, [])],
                "trainable": layer.trainable,
            },
        )


def _modules(graph: Graph, names: Names, prefix: str = "") -> Iterator[tuple[str, Module]]:
    for module in graph.modules:
        path = f"{prefix}{names.attributes[graph][module.key]}"
        yield path, module
        if module.graph is not None:
            yield from _modules(module.graph, names, f"{path}.")


def source_layers(graph: Graph) -> Iterator[tuple[Layer, str, str]]:
    """(layer, op, path of the layer that wraps it) of all layers, those within others included."""
    seen = set()
    for node in graph.nodes:
        assert isinstance(node, Node)
        if node.layer.path not in seen:
            seen.add(node.layer.path)
            yield from _with_inner(node.layer, node.op, "")


def _with_inner(layer: Layer, op: str, wrapper: str) -> Iterator[tuple[Layer, str, str]]:
    yield layer, op, wrapper
    if layer.graph is not None:
        yield from source_layers(layer.graph)
    for child in layer.children.values():
        yield from _with_inner(child, "model" if child.graph else f"layers.{child.class_name}", layer.path)
