"""One Keras layer in two models: the emitted classes share its module, as Keras shared its weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from converters.errors import Gap, Gaps
from converters.graph import Graph, Layer, Module, Node

Keys = tuple[str, ...]


def tied_layers(source: Graph) -> Iterator[Layer]:
    """The layers of a model, those of nested models included, that stand in another one too."""
    for node in source.nodes:
        assert isinstance(node, Node)
        if node.layer.twin:
            yield node.layer
        elif node.layer.graph is not None:
            yield from tied_layers(node.layer.graph)


def tied_paths(source: Graph) -> set[str]:
    """Both paths of each such layer."""
    return {path for layer in tied_layers(source) for path in (layer.path, layer.twin)}


def with_ties(graph: Graph, source: Graph) -> Graph:
    """The lowered graph with its ties. Raises Gaps where the two places need different modules."""
    pairs = {layer.path: layer for layer in tied_layers(source)}
    if not pairs:
        return graph
    places = {module.key: (keys, module) for keys, module in _modules(graph, set(pairs))}
    found: dict[Keys, list[tuple[Keys, Keys]]] = {}
    models: dict[str, tuple[Keys, Graph]] = {}
    for keys, module in places.values():
        path = _within(module.key, set(pairs))
        if not path:
            continue
        other = places.get(pairs[path].twin + module.key.removeprefix(path))
        if other is None or not _alike(module, other[1]):
            raise Gaps([_different(pairs[path])])
        if other[1].graph is not None:
            models[module.key] = other[0], other[1].graph
        common = next(i for i, (a, b) in enumerate(zip(keys, other[0], strict=False)) if a != b)
        found.setdefault(keys[:common], []).append((keys[common:], other[0][common:]))
    return _Tying(found, models).graph(graph)


def _modules(graph: Graph, copies: set[str], above: Keys = ()) -> Iterator[tuple[Keys, Module]]:
    """Every module with the keys that lead to it; what is within a copy of a nested model is not looked at."""
    for module in graph.modules:
        yield (*above, module.key), module
        if module.graph is not None and not _within(module.key, copies):
            yield from _modules(module.graph, copies, (*above, module.key))


def _within(key: str, paths: set[str]) -> str:
    """The path among some to whose layer a module belongs, or to what that layer wraps."""
    parts = key.partition(":")[0].split("/")
    above = ("/".join(parts[: i + 1]) for i in range(len(parts)))
    return next((path for path in above if path in paths), "")


def _alike(one: Module, other: Module) -> bool:
    if one.graph is not None or other.graph is not None:
        return (one.graph is None) == (other.graph is None)
    return (one.constructor, one.args, dict(one.kwargs), dict(one.state)) == (
        other.constructor, other.args, dict(other.kwargs), dict(other.state)
    )  # fmt: skip


class _Tying:
    """Writes ties into a graph and those within it; a graph that needs none, or stands in two places, stays one."""

    def __init__(self, found: dict[Keys, list[tuple[Keys, Keys]]], models: dict[str, tuple[Keys, Graph]]) -> None:
        self.found, self.models = found, models
        self.done: dict[Graph, Graph] = {}

    def graph(self, graph: Graph, above: Keys = ()) -> Graph:
        if graph not in self.done:
            modules = tuple(self._module(module, (*above, module.key)) for module in graph.modules)
            ties = tuple(self.found.get(above, ()))
            changed = ties or any(a is not b for a, b in zip(modules, graph.modules, strict=True))
            self.done[graph] = replace(graph, modules=modules, ties=ties) if changed else graph
        return self.done[graph]

    def _module(self, module: Module, keys: Keys) -> Module:
        keys, graph = self.models.get(module.key, (keys, module.graph))
        made = graph and self.graph(graph, keys)
        return module if made is module.graph else replace(module, graph=made)


def _different(layer: Layer) -> Gap:
    return Gap(
        layer.path,
        layer.class_name,
        f"it is the layer {layer.twin!r} as well, and the two places need different PyTorch modules",
        "give each place a layer of its own in Keras, or report the model",
    )
