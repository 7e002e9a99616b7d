"""The config of a Keras model -> the graph of its layers, each with its weights found."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from converters.errors import Unsupported, UserError
from converters.graph import Graph, Layer, Node, Value
from converters.layer import NoWeights
from converters.weights import WeightSource
from migrate.readers.calls import arguments
from migrate.readers.data import malformed
from migrate.readers.functional import Assembly, PlannedCall
from migrate.readers.infer import inferred_input, stated_input, stated_of_layer
from migrate.readers.matching import OWNERS, Entry
from migrate.readers.vocabulary import is_model, modern, operation, snake_case
from migrate.readers.vocabulary1 import prepared

WRAPPED = ("layer", "forward_layer", "backward_layer", "cell")
NO_WEIGHTS = NoWeights()


class Store(Protocol):
    """How a file keys the weights of its layers."""

    def root(self) -> WeightSource: ...

    def sources(self, layers: Sequence[Entry], weights: Any) -> Sequence[WeightSource]:
        """The arrays of each layer of one model, out of those of the model."""
        ...

    def fitted(
        self, weights: Any, class_name: str, config: Mapping[str, Any], children: Mapping[str, Layer]
    ) -> WeightSource:
        """The arrays of one layer in the form of Keras 3."""
        ...


@dataclass(frozen=True)
class Reading:
    """What holds for a whole file: its Keras version, where its weights are, and what the user says about its input.

    `ordering`: the order of axes in a Keras 1 file, `th` or `tf`, where a layer states none.
    """

    version: tuple[int, ...]
    store: Store
    ordering: str = "tf"
    input_shape: tuple[int | None, ...] | None = None
    known: dict[str, tuple[Layer, WeightSource]] = field(default_factory=dict)  # identity -> the first that is so
    copies: dict[str, str] = field(default_factory=dict)  # array that is written once more -> the one that it repeats
    repeated: set[int] = field(default_factory=set)  # ids of the configs of layers that are like one further up

    def model(
        self, config: Mapping[str, Any], name: str, path: str, weights: WeightSource, trainable: bool = True
    ) -> Graph:
        """The graph of a Functional or Sequential model from its `{"class_name", "config"}` object."""
        if self.version < (2,):
            config = prepared(config)
        if not path:
            self.repeated.update(_repeated(config, set()))
        inner = config.get("config")
        if config.get("class_name") == "Sequential":
            return self._sequential(config, inner, name, path, weights, trainable)
        if not isinstance(inner, Mapping) or not isinstance(inner.get("layers"), list):
            raise malformed(f"the config of model {name!r} has no list of layers")
        return self._functional(inner, name, path, weights, trainable)

    # -- layers ----------------------------------------------------------------------------------------

    def layers(
        self, configs: Sequence[Any], path: str, weights: WeightSource, trainable: bool, *, skip_input: bool
    ) -> list[Layer]:
        """The layers of one model, each with its weights located."""
        entries = [self.entry(config, number, skip_input) for number, config in enumerate(configs)]
        sources = self.store.sources(entries, weights)
        made = []
        for config, entry, source in zip(configs, entries, sources, strict=True):
            own_path = f"{path}/{entry.name}" if path else entry.name
            first = self.known.get(identity(config)) if entry.has_weights else None
            if first is not None and (source.count == 0 or config.get("shared_object_id") is not None):
                made.append(self.twin(*first, own_path, source))
                continue
            made.append(self.layer(config, entry.name, own_path, source, trainable))
            if entry.has_weights:
                self.known.setdefault(identity(config), (made[-1], source))
        return made

    def twin(self, first: Layer, original: WeightSource, path: str, weights: WeightSource) -> Layer:
        """A layer that stands in another model too. Its weights are there; HDF5 files of old hold them once more."""
        if copies := array_paths(weights):
            originals = array_paths(original) if original.count == weights.count else [""] * len(copies)
            self.copies.update(zip(copies, originals, strict=True))
        return replace(moved(first, first.path, path), twin=first.twin or first.path)

    def entry(self, config: Any, position: int, skip_input: bool) -> Entry:
        """A layer, as far as its arrays are concerned."""
        if not isinstance(config, Mapping) or not isinstance(config.get("class_name"), str):
            raise malformed(f"layer {position} has no class_name")
        name, class_name = layer_name(config, position), config["class_name"]
        placed = not operation(config, class_name).startswith("ops.") and not (
            skip_input and class_name == "InputLayer"
        )
        inner = config.get("config")
        trainable = not isinstance(inner, Mapping) or bool(inner.get("trainable", True))
        base = snake_case(class_name) if placed else ""
        names = frozenset(names_of(config, position))
        return Entry(name, base, names, self.has_weights(config), trainable, id(config) in self.repeated)

    def has_weights(self, config: Mapping[str, Any]) -> bool:
        """Whether a layer, or one within it, owns arrays."""
        inner = config.get("config")
        if is_model(config):
            return any(self.has_weights(layer) for layer in layers_of(inner))
        if not isinstance(inner, Mapping):
            return False
        if any(isinstance(inner.get(key), Mapping) and self.has_weights(inner[key]) for key in WRAPPED):
            return True
        try:
            class_name, settings = modern(str(config.get("class_name")), inner, self.version, self.ordering)
        except Unsupported:
            return True
        if class_name in ("Attention", "AdditiveAttention"):
            return bool(settings.get("use_scale", class_name == "AdditiveAttention"))
        return class_name in OWNERS and not (class_name == "Normalization" and settings.get("mean") is not None)

    def layer(
        self, config: Mapping[str, Any], name: str, path: str, weights: WeightSource, trainable: bool = True
    ) -> Layer:
        inner = config.get("config")
        if is_model(config):
            if config["class_name"] != "Sequential" and isinstance(inner, Mapping):
                # Keras restores a Sequential's own flag from those of its layers only.
                trainable = trainable and bool(inner.get("trainable", True))
            graph = self.model(config, name, path, weights, trainable)
            return Layer(name, path, config["class_name"], {}, self.version, weights, trainable, {}, graph)
        if not isinstance(inner, Mapping):
            raise malformed(f"layer {name!r} has no config")
        try:
            return self._plain_layer(config["class_name"], inner, name, path, weights, trainable)
        except Unsupported as error:
            refusal = (error.reason, error.way_out)
            return Layer(name, path, config["class_name"], {}, self.version, NO_WEIGHTS, trainable, refusal=refusal)

    def _plain_layer(
        self, class_name: str, inner: Mapping[str, Any], name: str, path: str, weights: WeightSource, outer: bool
    ) -> Layer:
        class_name, settings = modern(class_name, inner, self.version, self.ordering)
        own = outer and bool(settings.get("trainable", True))
        # When Keras 3 reads a wrapper, its flag does not reach what it wraps, which has a flag of its own.
        inherited = outer if self.version >= (3,) else own
        children = {}
        for key in WRAPPED:
            child = settings.get(key)
            if isinstance(child, Mapping) and isinstance(child.get("class_name"), str):
                del settings[key]
                child_name = layer_name(child, 0)
                made = self.layer(child, child_name, f"{path}/{child_name}", weights.child(key), inherited)
                # A class of somebody's own must not pass for a built-in one of the same name.
                custom = operation(child, made.class_name).startswith("custom.")
                children[key] = replace(made, class_name=f"custom.{made.class_name}") if custom else made
        refusal = next((child.refusal for child in children.values() if child.refusal), None)
        fitted = NO_WEIGHTS if refusal else self.store.fitted(weights, class_name, settings, children)
        return Layer(name, path, class_name, settings, self.version, fitted, own, children, refusal=refusal)

    # -- graphs ----------------------------------------------------------------------------------------

    def _sequential(
        self, config: Mapping[str, Any], inner: Any, name: str, path: str, weights: WeightSource, trainable: bool
    ) -> Graph:
        configs = layers_of(inner)
        if not configs:
            raise malformed(f"the Sequential model {name!r} has no list of layers")
        layers = self.layers(configs, path, weights, trainable, skip_input=True)
        shape, dtype = stated_input(config, configs)
        called = [(c, layer) for c, layer in zip(configs, layers, strict=True) if c["class_name"] != "InputLayer"]
        if not path and self.input_shape is not None:
            shape = self._said(shape)
        if shape is None:
            shape, dtype = inferred_input(name, [layer for _, layer in called])
        first = layers[0] if configs[0]["class_name"] == "InputLayer" else None
        value = start = Value(first.name if first else f"{name}_input", shape, dtype)
        nodes = []
        for layer_config, layer in called:
            made = Value(f"{layer.name}:0:0", stated_output(layer_config))
            nodes.append(Node(operation(layer_config, layer.class_name), layer, (value,), {}, (made,)))
            value = made
        return Graph(name, start, value, tuple(nodes)).check()

    def _said(self, stated: tuple[int | None, ...] | None) -> tuple[int | None, ...]:
        """The shape that the user gives, which must not contradict the file."""
        said = (None, *(self.input_shape or ()))
        if stated is not None and (
            len(said) != len(stated) or any(None not in (a, b) and a != b for a, b in zip(said, stated, strict=True))
        ):
            raise UserError(
                "--input-shape contradicts the file",
                expected=f"a shape that fits {list(stated[1:])}",
                found=str(list(said[1:])),
                remedy="leave the option out",
            )
        return said

    def _functional(
        self, inner: Mapping[str, Any], name: str, path: str, weights: WeightSource, trainable: bool
    ) -> Graph:
        configs: list[Mapping[str, Any]] = inner["layers"]
        made = self.layers(configs, path, weights, trainable, skip_input=False)
        layers = {layer.name: layer for layer in made}
        if len(layers) < len(made):
            raise malformed(f"model {name!r} has two layers of one name")
        calls: dict[tuple[str, int], PlannedCall] = {}
        inputs: dict[str, Value] = {}
        for config, layer in zip(configs, made, strict=True):
            if config["class_name"] == "InputLayer":
                shape, dtype = stated_of_layer("InputLayer", config.get("config") or {})
                inputs[layer.name] = Value(layer.name, shape, dtype)
            for index, node in enumerate(config.get("inbound_nodes") or []):
                op = operation(config, layer.class_name)
                calls[layer.name, index] = PlannedCall(op, layer, *arguments(node), stated_output(config))
        if not path and self.input_shape is not None and len(inputs) == 1:
            key, value = next(iter(inputs.items()))
            inputs[key] = Value(value.name, self._said(value.shape), value.dtype)
        return Assembly(name, layers, calls, inputs, unwraps=self.version < (3, 11)).graph(inner)


def array_paths(weights: WeightSource) -> list[str]:
    """The paths of all arrays of a layer, in the order of the file."""
    names = [str(number) for number in range(weights.count)]
    return [leaf.key for weight in weights.take(names).values() for leaf in weight.leaves()]


def moved(layer: Layer, old: str, new: str) -> Layer:
    """The same layer under another path, what it wraps included."""
    children = {key: moved(child, old, new) for key, child in layer.children.items()}
    return replace(layer, path=new + layer.path.removeprefix(old), children=children)


def identity(config: Mapping[str, Any]) -> str:
    """What a layer is, apart from its calls and from notes that Keras makes as it writes."""
    return json.dumps(_without_notes({key: config.get(key) for key in ("class_name", "config")}), sort_keys=True)


def _repeated(model: Mapping[str, Any], seen: set[str]) -> Iterator[int]:
    """The ids of configs that say the same as one before, in the order in which Keras saves layers."""
    for layer in layers_of(model.get("config")):
        if not isinstance(layer, Mapping):
            continue
        if (key := identity(layer)) in seen:
            yield id(layer)
            continue
        seen.add(key)
        if is_model(layer):
            yield from _repeated(layer, seen)


def _without_notes(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {k: _without_notes(v) for k, v in tree.items() if k not in ("shared_object_id", "dtype", "build_config")}
    return [_without_notes(item) for item in tree] if isinstance(tree, list) else tree


def layers_of(inner: Any) -> list[Any]:
    """The configs of a model's layers. A Sequential of Keras 1 and early 2 is a bare list of them."""
    found = inner.get("layers") if isinstance(inner, Mapping) else inner
    return found if isinstance(found, list) else []


def layer_name(config: Mapping[str, Any], position: int) -> str:
    inner = config.get("config")
    name = config.get("name") or (inner.get("name") if isinstance(inner, Mapping) else None)
    if name is not None and not isinstance(name, str):
        raise malformed(f"a layer has the name {name!r:.80}, expected a string")
    return name or f"{snake_case(str(config.get('class_name')))}_{position}"


def names_of(config: Any, position: int = 0) -> list[str]:
    """Every name under which the variables of a layer may stand in a file."""
    if not isinstance(config, Mapping):
        return []
    inner: Any = config.get("config")
    names = [layer_name(config, position)]
    if is_model(config):
        return names + [name for number, layer in enumerate(layers_of(inner)) for name in names_of(layer, number)]
    for key in WRAPPED if isinstance(inner, Mapping) else ():
        wrapped = names_of(inner.get(key))
        names += [prefix + name for name in wrapped for prefix in ("", "forward_", "backward_")]
    return names


def stated_output(config: Mapping[str, Any]) -> tuple[int | None, ...] | None:
    """The shape that a Deconvolution2D of Keras 1 states for its output."""
    inner = config.get("config")
    shape = inner.get("output_shape") if isinstance(inner, Mapping) else None
    return (None, *shape[1:]) if config.get("class_name") == "Deconvolution2D" and isinstance(shape, list) else None
