"""What a project's weights are, by the module that holds them, and their regularizers and constraints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from converters.errors import Unsupported
from converters.graph import Graph, Layer, Module
from converters.training import Piece, Variable
from converters.training.weights import activity_of, activity_regularizer, constraint, regularizer
from migrate.emit.names import Names
from migrate.emit.project import Project

NAMES = {"Norm": ("gamma", "beta"), "Embedding": ("embeddings", ""), "PReLU": ("alpha", "")}  # of module or layer

RUNNING = {"running_mean": "moving_mean", "running_var": "moving_variance"}


@dataclass(frozen=True)
class Place:
    """A weight as one of many: the class of what holds it, the path of that, and the weight's name there."""

    kind: str
    path: str
    name: str


@dataclass(frozen=True)
class Held:
    """A weight or a statistic: in the module that holds it, and in the class of model.py that makes this module."""

    key: str
    module: Module
    state: str
    in_module: Place
    in_class: Place

    @property
    def begins(self) -> bool:
        """Whether a new training begins with another value: what is frozen keeps that of the file."""
        statistic = "BatchNorm" in self.module.constructor and self.state in RUNNING
        return self.module.trainable and (self.state in self.module.learned or statistic)


def holders(graph: Graph, names: Names, prefix: str = "", home: tuple[str, str] = ("", "")) -> Iterator[Held]:
    """Everything that the state dict holds, in its order. `home`: the class around, and the path of its instance."""
    if not graph.sequential:
        template = graph.block.template.graph if graph.block is not None else graph
        home = (names.classes[template], prefix.removesuffix("."))
    for module in graph.modules:
        path = f"{prefix}{names.attributes[graph][module.key]}"
        if module.graph is not None:
            yield from holders(module.graph, names, f"{path}.", home)
        for state in module.state:
            key = f"{path}.{state}" if state else path
            in_class = Place(*home, key.removeprefix(f"{home[1]}.") if home[1] else key)
            own = Place(module.constructor.removeprefix("local."), path, state) if state else in_class
            yield Held(key, module, state, own, in_class)


@dataclass(frozen=True)
class Rules:
    """What layers say about their weights: terms of the loss, what watches outputs, what follows an update."""

    penalties: tuple[Piece, ...] = ()
    activities: tuple[Piece, ...] = ()
    constraints: tuple[Piece, ...] = ()

    @property
    def pieces(self) -> tuple[Piece, ...]:
        return (*self.penalties, *self.activities, *self.constraints)


def rules_of(project: Project, calls: Mapping[str, Any], version: tuple[int, ...]) -> Rules:
    """`calls`: of migration.json, by layer. Raises Unsupported for a rule that finds no parameter or module."""
    layers = project.source.layers()
    penalties: list[Piece] = []
    constraints: list[Piece] = []
    used: set[tuple[str, str]] = set()
    for key, module, name in project.names.state(project.graph):
        layer = owner(layers.get(module.origin), name)
        if layer is None or name not in module.learned:
            continue
        variable, role = Variable(key, module.state[name]), role_of(module, layer, name)
        for what, found, made in (("regularizer", penalties, regularizer), ("constraint", constraints, constraint)):
            config = layer.config.get(f"{role}_{what}")
            used.add((layer.path, f"{role}_{what}"))
            found += [made(config, variable)] if config is not None else []
    for layer in layers.values():
        _check_used(layer, used)
    watched = [_activity(layer, calls, version) for layer in layers.values() if watches(layer)]
    return Rules(tuple(penalties), tuple(watched), tuple(constraints))


def owner(layer: Layer | None, name: str) -> Layer | None:
    """The layer whose config speaks of a parameter: that which a wrapper wraps."""
    while layer is not None and layer.children:
        backward = "_reverse" in name or name.startswith("backward_layer.")
        wanted = "backward_layer" if backward else "forward_layer"
        layer = layer.children.get(wanted) or next(iter(layer.children.values()))
    return layer


def role_of(module: Module, layer: Layer, name: str) -> str:
    """What Keras calls a parameter: `kernel`, `recurrent`, `bias`, `gamma`, `embeddings` ..."""
    holder = f"{module.constructor} {layer.class_name}"
    kernel, bias = next((names for part, names in NAMES.items() if part in holder), ("kernel", "bias"))
    if "bias" in name:
        return bias
    if "weight_hh" in name or name.startswith("hidden."):
        return "recurrent"
    if layer.class_name.startswith("Depthwise"):
        return "depthwise"
    if layer.class_name.startswith("Separable"):
        return "depthwise" if module.kwargs.get("groups", 1) > 1 else "pointwise"
    return kernel


def _check_used(layer: Layer, used: set[tuple[str, str]]) -> None:
    """A rule about a weight that was not met must not be lost without a word."""
    cells = [cell["config"] for cell in layer.config.get("cells", ()) if isinstance(cell, Mapping)]
    for key, config in chain(layer.config.items(), *(cell.items() for cell in cells)):
        rule = key.endswith(("_regularizer", "_constraint")) and key != "activity_regularizer"
        learns = layer.trainable and not layer.children and (layer.config.get("use_bias", True) or "bias" not in key)
        if rule and config is not None and learns and (layer.path, key) not in used:
            raise Unsupported(f"{key} of the layer {layer.path!r}", "take it out of the layer, or write it in train.py")


def watches(layer: Layer) -> bool:
    return activity_of(layer) is not None


def _activity(layer: Layer, calls: Mapping[str, Any], version: tuple[int, ...]) -> Piece:
    """A hook on the module that makes the output of the layer."""
    places = [place for made in calls.get(layer.path, {}).get("calls", {}).values() for place in made]
    modules = [place["module"] for place in places]
    config = activity_of(layer)
    if len(modules) != 1 or not modules[0] or config is None:
        raise Unsupported(
            f"the activity regularizer of the layer {layer.path!r}, whose output is made by no module of its own",
            "in Keras, give it to a layer without activation that is called once, followed by an Activation layer",
        )
    return activity_regularizer(config, modules[0], version=version)
