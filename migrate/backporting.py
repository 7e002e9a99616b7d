"""Trained PyTorch weights -> a copy of the Keras file, in which all that is no weight of the model stays as it is."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from converters.errors import UserError, number_of
from converters.weights import Array, Weight, evaluate, restore
from migrate.checkpoint import cast, read_state
from migrate.fit import Match, layer_of, open_match
from migrate.readers import Shape
from migrate.readers.archive import WEIGHTS
from migrate.readers.detect import detect
from migrate.readers.hdf5 import Arrays
from migrate.write import replaced

COUNTER = "num_batches_tracked"  # PyTorch counts batches; with a fixed momentum nothing depends on it


@dataclass(frozen=True)
class Backport:
    """What a backport did, as `backport --json` shows it. `changed`: how many arrays of the file have new numbers."""

    file: Path
    arrays: int
    changed: int
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": True, "file": str(self.file), "arrays": self.arrays, "changed": self.changed, "notes": self.notes,
        }  # fmt: skip


def backport_file(
    folder: Path,
    path: Path,
    output: Path,
    *,
    weights: Path | None = None,
    input_shape: Shape | None = None,
    overwrite: bool = False,
) -> Backport:
    """Writes the weights of a project, or those of a checkpoint of its model, into a copy of its Keras file.

    Raises UserError where the file is no file of this model, or a weight has no place in it; nothing is written then.
    """
    check_output(path, output, overwrite=overwrite)
    with open_match(path, folder, input_shape=input_shape) as match:
        state = read_state(weights or folder / "weights.safetensors", match.weights)
        arrays, notes = restored(match, state)
        changed = {key: array for key, array in arrays.items() if not _same(array, _read(match.arrays, key))}
        if changed and (note := _optimizer_note(match.arrays)):
            notes.append(note)
        with replaced(output, needed=2 * path.stat().st_size) as beside:
            write_copy(path, beside, changed)
    return Backport(output, len(arrays), len(changed), notes)


def check_output(path: Path, output: Path, *, overwrite: bool) -> None:
    """A path that is free, not the original's, with a name that says the same kind of file."""
    kind = detect(path)
    if kind == "json":
        raise UserError(
            f"{path.name} holds no weights",
            expected="the file that holds the weights",
            found="an architecture",
            remedy="give the weight file: tf2torch backport DIR FILE.weights.h5 -o NEW.weights.h5",
        )
    suffixes = {".keras"} if kind == "archive" else {".h5", ".hdf5"}
    if output.suffix not in suffixes and output.suffix != path.suffix:
        raise UserError(
            f"{output.name} would be no file that Keras loads",
            expected=f"a name that ends in {' or '.join(sorted(suffixes))}: {path.name} is of that format",
            found=output.suffix or "no ending",
            remedy=f"choose -o {output.with_suffix(sorted(suffixes)[0]).name}",
        )
    if output.exists() and (output.samefile(path) or output.is_dir() or not overwrite):
        same = output.samefile(path)
        raise UserError(
            f"{output} exists",
            expected="a path that is free",
            found="the original itself" if same else "a folder" if output.is_dir() else "a file",
            remedy="choose another path" + ("" if same or output.is_dir() else ", or pass --overwrite"),
        )


# -- arrays ----------------------------------------------------------------------------------------------


def restored(match: Match, state: Mapping[str, tuple[Array, str]]) -> tuple[dict[str, Array], list[str]]:
    """The arrays of the file as the state dict has them, and notes. Raises UserError for what they cannot hold."""
    arrays = {leaf.key: _read(match.arrays, leaf.key) for weight in match.weights.values() for leaf in weight.leaves()}
    tensors = {key: _fitting(match, key, weight, *state[key]) for key, weight in match.weights.items()}
    for key, weight in match.weights.items():
        restore(weight, tensors[key], arrays)
    for key, weight in match.weights.items():
        if not key.endswith(COUNTER):
            _check_kept(match, key, weight, tensors[key], arrays)
    for copy, original in match.copies.items():
        if not original:
            raise _unknown_copy(copy)
        arrays[copy] = arrays[original]
    rounded = sum(dtype != match.weights[key].dtype for key, (_, dtype) in state.items())
    return arrays, [f"{number_of(rounded, 'tensor')} of another dtype cast to that of the file"] if rounded else []


def _read(arrays: Arrays, key: str) -> Array:
    return arrays.read(arrays.leaf(key))


def _fitting(match: Match, key: str, weight: Weight, array: Array, dtype: str) -> Array:
    """A tensor in the dtype of the file. Integers stay what they are."""
    floats = ("float", "bfloat")
    if array.shape != weight.shape or (
        dtype != weight.dtype and not (dtype.startswith(floats) and weight.dtype.startswith(floats))
    ):
        raise UserError(
            f"{key} does not fit {layer_of(match.migration, key)}",
            expected=f"{list(weight.shape)} {weight.dtype}",
            found=f"{list(array.shape)} {dtype}",
            remedy="give weights of the model that model.py defines, unchanged",
        )
    return cast(array, dtype, weight.dtype)


def _check_kept(match: Match, key: str, weight: Weight, tensor: Array, arrays: Mapping[str, Array]) -> None:
    """What the file now says of a tensor must be that tensor: constants have no place in it, a tied weight has one."""
    told = evaluate(weight, lambda leaf: arrays[leaf.key])
    kept = _equal(told, tensor) | np.atleast_1d(told == tensor)  # a negative zero is a zero
    if kept.all():
        return
    at = tuple(int(i) for i in np.argwhere(~kept)[0])
    here, there = np.atleast_1d(tensor)[at], np.atleast_1d(told)[at]
    constant = not any(True for _ in weight.leaves())
    raise UserError(
        f"{key} of {layer_of(match.migration, key)} cannot be written into a Keras file: "
        + (
            "Keras has no such weight there"
            if constant
            else "another tensor is the same weight in Keras, or it has a constant part"
        ),
        expected=f"{there} at {list(at)}, as it was converted"
        if constant
        else f"{there} at {list(at)}, as the other tensor has it",
        found=f"{here}",
        remedy="it must not learn: keep requires_grad_(False), as model.py sets it"
        if constant
        else "keep the two one parameter, as model.py makes them",
    )


def _same(one: Array, other: Array) -> bool:
    """Bit for bit."""
    return one.shape == other.shape and one.dtype == other.dtype and bool(np.all(_equal(one, other)))


def _equal(one: Array, other: Array) -> Array:
    bits = f"u{one.dtype.itemsize}" if one.dtype.kind != "b" else "bool"
    one, other = (np.ascontiguousarray(array).view(bits) for array in (one, other))
    return np.asarray(one == other)


def _unknown_copy(copy: str) -> UserError:
    return UserError(
        f"the array {copy!r} repeats the weights of another layer, and it cannot be told which",
        expected="a file with one array for each weight",
        found="a layer that stands in two models",
        remedy="load the file in Keras and save it as .keras, then convert and train that",
    )


def _optimizer_note(arrays: Arrays) -> str:
    """The state of the optimizer goes with the old weights; it is kept, because nobody else has it."""
    if any(next(iter(arrays.paths(group)), None) for group in ("optimizer", "optimizer_weights")):
        return (
            "the optimizer state in the file is that of the old weights: "
            "compile the model again in Keras before you train it on"
        )
    return ""


# -- files -----------------------------------------------------------------------------------------------


def write_copy(path: Path, target: Path, arrays: Mapping[str, Array]) -> None:
    """A copy of a model file with other numbers in some of its arrays."""
    if detect(path) == "hdf5":
        shutil.copyfile(path, target)
        _write_arrays(target, arrays)
        return
    with (
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(target, "w") as new,
        tempfile.TemporaryDirectory(dir=target.parent, prefix=".backport.") as folder,
    ):
        inner = Path(folder) / "weights.h5"
        with old.open(WEIGHTS) as source, inner.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        _write_arrays(inner, arrays)
        for info in old.infolist():
            source = inner.open("rb") if info.filename == WEIGHTS else old.open(info)
            with source, new.open(_entry(info), "w") as member:
                shutil.copyfileobj(source, member, 1 << 20)


def _entry(info: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """The entry of a member in a new archive: its name, date, compression and attributes, to be filled anew."""
    entry = zipfile.ZipInfo(info.filename, info.date_time)
    entry.compress_type, entry.external_attr, entry.create_system = (
        info.compress_type, info.external_attr, info.create_system
    )  # fmt: skip
    entry.file_size = info.file_size  # so that a large member gets the headers of a large one
    return entry


def _write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Overwrites arrays where they lie; nothing else in the file moves."""
    with h5py.File(path, "r+") as file:
        for key, array in arrays.items():
            dataset = file[key]
            bits = np.dtype("V2") if dataset.dtype.kind == "V" else array.dtype
            dataset[...] = np.ascontiguousarray(array).view(bits).reshape(dataset.shape)
