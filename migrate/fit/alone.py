"""Weights without an architecture: which array of such a file stands for which of the project's.

A tree (`.weights.h5`) counts layers by class, so its paths are the same in every session. A legacy file has the names
of the layers, which Keras numbers anew: where the names are others, the numbers of each name are matched in order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from converters.errors import UserError
from migrate.readers.architecture import is_tree
from migrate.readers.data import damaged
from migrate.readers.detect import detect
from migrate.readers.hdf5 import Arrays
from migrate.readers.legacy_weights import open_store
from migrate.readers.tree_weights import weight_paths

FULL = "model_weights/"  # where a legacy file of a whole model keeps what one of weights has at its root
VARIABLE = re.compile(r"(^|/)vars/\d+$")  # the end of a path in a tree


def holds_weights_alone(path: Path) -> bool:
    """Whether a file is HDF5 without an architecture."""
    if detect(path) != "hdf5":
        return False
    with open_alone(path) as arrays:
        return "model_config" not in arrays.h5.attrs


def open_alone(path: Path) -> Arrays:
    return Arrays(path, path.open("rb"))


def matched_paths(path: Path, arrays: Arrays, known: Iterable[str]) -> dict[str, str]:
    """{array of the project's file: array of this one}. Raises UserError unless each has exactly one partner."""
    expected = sorted(known)
    tree = is_tree(arrays)
    if tree != any(VARIABLE.search(key) for key in expected):
        raise _other_kind(path, tree)
    found = sorted(weight_paths(arrays) if tree else open_store(path, arrays, (3,)).paths())
    if not found:
        raise damaged(path, "no weights in it")
    old = {key.removeprefix(FULL): key for key in expected}
    new = {key.removeprefix(FULL): key for key in found}
    if old.keys() != new.keys() and not tree:
        old, new = _by_rank(old), _by_rank(new)
    if missing := sorted(old.keys() ^ new.keys()):
        raise _unmatched(path, missing[0], old.get(missing[0]), new.get(missing[0]))
    return {old[key]: new[key] for key in old}


def _by_rank(keys: dict[str, str]) -> dict[str, str]:
    """The keys with the numbers in the names of layers counted from 0: conv2d_7, conv2d_9 -> conv2d_0, conv2d_1."""
    numbers: dict[str, set[int]] = {}
    for key in keys:
        for part in key.split("/")[:-1]:
            base, number = _numbered(part)
            numbers.setdefault(base, set()).add(number)
    ranks = {base: {number: rank for rank, number in enumerate(sorted(held))} for base, held in numbers.items()}

    def counted(part: str) -> str:
        base, number = _numbered(part)
        return f"{base}_{ranks[base][number]}"

    return {"/".join([*map(counted, key.split("/")[:-1]), key.split("/")[-1]]): full for key, full in keys.items()}


def _numbered(name: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.*)_(\d{1,9})", name)
    return (match[1], int(match[2])) if match else (name, -1)


def _other_kind(path: Path, tree: bool) -> UserError:
    kinds = ("a legacy HDF5 file, keyed by layer names", "a tree keyed by class (.weights.h5)")
    return UserError(
        f"{path.name} keys its weights in another way than the file that the project was made from",
        expected=kinds[not tree],
        found=kinds[tree],
        remedy="give the architecture too: tf2torch transfer model.json DIR --weights " + path.name
        + ", with model.json written by model.to_json()",
    )  # fmt: skip


def _unmatched(path: Path, key: str, old: str | None, new: str | None) -> UserError:
    return UserError(
        f"the layers of {path.name} are not those of the project; nothing was changed",
        expected=f"an array {old!r}" if old else f"nothing like {new!r}",
        found="none that stands for it" if old else f"{new!r}",
        remedy="give the weights of this model, or the architecture too: tf2torch transfer model.json DIR --weights "
        + path.name,
    )
