"""An architecture in a json file, and the weight file that goes with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py

from converters.errors import UserError
from migrate.readers.archive import open_archive
from migrate.readers.data import damaged, malformed, parse_json
from migrate.readers.detect import detect, not_a_model
from migrate.readers.hdf5 import Arrays
from migrate.readers.tree_weights import OLD_FOLDER

ARCHITECTURE_AT_MOST = 1 << 28  # bytes


def read_architecture(path: Path) -> dict[str, Any]:
    """The `{"class_name", "config"}` of a json file: from `to_json()`, even if quoted twice, or `get_config()`."""
    if path.stat().st_size > ARCHITECTURE_AT_MOST:
        raise damaged(path, f"a json file of {path.stat().st_size:,} bytes")
    found = parse_json(path, path.name, path.read_bytes())
    if isinstance(found, str):
        found = parse_json(path, path.name, found)
    if isinstance(found, list) and found and all(isinstance(item, Mapping) for item in found):
        return {"class_name": "Sequential", "config": found}
    if not isinstance(found, dict):
        raise malformed(f"{path.name} holds a {type(found).__name__}, expected an object")
    if "modelTopology" in found:
        raise not_a_model(path, "a TensorFlow.js model; convert the .keras or .h5 that it was made from")
    if "weight_map" in found:
        raise not_a_model(path, "the index of weights in several files; save the model in Keras without max_shard_size")
    if "class_name" not in found and isinstance(found.get("layers"), list):
        return {"class_name": "Functional" if "output_layers" in found else "Sequential", "config": found}
    if "class_name" not in found:
        raise malformed(f"{path.name} has no class_name")
    return found


def open_weights(architecture: Path, path: Path | None) -> Arrays:
    """The arrays of the weight file of an architecture. Raises UserError for any other file."""
    if path is None:
        raise UserError(
            f"{architecture.name} holds an architecture without weights",
            expected="a model with its weights",
            found="json only",
            remedy="name the weights that belong to it: --weights FILE.h5",
        )
    match detect(path):
        case "archive":
            return open_archive(path)[2]
        case "hdf5":
            return Arrays(path, path.open("rb"))
    raise not_a_model(path, "json where weights were expected; give the .h5 or .weights.h5 file as --weights")


def is_tree(arrays: Arrays) -> bool:
    """Whether a weight file is of the newer kind: a tree of groups by class instead of a group a layer."""
    if "layer_names" in arrays.h5.attrs or isinstance(arrays.find("model_weights"), h5py.Group):
        return False
    return any(isinstance(arrays.find(name), h5py.Group) for name in ("layers", OLD_FOLDER, "vars"))


def no_architecture(path: Path) -> UserError:
    return UserError(
        f"{path.name} holds weights without an architecture",
        expected="a model: an architecture and its weights",
        found="weights only",
        remedy=f"in Keras, write model.to_json() into model.json; then give model.json --weights {path.name}",
    )


def own_weights(path: Path, weights: Path) -> UserError:
    return UserError(
        f"{path.name} has weights of its own",
        expected="--weights with an architecture json only",
        found=f"--weights {weights.name}",
        remedy="leave the option out, or give the architecture as json",
    )
