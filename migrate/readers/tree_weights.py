"""The weights of Keras' newer files (`model.weights.h5` in a `.keras`, or alone): a tree of groups by class and number.

A layer stands under its class name in snake case, counted in the order of creation (`layers/dense_1`), not under its
own name; its arrays under `vars`, by number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py

from converters.errors import UserError, number_of
from converters.graph import Layer
from converters.weights import Leaf, Weight
from migrate.readers.hdf5 import Arrays
from migrate.readers.matching import Entry

# Sub-groups that hold no weights of the model: random states, and what belongs to training.
NOT_WEIGHTS = {"seed_generator", "_random_generator", "random_generator", "optimizer", "metrics", "_metrics", "loss"}
OLD_FOLDER = "_layer_checkpoint_dependencies"  # Keras 2.12 and 2.13


@dataclass(frozen=True)
class TreeWeights:
    """The arrays of one layer (see `converters.weights.WeightSource`)."""

    arrays: Arrays
    path: str

    def child(self, name: str) -> TreeWeights:
        return TreeWeights(self.arrays, self._locate(name))

    @property
    def count(self) -> int:
        return len(weight_paths(self.arrays, self.path))

    def take(self, names: Sequence[str]) -> dict[str, Weight]:
        taken: dict[str, Weight] = {}
        folders = dict.fromkeys(name.rpartition("/")[0] for name in names) or {"": None}
        for folder in folders:
            asked = [name for name in names if name.rpartition("/")[0] == folder]
            held = self._held(folder)
            if len(held) != len(asked):
                raise UserError(
                    f"the file holds {number_of(len(held), 'array')} under {self._locate(folder)!r}, "
                    f"expected {len(asked)} ({', '.join(n.rpartition('/')[2] for n in asked) or 'none'})",
                    found=", ".join(str(list(leaf.shape)) for leaf in held) or "none",
                    remedy="the file's weights do not belong to its architecture, or it was saved before it was built",
                )
            taken.update(zip(asked, held, strict=True))
        return {name: taken[name] for name in names}

    def _held(self, folder: str) -> list[Leaf]:
        found = self.arrays.find(f"{self._locate(folder)}/vars")
        if not isinstance(found, h5py.Group):
            return []
        names = sorted(found, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0))
        return [self.arrays.leaf(f"{self._locate(folder)}/vars/{name}") for name in names]

    def _locate(self, folder: str) -> str:
        """The path of a sub-object. Keras 2 kept some of them in private attributes (`_query_dense`)."""
        path = self.path
        for part in folder.split("/") if folder else []:
            public, private = f"{path}/{part}".lstrip("/"), f"{path}/_{part}".lstrip("/")
            hidden = self.arrays.find(public) is None and self.arrays.find(private) is not None
            path = private if hidden else public
        return path


@dataclass(frozen=True)
class TreeStore:
    """A whole tree."""

    arrays: Arrays

    backend = "tensorflow"

    def root(self) -> TreeWeights:
        return TreeWeights(self.arrays, "")

    def paths(self) -> list[str]:
        """The paths of all arrays that are weights."""
        return weight_paths(self.arrays)

    def sources(self, layers: Sequence[Entry], weights: Any) -> list[TreeWeights]:
        """The arrays of each layer of one model."""
        assert isinstance(weights, TreeWeights)
        old = self.arrays.find(f"{weights.path}/{OLD_FOLDER}".lstrip("/"))
        folder = f"{weights.path}/{'layers' if old is None else OLD_FOLDER}".lstrip("/")
        held = self.arrays.find(folder)
        places = _old_places(layers) if old is not None else _places(layers, set(held) if held is not None else set())
        return [TreeWeights(self.arrays, f"{folder}/{place}") for place in places]

    def fitted(
        self, weights: Any, class_name: str, config: Mapping[str, Any], children: Mapping[str, Layer]
    ) -> TreeWeights:
        """No Keras that wrote such files laid out its arrays in another way."""
        assert isinstance(weights, TreeWeights)
        return weights


def _places(layers: Sequence[Entry], held: set[str]) -> list[str]:
    """`dense`, `dense_1`, `dense_2`: a layer that was written in another model before keeps its number in Keras 3."""
    skipped = {base for base in {layer.base for layer in layers} if _skips([e for e in layers if e.base == base], held)}
    counts: dict[str, int] = {}
    places = []
    for layer in layers:
        if not layer.base or (layer.repeated and layer.base in skipped):
            places.append("-")
            continue
        counts[layer.base] = counts.get(layer.base, -1) + 1
        places.append(_numbered(layer.base, counts[layer.base]))
    return places


def _skips(alike: Sequence[Entry], held: set[str]) -> bool:
    """Whether layers of one class that were written before were not counted, as Keras 2.15 did.

    Then the numbers have no hole, and as many are missing as there are candidates.
    """
    there = [number for number in range(len(alike)) if _numbered(alike[0].base, number) in held]
    missing = len(alike) - len(there)
    return missing > 0 and there == list(range(len(there))) and missing == sum(layer.repeated for layer in alike)


def _old_places(layers: Sequence[Entry]) -> list[str]:
    """Keras 2.12 and 2.13 listed a layer with weights twice, and counted it twice: `dense`, `dense_2`, `dense_4`."""
    counts: dict[str, int] = {}
    places = []
    for layer in layers:
        number = counts.get(layer.base, 0)
        counts[layer.base] = number + (2 if layer.has_weights else 1)
        places.append(_numbered(layer.base, number) if layer.base else "-")
    return places


def _numbered(base: str, number: int) -> str:
    return f"{base}_{number}" if number else base


def weight_paths(arrays: Arrays, path: str = "") -> list[str]:
    """The paths of the arrays below a path that are weights."""
    return [found for found in arrays.paths(path) if not NOT_WEIGHTS.intersection(found.split("/"))]
