"""What of a model file goes where in a project, once it is proved that they are the same model.

The file is translated as `convert` does it, under the project's names; the text of its model.py must be the one that
was emitted for the project, of which migration.json keeps a checksum a line. So strides, activations and the wiring
are compared as well as shapes, and what is read is right for whatever version of Keras wrote the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converters.weights import Weight, from_json
from migrate.emit.project import checksums
from migrate.fit.aligning import Renaming, align
from migrate.fit.alone import holds_weights_alone, matched_paths, open_alone
from migrate.fit.differences import check_array, check_interface, check_text, check_weights, layer_of
from migrate.fit.modules import check_modules
from migrate.loading import read_migration
from migrate.pipeline import Translation, translate
from migrate.readers import Shape, Source, read
from migrate.readers.hdf5 import Arrays

__all__ = ["Match", "layer_of", "open_match"]


@dataclass(frozen=True)
class Match:
    """A file that fits a project.

    `weights`: for each key of the state dict its expression over the arrays of this file. `copies`: see `Source`.
    `migration`: what migration.json says of a project with these weights. `renamed`: {name here: name in the project}.
    """

    path: Path
    arrays: Arrays
    weights: dict[str, Weight]
    copies: Mapping[str, str]
    migration: dict[str, Any]
    renamed: Mapping[str, str]


@contextmanager
def open_match(
    path: Path, folder: Path, *, weights: Path | None = None, input_shape: Shape | None = None
) -> Iterator[Match]:
    """Opens a model file, or weights alone, that must fit a project. Raises UserError that names what does not."""
    migration = read_migration(folder)
    if weights is None and holds_weights_alone(path):
        with open_alone(path) as arrays:
            yield _of_weights(path, arrays, migration)
        return
    with read(path, weights=weights, input_shape=input_shape) as source:
        yield _of_model(source, folder, migration)


def _of_weights(path: Path, arrays: Arrays, migration: dict[str, Any]) -> Match:
    """Weights without an architecture: their paths and shapes must be those of the project's file."""
    owners = {leaf: key for key, weight in expressions_of(migration).items() for leaf in weight.leaves()}
    paths = matched_paths(path, arrays, {leaf.key for leaf in owners})
    for leaf, key in owners.items():
        check_array(layer_of(migration, key), leaf, arrays.leaf(paths[leaf.key]))
    written = {key: _repathed(data, paths) for key, data in migration["weights"].items()}
    origin = migration["origin"] | {"file": path.name, "sha256": sha256_of(path), "format": "weights"}
    document = migration | {"origin": origin, "weights": written}
    return Match(path, arrays, expressions_of(document), {}, document, {})


def _of_model(source: Source, folder: Path, migration: dict[str, Any]) -> Match:
    """A whole model; the very file that was converted needs no proof."""
    if source.weights_path is None and source.sha256() == migration["origin"]["sha256"]:
        return Match(source.path, source.arrays, expressions_of(migration), source.copies, migration, {})
    paths = align(source.graph, migration["layers"])
    renamed = {new: old for new, old in paths.items() if new != old}
    back = {old: new for new, old in renamed.items()}
    graph = Renaming(paths).graph(source.graph, source.graph.name) if renamed else source.graph
    made = _translated(replace(source, graph=graph), migration)
    document, weights = json.loads(made.migration), made.project.weights()
    check_weights(migration, weights, back)
    check_interface(migration, document)
    check_modules(folder, migration, made.text, back)
    check_text(folder, migration, document, made.text, back)
    document = _with_own_names(document, back)
    if source.weights_path is not None:
        alone = {"weights": source.weights_path.name, "weights_sha256": sha256_of(source.weights_path)}
        document["origin"] |= alone
    return Match(source.path, source.arrays, weights, source.copies, migration | document, renamed)


def _translated(source: Source, migration: Mapping[str, Any]) -> Translation:
    """The project of a file, in the form (with blocks or flat) in which the other one was written."""
    options: dict[str, Any] = {"name": migration["class_name"], "exact": not migration["drift"]}
    made = translate(source, **options)
    if checksums(made.text)[1:] == migration["lines"][1:]:
        return made
    flat = translate(source, flat=True, **options)
    return flat if flat.project.weights().keys() == migration["weights"].keys() else made


def expressions_of(migration: Mapping[str, Any]) -> dict[str, Weight]:
    """The weight expressions of migration.json."""
    return {key: from_json(data) for key, data in migration["weights"].items()}


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _with_own_names(document: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The document that was made under the project's names, its Keras layers called as the file calls them."""
    outputs = [
        entry | {key: names.get(entry[key], entry[key]) for key in ("name", "keras_name")}
        for entry in document["outputs"]
    ]
    layers = {names.get(path, path): entry for path, entry in document["layers"].items()}
    drift = [entry | {"layers": [names.get(path, path) for path in entry["layers"]]} for entry in document["drift"]]
    return document | {"outputs": outputs, "layers": layers, "drift": drift}


def _repathed(data: Any, paths: Mapping[str, str]) -> Any:
    """An expression, as json, over arrays of other paths."""
    if isinstance(data, list) and data and data[0] == "leaf":
        return ["leaf", paths[data[1]], *data[2:]]
    return [_repathed(part, paths) for part in data] if isinstance(data, list) and data[:1] != ["constant"] else data
