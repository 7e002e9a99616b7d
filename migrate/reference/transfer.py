"""Arrays on their way from the worker to a bundle: .npz, which every numpy reads, to safetensors."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from converters.errors import UserError
from converters.weights import Array, Leaf, Weight
from migrate.write import SAFETENSORS_DTYPES, write_safetensors


def to_safetensors(sources: Iterable[Path], target: Path) -> None:
    """All arrays of some .npz files, one in memory at a time."""
    leaves: dict[str, Weight] = {}
    owner: dict[str, zipfile.ZipFile] = {}
    archives = [zipfile.ZipFile(source) for source in sources]
    try:
        for archive in archives:
            for member in archive.namelist():
                leaf = _leaf(archive, member)
                leaves[leaf.key] = leaf
                owner[leaf.key] = archive
        write_safetensors(target, dict(sorted(leaves.items())), lambda leaf: _read(owner[leaf.key], leaf.key))
    finally:
        for archive in archives:
            archive.close()


def _leaf(archive: zipfile.ZipFile, member: str) -> Leaf:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    if dtype.name not in SAFETENSORS_DTYPES:
        raise UserError(
            f"the original gives {dtype.name} for {member.removesuffix('.npy')}",
            expected="numbers",
            found=dtype.name,
            remedy="leave what turns numbers into text out of the model",
        )
    return Leaf(tuple(shape), dtype.name, member.removesuffix(".npy"))


def _read(archive: zipfile.ZipFile, key: str) -> Array:
    with archive.open(f"{key}.npy") as file:
        array: Array = np.lib.format.read_array(file, allow_pickle=False)
    return array
