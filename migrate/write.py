"""Weights stream from file to file in blocks of output rows; everything is written beside, then renamed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from converters.errors import UserError
from converters.weights import Array, Read, Reshape, Weight, evaluate, numpy_dtype

BLOCK = 1 << 24  # bytes of a block of rows that is rearranged at a time
SAFETENSORS_DTYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32",
    "int16": "I16", "int8": "I8", "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip


def write_safetensors(path: Path, weights: Mapping[str, Weight], read: Read) -> list[str]:
    """Writes tensors one after the other; no more than one array of the source file is held at a time.

    Returns the names of those that hold a NaN or an infinity.

    The format: 8 bytes length of the header, the header as JSON, the numbers (https://github.com/huggingface/safetensors).
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, weight in weights.items():
        size = nbytes(weight)
        header[name] = {
            "dtype": SAFETENSORS_DTYPES[weight.dtype],
            "shape": list(weight.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        return [name for name, weight in weights.items() if not _write_array(file, weight, read)]


def nbytes(weight: Weight) -> int:
    """The size of the array that an expression gives."""
    return prod(weight.shape) * numpy_dtype(weight.dtype).itemsize


def _write_array(file: BinaryIO, weight: Weight, read: Read) -> bool:
    """Whether all its numbers are finite. Smallest and largest tell it while the array is at hand, without a copy."""
    # The outermost reshape does not move a number once the rows are written in order.
    array = evaluate(weight.base if isinstance(weight, Reshape) else weight, read)
    for block in _blocks(array):
        file.write(np.ascontiguousarray(block).data.cast("B") if block.size else b"")
    return array.dtype.kind != "f" or not array.size or bool(np.isfinite(array.min()) and np.isfinite(array.max()))


def _blocks(array: Array) -> Iterable[Array]:
    """The array in pieces along its first axis, small ones where they must be rearranged."""
    if array.ndim == 0 or array.flags.c_contiguous or array.nbytes <= BLOCK:
        return [array]
    rows = max(1, BLOCK * len(array) // array.nbytes)
    return (array[start : start + rows] for start in range(0, len(array), rows))


def check_free(target: Path, *, overwrite: bool) -> None:
    """The target must not exist, or be a folder that this toolkit wrote and may replace."""
    if not target.exists() and not target.is_symlink():
        return
    if not overwrite:
        raise UserError(
            f"{target} exists",
            expected="a path that is free",
            found="a folder" if target.is_dir() else "a file",
            remedy="choose another path, or pass --overwrite",
        )
    if not target.is_dir() or (any(target.iterdir()) and not (target / "migration.json").exists()):
        raise UserError(
            f"{target} is not a converted project and will not be replaced",
            expected="an empty folder, or one with a migration.json",
            found="a folder without it" if target.is_dir() else "a file",
            remedy="choose another path",
        )


@contextmanager
def new_folder(target: Path, *, overwrite: bool, needed: int) -> Iterator[Path]:
    """A folder to write into that becomes `target` in one rename; on any error nothing is left of it.

    `needed`: bytes that will be written; too little room is found before anything is.
    """
    check_free(target, overwrite=overwrite)
    target = target.absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        check_room(beside, target, needed)
        yield beside
        beside.chmod(0o777 & ~_umask())
        _replace(beside, target)
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _replace(beside: Path, target: Path) -> None:
    if not target.exists():
        os.rename(beside, target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    os.rename(target, old / "replaced")
    try:
        os.rename(beside, target)
    except OSError:
        os.rename(old / "replaced", target)
        raise
    finally:
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _cannot_write(target: Path, error: OSError) -> UserError:
    place = next((parent for parent in target.parents if parent.exists()), target)
    return UserError(
        f"{target} cannot be written",
        found=error.strerror or str(error) if place.is_dir() else f"{place} is a file, no folder",
        remedy="check the path, its permissions and the free space; nothing was written",
    )


@contextmanager
def replaced(target: Path, *, needed: int = 0) -> Iterator[Path]:
    """A path to write to that takes the place of `target` in one rename; on any error `target` is as it was.

    `needed`: bytes that will be written; too little room is found before anything is.
    """
    target = target.absolute()
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise _cannot_write(target, error) from error
    beside = Path(name)
    try:
        check_room(beside, target, needed)
        yield beside
        beside.chmod(target.stat().st_mode if target.exists() else 0o666 & ~_umask())
        os.replace(beside, target)
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        beside.unlink(missing_ok=True)


def check_room(place: Path, target: Path, needed: int) -> None:
    """Raises UserError where the disk has less room than will be written."""
    free = shutil.disk_usage(place).free
    if free < needed:
        raise UserError(
            f"too little room to write {target}",
            expected=f"{needed:,} bytes",
            found=f"{free:,} bytes free",
            remedy="free some space, or choose another disk",
        )
