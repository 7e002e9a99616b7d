"""Where each call of a Keras layer has its output in the emitted model, for whoever compares the two.

The emitted model and the lowered graph are run on meta tensors, every tensor named by what was computed (as in the
self-check): two tensors of the same name are the same. So nothing is assumed about how the text was written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import nn

from converters.arrangement import Arrangement, Flat, Vector
from converters.graph import Graph, Node, Value, values
from converters.weights import Weight, to_json
from migrate.emit.selfcheck import Recording, examples
from migrate.interpret import ModelInstance
from migrate.recurrence import WholeRecurrences
from migrate.verify.recorder import Event, Recorder

Label = Any


@dataclass(frozen=True)
class Seen:
    """A tensor that the emitted model makes: its position among all of them, and where it is made."""

    position: int
    event: Event
    index: int


def sites_of(
    model: nn.Module, source: Graph, graph: Graph, weights: Mapping[str, Weight]
) -> dict[str, dict[str, list[Any]]]:
    """{layer path: {call: for each of its outputs the site, as `migration.json` holds it}}.

    `model`: the emitted one, on meta and in eval mode; `weights`: the expression of every key of its state dict.
    A call is `0`, or `1/0` for call 0 of a layer in call 1 of the model around it. A site names the module, its
    how-manieth call and, for a function, its line and which of its name there it is. A tensor that the emitted model
    does not make (a padding that the convolution does) is `{"within": layer}`, or None.
    """
    interned: dict[Any, int] = {}
    instance = ModelInstance(graph)
    inputs = examples(graph, instance)
    made = _emitted(model, weights, inputs, interned)
    matching = _Matching(made, _environments(instance, inputs, interned))
    matching.add(source, instance)
    return matching.found


# -- the two runs --------------------------------------------------------------------------------------------


def _emitted(
    model: nn.Module, weights: Mapping[str, Weight], inputs: list[torch.Tensor], interned: dict[Any, int]
) -> dict[Label, list[Seen]]:
    """Everything that the emitted model makes, by name."""
    labelled = [(tensor, _label(name, weights.get(name), tensor)) for name, tensor in _state(model)]
    recording = Recording(interned, [*_numbered(inputs), *labelled])
    made: dict[Label, list[Seen]] = {}
    position = count()

    def seen(event: Event, index: int, tensor: torch.Tensor) -> torch.Tensor:
        made.setdefault(recording.name(tensor), []).append(Seen(next(position), event, index))
        return tensor

    with torch.no_grad(), recording, WholeRecurrences(), Recorder(model, seen).watching():
        model(*inputs)
    return made


def _environments(
    instance: ModelInstance, inputs: list[torch.Tensor], interned: dict[Any, int]
) -> dict[ModelInstance, Iterator[dict[Value, Label]]]:
    """Of the lowered graph and each model nested in it: the names of its values, run by run."""
    recording = Recording(interned, [*_numbered(inputs), *_instance_state(instance)])
    runs: dict[ModelInstance, list[dict[Value, Label]]] = {}

    def watch(part: ModelInstance, environment: Mapping[Value, Any]) -> None:
        tensors = {value: made for value, made in environment.items() if isinstance(made, torch.Tensor)}
        runs.setdefault(part, []).append({value: recording.name(tensor) for value, tensor in tensors.items()})

    with torch.no_grad(), recording:
        instance.watched(watch)(*inputs)
    return {part: iter(labels) for part, labels in runs.items()}


def _numbered(inputs: list[torch.Tensor]) -> list[tuple[torch.Tensor, str]]:
    return [(tensor, f"input {number}") for number, tensor in enumerate(inputs)]


def _state(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def _instance_state(instance: ModelInstance) -> Iterator[tuple[torch.Tensor, str]]:
    for module in instance.graph.modules:
        made = instance.instances[module.key]
        if isinstance(made, ModelInstance):
            yield from _instance_state(made)
        elif isinstance(made, torch.Tensor):
            yield made, _label("", module.state.get(""), made)
        else:
            yield from ((t, _label(name, module.state.get(name), t)) for name, t in _state(made))


def _label(name: str, weight: Weight | None, tensor: torch.Tensor) -> str:
    """Parameters are named by what fills them, the same in both runs however the attributes are called."""
    what = to_json(weight) if weight is not None else [name.rpartition(".")[2], list(tensor.shape)]
    return json.dumps(what)


# -- matching ------------------------------------------------------------------------------------------------


class _Matching:
    """The sites of a Keras graph, and of those nested in it, one run after the other."""

    def __init__(
        self, made: Mapping[Label, list[Seen]], runs: Mapping[ModelInstance, Iterator[dict[Value, Label]]]
    ) -> None:
        self.made, self.runs = made, runs
        self.found: dict[str, dict[str, list[Any]]] = {}

    def add(self, source: Graph, instance: ModelInstance, above: tuple[int, ...] = ()) -> None:
        """`above`: which calls of the models around it this run is."""
        run = _Run(self.made, next(self.runs[instance]), source, instance.graph)
        for node in run.nodes:
            call = (*above, call_number(node))
            inner = instance.instances.get(node.layer.path)
            if node.layer.graph is not None and isinstance(inner, ModelInstance) and run.is_alive(node):
                self.add(node.layer.graph, inner, call)
            sites = [run.site(node, value) for value in node.outputs]
            self.found.setdefault(node.layer.path, {})["/".join(map(str, call))] = sites


def call_number(node: Node) -> int:
    """Which call of its layer a node is, as the readers write it into the names of values (`layer:call:output`)."""
    numbers = [value.name.split(":")[-2] for value in node.outputs if value is not None and value.name.count(":") >= 2]
    return int(numbers[0]) if numbers and numbers[0].isdigit() else 0


class _Run:
    """One run of one graph: its Keras tensors, and what the emitted model made of them."""

    def __init__(
        self, made: Mapping[Label, list[Seen]], labels: Mapping[Value, Label], source: Graph, graph: Graph
    ) -> None:
        self.made, self.labels, self.graph = made, labels, graph
        self.nodes = [node for node in source.nodes if isinstance(node, Node)]
        self.seen: dict[Value, Seen] = {}

    def label(self, value: Value | None) -> Label:
        """The name of what a Keras tensor has become; None if it is no tensor of the torch model."""
        lowered = self.graph.tensors.get(value) if value is not None else None
        return self.labels.get(lowered) if lowered is not None else None

    def is_alive(self, node: Node) -> bool:
        return any(self.label(value) is not None for value in node.outputs)

    def site(self, node: Node, value: Value | None) -> Any:
        label = self.label(value)
        seen = self._seen(node, label) if label is not None else None
        if value is None or seen is None:
            users = [n.layer.path for n in self.nodes if value is not None and value in values((n.args, n.kwargs))]
            return {"within": users[0]} if users else None
        self.seen[value] = seen
        return _entry(seen, self.graph.tensors[value].arrangement)

    def _seen(self, node: Node, label: Label) -> Seen | None:
        """Where a tensor is made. What a layer hands on unchanged is seen again where that layer is run."""
        places = self.made.get(label, [])
        handed_on = [v for v in values((node.args, node.kwargs)) if v in self.seen and self.label(v) == label]
        if not handed_on:
            return places[0] if places else None
        before = max(self.seen[v].position for v in handed_on)
        return next((seen for seen in places if seen.position > before), places[-1])


def _entry(seen: Seen, arrangement: Arrangement) -> dict[str, Any]:
    """A site for `migration.json`; what is zero or empty is left out."""
    event = seen.event
    entry = {
        "module": event.module, "call": event.call, "line": event.line, "function": event.function,
        "ordinal": event.ordinal, "output": seen.index, "order": order_json(arrangement),
    }  # fmt: skip
    return {key: value for key, value in entry.items() if value or key == "module"}


def order_json(arrangement: Arrangement) -> Any:
    """The Keras axis that each axis of the tensor holds; for flattened features {"rank", "blocks": [[sizes, axes]]}.

    {"rank", "axes"} where Keras has more axes than the tensor, all of size 1.
    """
    if isinstance(arrangement, Vector):
        return {"rank": arrangement.rank, "axes": list(arrangement.axes)}
    if isinstance(arrangement, Flat):
        return {"rank": arrangement.rank, "blocks": [[list(b.sizes), list(b.axes)] for b in arrangement.blocks]}
    return [] if arrangement.is_as_written else list(arrangement.axes)
