"""The weights of a legacy HDF5 file: one group a layer, its arrays listed by name in the attribute `weight_names`.

A nested model's arrays lie flat in the group of the outer layer, the trainable ones first, so that their order
depends on what was frozen; `matching` tells them apart by their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py

from converters.errors import UserError, number_of
from converters.graph import Layer
from converters.weights import Weight
from migrate.readers.data import damaged
from migrate.readers.hdf5 import Arrays, text
from migrate.readers.keras1 import check_padding, from_cudnn, modern_arrays, unflipped
from migrate.readers.matching import Entry, Named, distributed, named, paired
from migrate.readers.version import parse_version

TOP_LEVEL = "top_level_model_weights"  # where Keras puts what belongs to no layer


@dataclass(frozen=True)
class LegacyWeights:
    """The arrays of one layer, in the order of the file (see `converters.weights.WeightSource`)."""

    where: str
    arrays: tuple[Named, ...] = ()

    @property
    def count(self) -> int:
        return len(self.arrays)

    def child(self, name: str) -> LegacyWeights:
        """What a wrapper wraps: everything, or the half that is one direction's."""
        half = len(self.arrays) // 2
        parts = {"forward_layer": self.arrays[:half], "backward_layer": self.arrays[half:]}
        return replace(self, arrays=parts.get(name, self.arrays))

    def take(self, names: Sequence[str]) -> dict[str, Weight]:
        """By their own names where these are the names asked for, else one after the other, as Keras does."""
        sides = dict.fromkeys(name.partition("/")[0] for name in names)
        if sides and sides.keys() <= {"forward_layer", "backward_layer"}:
            taken: dict[str, Weight] = {}
            for side in sides:
                inner = [name.removeprefix(f"{side}/") for name in names if name.startswith(f"{side}/")]
                taken |= {f"{side}/{name}": weight for name, weight in self.child(side).take(inner).items()}
            return {name: taken[name] for name in names}
        last = [name.rpartition("/")[2] for name in names]
        held = {array.parts[-1]: array.weight for array in self.arrays}
        if len(set(last)) == len(names) and len(held) == len(self.arrays) and held.keys() >= set(last):
            return {name: held[own] for name, own in zip(names, last, strict=True)}
        if len(names) != len(self.arrays):
            raise self._wrong_number(names)
        return {name: array.weight for name, array in zip(names, self.arrays, strict=True)}

    def _wrong_number(self, names: Sequence[str]) -> UserError:
        found = ", ".join(f"{'/'.join(array.parts)} {list(array.weight.shape)}" for array in self.arrays)
        return UserError(
            f"the file holds {number_of(len(self.arrays), 'array')} for {self.where}, "
            f"expected {len(names)} ({', '.join(names)})",
            found=found or "none",
            remedy="the file's weights do not belong to its architecture, or it was saved before it was built",
        )


@dataclass(frozen=True)
class LegacyStore:
    """All groups of a file, in its order. `backend`: who wrote them, as far as the file tells."""

    groups: Mapping[str, tuple[Named, ...]]
    version: tuple[int, ...]
    backend: str

    def root(self) -> LegacyWeights:
        return LegacyWeights("")

    def paths(self) -> list[str]:
        """The paths of all arrays."""
        return [leaf.key for held in self.groups.values() for array in held for leaf in array.weight.leaves()]

    def sources(self, layers: Sequence[Entry], weights: Any) -> list[LegacyWeights]:
        """The arrays of each layer of one model: of the file's groups, or out of the group of the outer layer."""
        named_layers = [f"layer {layer.name!r}" for layer in layers]
        if isinstance(weights, LegacyWeights) and weights.where:
            parts = distributed(layers, weights.arrays, weights.where)
            return [LegacyWeights(where, tuple(part)) for where, part in zip(named_layers, parts, strict=True)]
        pairs = paired(layers, self.groups)
        return [
            LegacyWeights(where, self.groups.get(pairs.get(layer.name, ""), ()))
            for where, layer in zip(named_layers, layers, strict=True)
        ]

    def fitted(
        self, weights: Any, class_name: str, config: Mapping[str, Any], children: Mapping[str, Layer]
    ) -> LegacyWeights:
        """The arrays of one layer in the form of Keras 3."""
        assert isinstance(weights, LegacyWeights)
        if self.backend == "theano":
            check_padding(class_name, config)
        old = [array.weight for array in weights.arrays]
        if not old or class_name == "TimeDistributed":
            return weights  # what it wraps is fitted by itself
        if self.version < (2,):
            new = modern_arrays(class_name, config, children, old, flipped=self.backend == "theano")
        else:
            new = self._plain(class_name, config, children, old)
        if new == old:
            return weights
        names = (
            [array.parts for array in weights.arrays] if len(new) == len(old) else [(f"{i}",) for i in range(len(new))]
        )
        return replace(weights, arrays=tuple(Named(parts, weight) for parts, weight in zip(names, new, strict=True)))

    def _plain(
        self, class_name: str, config: Mapping[str, Any], children: Mapping[str, Layer], arrays: list[Weight]
    ) -> list[Weight]:
        """What Theano or cuDNN laid out in another way."""
        if class_name == "Bidirectional" and (child := children.get("layer") or children.get("forward_layer")):
            half = len(arrays) // 2
            return [w for part in (arrays[:half], arrays[half:]) for w in from_cudnn(child.class_name, part)]
        return from_cudnn(class_name, unflipped(class_name, arrays) if self.backend == "theano" else arrays)


def open_store(path: Path, arrays: Arrays, version: tuple[int, ...]) -> LegacyStore:
    """The groups of a full model, or of a weight file. `version`: of the architecture, which may be another file."""
    top = "model_weights" if isinstance(arrays.find("model_weights"), h5py.Group) else ""
    group = arrays.find(top)
    assert isinstance(group, h5py.Group)
    names = list(attribute_list(group, "layer_names"))
    groups = {name: _arrays_of(path, arrays, f"{top}/{name}" if top else name) for name in names}
    if isinstance(arrays.find(f"{top}/{TOP_LEVEL}" if top else TOP_LEVEL), h5py.Group):
        groups[TOP_LEVEL] = _arrays_of(path, arrays, f"{top}/{TOP_LEVEL}" if top else TOP_LEVEL)
    groups = {name: held for name, held in groups.items() if held or name != TOP_LEVEL}
    stated = text(group.attrs.get("keras_version", arrays.h5.attrs.get("keras_version", "")))
    old = _in_words_of_keras1(groups)
    found = parse_version(stated) or ((1, 0) if old else max(version, (2, 0)))
    backend = text(group.attrs.get("backend", arrays.h5.attrs.get("backend", "")))
    return LegacyStore(groups, found, backend or ("theano" if old and not _numbered(groups) else "tensorflow"))


def _arrays_of(path: Path, arrays: Arrays, place: str) -> tuple[Named, ...]:
    group = arrays.find(place)
    if not isinstance(group, h5py.Group):
        raise damaged(path, f"it lists a layer {place!r}, of which it holds nothing")
    names = list(attribute_list(group, "weight_names"))
    if len(set(names)) < len(names):
        raise damaged(path, f"{place!r} lists two arrays of one name; Keras broke off while it wrote them")
    return tuple(named(name, arrays.leaf(f"{place}/{name}")) for name in names)


def attribute_list(group: h5py.Group, name: str) -> Iterator[str]:
    """A list of strings; a long one is kept in pieces, `weight_names0`, `weight_names1` ..."""
    keys = [name] if name in group.attrs else []
    while not keys or keys[0] != name:
        if f"{name}{len(keys)}" not in group.attrs:
            break
        keys.append(f"{name}{len(keys)}")
    for key in keys:
        yield from (text(item) for item in group.attrs[key])


def _in_words_of_keras1(groups: Mapping[str, Sequence[Named]]) -> bool:
    """Keras 1 joined layer and variable by an underscore (`dense_1_W`), later versions by a slash."""
    return any(array.stem != array.parts[:-1] for held in groups.values() for array in held)


def _numbered(groups: Mapping[str, Sequence[Named]]) -> bool:
    """Keras 1 does not name its backend; TensorFlow's variables end in `:0`, Theano's do not."""
    return any(array.numbered for held in groups.values() for array in held)
