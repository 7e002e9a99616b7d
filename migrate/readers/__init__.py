"""Saved models -> graph and weights, as data. The content of a file decides its format, not its name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converters.errors import UserError
from converters.graph import Graph
from migrate.readers.architecture import is_tree, no_architecture, open_weights, own_weights, read_architecture
from migrate.readers.archive import open_archive
from migrate.readers.data import malformed, parse_object
from migrate.readers.detect import detect
from migrate.readers.hdf5 import Arrays, text
from migrate.readers.legacy_weights import LegacyStore, open_store
from migrate.readers.reading import Reading
from migrate.readers.tree_weights import TreeStore
from migrate.readers.version import Version
from migrate.readers.vocabulary import is_model
from migrate.readers.vocabulary1 import ordering_of

Shape = tuple[int | None, ...]


@dataclass
class Source:
    """A model file that has been opened: its graph, its arrays, and what it says about itself.

    `weights`: the paths of the arrays that belong to the model, not to its training. `copies`: those of arrays that
    hold another one's numbers once more ('' where it cannot be told whose). `weights_path`: the file that holds them,
    where the architecture is a file of its own.
    """

    path: Path
    format: str
    keras_version: str
    graph: Graph
    arrays: Arrays
    training: Mapping[str, Any]
    weights: list[str]
    copies: Mapping[str, str]
    weights_path: Path | None = None

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *error: object) -> None:
        self.arrays.close()

    def sha256(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: Path, weights: Path | None = None, input_shape: Shape | None = None) -> Source:
    """Opens a model file, or an architecture and its weights. Raises UserError if it cannot be read.

    `input_shape`: without the batch, for models that do not state it.
    """
    kind = detect(path)
    if weights is not None and kind != "json":
        raise own_weights(path, weights)
    if kind == "json":
        config = read_architecture(path)
        arrays = open_weights(path, weights)
        return _guarded(arrays, lambda: _of_json(path, weights, config, arrays, input_shape))
    if kind == "hdf5":
        arrays = Arrays(path, path.open("rb"))
        return _guarded(arrays, lambda: _of_hdf5(path, arrays, input_shape))
    config, metadata, arrays = open_archive(path)
    return _guarded(arrays, lambda: _of_archive(path, config, metadata, arrays, input_shape))


def _of_archive(
    path: Path, config: dict[str, Any], metadata: Mapping[str, Any], arrays: Arrays, input_shape: Shape | None
) -> Source:
    stated = str(metadata.get("keras_version", "3.x"))
    graph, paths, copies = _graph(config, Version.of(stated, config), TreeStore(arrays), input_shape)
    return Source(path, "keras archive", stated, graph, arrays, config.get("compile_config") or {}, paths, copies)


def _of_hdf5(path: Path, arrays: Arrays, input_shape: Shape | None) -> Source:
    attributes = arrays.h5.attrs
    if "model_config" not in attributes:
        raise no_architecture(path)
    config = parse_object(path, "model_config", text(attributes["model_config"]))
    training = parse_object(path, "training_config", text(attributes.get("training_config", "{}")))
    version = Version.of(text(attributes.get("keras_version", "")), config)
    store = open_store(path, arrays, version.numbers)
    graph, paths, copies = _graph(config, version, store, input_shape)
    return Source(path, "hdf5", version.text, graph, arrays, training, paths, copies)


def _of_json(
    path: Path, weights: Path | None, config: dict[str, Any], arrays: Arrays, input_shape: Shape | None
) -> Source:
    version = Version.of(str(config.get("keras_version") or ""), config)
    store: TreeStore | LegacyStore = TreeStore(arrays)
    if not is_tree(arrays):
        store = open_store(weights or path, arrays, version.numbers)
    graph, paths, copies = _graph(config, version, store, input_shape)
    return Source(path, "json and weights", version.text, graph, arrays, {}, paths, copies, weights)


def _graph(
    config: Mapping[str, Any], version: Version, store: TreeStore | LegacyStore, input_shape: Shape | None
) -> tuple[Graph, list[str], dict[str, str]]:
    """The graph, the paths of the arrays that belong to it, and those of copies of some."""
    if config.get("class_name") is None:
        raise malformed("it states no class_name")
    if not is_model(config):
        raise UserError(
            f"the model is of a class of its own, {str(config.get('class_name'))!r:.80}",
            expected="a Functional or Sequential model",
            found="a class whose code is not in the file",
            remedy="in Keras, rebuild it as a Functional model from built-in layers, copy the weights and save that",
        )
    inner = config.get("config")
    name = inner.get("name") if isinstance(inner, Mapping) else None
    reading = Reading(version.numbers, store, ordering_of(config), input_shape)
    graph = reading.model(config, str(name or "model"), "", store.root())
    return graph, sorted(set(store.paths()) - set(reading.copies)), reading.copies


def _guarded(arrays: Arrays, read_source: Callable[[], Source]) -> Source:
    """What a stranger's config can lead to besides the mistakes that are looked for; the file is closed then."""
    try:
        return read_source()
    except (TypeError, ValueError, KeyError, IndexError, AttributeError, RecursionError, OverflowError) as error:
        arrays.close()
        raise malformed(f"its parts do not fit together ({type(error).__name__}: {str(error)[:200]})") from error
    except BaseException:
        arrays.close()
        raise
