"""What is in a model file, and what a conversion would do with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

from converters.errors import Gap, Gaps
from converters.graph import Graph, Layer, Node, Value, values
from converters.registry import lookup
from migrate.emit.names import assign_names
from migrate.emit.project import counts_of
from migrate.lower import Lowered, lower
from migrate.lower.ties import with_ties
from migrate.pipeline import check_nothing_lost, count_layers
from migrate.readers import Source, read
from migrate.simplify import count_permutes, simplify


@dataclass(frozen=True)
class LayerLine:
    """One layer as `inspect` lists it."""

    path: str
    class_name: str
    route: str
    converter: str
    trainable: bool
    weights: int  # arrays


@dataclass(frozen=True)
class Inspection:
    """The contents of a model file; `gaps` holds what cannot be converted, empty if all can."""

    path: Path
    format: str
    keras_version: str
    inputs: list[Value]
    outputs: list[str]
    parameters: dict[str, int]
    layers: list[LayerLine]
    count: int
    permutes: int
    seconds: float
    gaps: list[Gap] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": not self.gaps,
            "route": "direct",
            "format": self.format,
            "keras_version": self.keras_version,
            "inputs": [{"name": v.name, "shape": list(v.shape or ()), "dtype": v.dtype} for v in self.inputs],
            "outputs": self.outputs,
            "layers": self.count,
            "layer_list": [vars(line) for line in self.layers],
            "gaps": [gap.to_json() for gap in self.gaps],
            "parameters": self.parameters,
            "permutes": self.permutes,
            "seconds": round(self.seconds, 3),
            "files": [],
        }


def inspect_file(
    path: Path, *, weights: Path | None = None, input_shape: tuple[int | None, ...] | None = None
) -> Inspection:
    """Reads a file and lowers it, and writes nothing. Raises UserError if it cannot be read."""
    start = time.perf_counter()
    with read(path, weights=weights, input_shape=input_shape) as source:
        lowered, gaps = _attempt(source)
        refused = {gap.layer for gap in gaps}
        graph = with_ties(simplify(lowered.graph), source.graph) if lowered else None
        return Inspection(
            path, source.format, source.keras_version, values(source.graph.inputs),
            [value.name.partition(":")[0] for value in values(source.graph.outputs)],
            _parameters(source, graph), list(_lines(source.graph, refused)), count_layers(source.graph),
            count_permutes(graph) if graph else 0, time.perf_counter() - start, gaps,
        )  # fmt: skip


def _attempt(source: Source) -> tuple[Lowered | None, list[Gap]]:
    try:
        lowered = lower(source.graph)
    except Gaps as error:
        return None, error.gaps
    check_nothing_lost(source, lowered.graph)
    return lowered, []


def _parameters(source: Source, graph: Graph | None) -> dict[str, int]:
    """As the conversion would count them; the total alone where there are gaps."""
    if graph is None:
        return {"total": sum(prod(source.arrays.leaf(path).shape) for path in source.weights)}
    return counts_of(graph, assign_names(graph, "Model"))


def _arrays(layer: Layer) -> int:
    """How many arrays of the file belong to a layer, those of what it wraps included."""
    inner = [node.layer for node in layer.graph.nodes if isinstance(node, Node)] if layer.graph is not None else []
    return layer.weights.count + sum(map(_arrays, (*layer.children.values(), *dict.fromkeys(inner))))


def _lines(graph: Graph, refused: set[str]) -> Iterator[LayerLine]:
    seen: set[Layer] = set()
    for node in graph.nodes:
        assert isinstance(node, Node)
        layer = node.layer
        if layer in seen:
            continue
        seen.add(layer)
        known = layer.path not in refused and (layer.graph is not None or lookup(node.op) is not None)
        route, converter = ("direct", node.op) if known else ("none", "")
        yield LayerLine(layer.path, layer.class_name, route, converter, layer.trainable, _arrays(layer))
        if layer.graph is not None:
            yield from _lines(layer.graph, refused)
