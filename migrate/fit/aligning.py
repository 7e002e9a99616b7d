"""Two files of one script: Keras numbers automatic names anew in every session; layers are matched by their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from converters.errors import UserError
from converters.graph import Graph, Layer, Node, Value, map_tree
from migrate.emit.project import source_layers

CONVERT = "it is another model; convert it into a folder of its own: tf2torch convert"


def align(graph: Graph, layers: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """{path of a layer of the graph: its path in a project}. `layers`: of migration.json, in their order.

    The models must have the same layers in the same order and nesting. Raises UserError that names the first that
    differs.
    """
    found = {layer.path: layer.class_name for layer, _, _ in source_layers(graph)}
    paths: dict[str, str] = {}
    for (path, class_name), (known, entry) in zip(found.items(), layers.items(), strict=False):
        parent, known_parent = _above(path, found), _above(known, layers)
        if class_name != entry["class"] or (paths[parent] if parent else "") != known_parent:
            raise _different(f"{entry['class']} {known!r}", f"{class_name} {path!r}")
        paths[path] = known
    if len(found) != len(layers):
        here, there = list(found)[len(paths) :], list(layers)[len(paths) :]
        expected = f"{layers[there[0]]['class']} {there[0]!r}" if there else "no layer more"
        raise _different(expected, f"{found[here[0]]} {here[0]!r}" if here else "no layer more")
    return paths


def _above(path: str, paths: Mapping[str, Any]) -> str:
    """The path of the model or wrapper that a layer is in, or ''. Names of layers may hold slashes."""
    while "/" in path:
        path = path.rpartition("/")[0]
        if path in paths:
            return path
    return ""


def _different(expected: str, found: str) -> UserError:
    return UserError(
        "the file's layers are not those of the project; nothing was changed",
        expected=expected,
        found=found,
        remedy=CONVERT,
    )


class Renaming:
    """A graph under other paths of its layers. What was one object stays one."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self.paths = paths
        self.layers: dict[Layer, Layer] = {}
        self.graphs: dict[Graph, Graph] = {}

    def graph(self, graph: Graph, name: str) -> Graph:
        if graph not in self.graphs:
            names = {node.layer.name: self.layer(node.layer).name for node in graph.nodes if isinstance(node, Node)}
            nodes = tuple(self._node(node, names) for node in graph.nodes if isinstance(node, Node))
            outputs = map_tree(lambda leaf: _value(leaf, names), graph.outputs)
            self.graphs[graph] = replace(graph, name=name, nodes=nodes, outputs=outputs)
        return self.graphs[graph]

    def layer(self, layer: Layer) -> Layer:
        if layer not in self.layers:
            path, above = self.paths[layer.path], _above(layer.path, self.paths)
            name = path.removeprefix(f"{self.paths[above]}/") if above else path
            children = {key: self.layer(child) for key, child in layer.children.items()}
            graph = self.graph(layer.graph, name) if layer.graph is not None else None
            twin = self.paths.get(layer.twin, layer.twin)
            self.layers[layer] = replace(layer, name=name, path=path, children=children, graph=graph, twin=twin)
        return self.layers[layer]

    def _node(self, node: Node, names: Mapping[str, str]) -> Node:
        args, kwargs, outputs = map_tree(lambda leaf: _value(leaf, names), (node.args, node.kwargs, node.outputs))
        return replace(node, layer=self.layer(node.layer), args=args, kwargs=kwargs, outputs=outputs)


def _value(leaf: Any, names: Mapping[str, str]) -> Any:
    """`dense_7:0:0` as `dense:0:0`; the graph's inputs keep their names."""
    if not isinstance(leaf, Value) or leaf.name.count(":") < 2:
        return leaf
    layer, call, tensor = leaf.name.rsplit(":", 2)
    return replace(leaf, name=f"{names.get(layer, layer)}:{call}:{tensor}")
