"""HDF5 files taken apart and put together again: other configs, names of arrays and storage, as other versions write."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from parity_tests.archives import Change

Array = np.ndarray[Any, Any]


def edited_h5(source: str | Path, target: Path, change: Change) -> Path:
    """A copy of a full `.h5` model whose config `change` has been at."""
    shutil.copyfile(source, target)
    with h5py.File(target, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        file.attrs["model_config"] = json.dumps(change(config) or config)
    return target


def config_of(source: str | Path) -> Any:
    with h5py.File(source) as file:
        return json.loads(file.attrs["model_config"])


def stored_again(source: str | Path, target: Path, store: Callable[[h5py.Group, str, Array], Any]) -> Path:
    """A copy of an HDF5 file, each of its arrays written anew by `store(group, name, array)`."""
    shutil.copyfile(source, target)
    with h5py.File(target, "r+") as file:
        paths: list[str] = []
        file.visititems(lambda path, thing: paths.append(path) if isinstance(thing, h5py.Dataset) else None)
        for path in paths:
            array, (folder, _, name) = file[path][()], path.rpartition("/")
            del file[path]
            store(file[folder] if folder else file, name, array)
    return target


def arrays_of(source: str | Path) -> dict[str, list[Array]]:
    """The arrays of each layer of a legacy file, in its order."""
    with h5py.File(source) as file:
        root = file["model_weights"]
        return {
            name: [root[name][w][()] for w in root[name].attrs["weight_names"]] for name in root.attrs["layer_names"]
        }


def write_weights(root: h5py.Group, layers: dict[str, dict[str, Array]]) -> None:
    """The groups of a legacy file: a layer each, its arrays by name, bytes in the attributes as old files have."""
    root.attrs["layer_names"] = [name.encode() for name in layers]
    for name, arrays in layers.items():
        group = root.create_group(name)
        group.attrs["weight_names"] = [key.encode() for key in arrays]
        for key, array in arrays.items():
            group.create_dataset(key, data=array)
