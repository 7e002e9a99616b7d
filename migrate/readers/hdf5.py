"""Arrays in an HDF5 file, as data: found by h5py, read by offset where they lie in one piece."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import h5py
import numpy as np

from converters.weights import Array, Leaf, numpy_dtype
from migrate.readers.data import damaged

READ_AT_MOST = 1 << 30  # Linux reads at most 2 GiB a call


class Window(io.RawIOBase):
    """A stretch of a file as a file of its own: the HDF5 member of an uncompressed zip."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        super().__init__()
        self._file, self._start, self._length, self._position = file, start, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        length = max(0, min(len(buffer), self._length - self._position))
        data = os.pread(self._file.fileno(), length, self._start + self._position)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class Arrays:
    """The arrays of one HDF5 file, by their paths in it. Use as a context manager.

    Links that lead out of the file, and data sets that take their data from elsewhere, are refused.
    """

    def __init__(self, path: Path, file: BinaryIO, start: int = 0, length: int | None = None) -> None:
        self.path, self._file, self._start = path, file, start
        self._length = length if length is not None else os.fstat(file.fileno()).st_size - start
        source: Any = (
            path if start == 0 and length is None else io.BufferedReader(Window(file, start, self._length), 1 << 16)
        )
        try:
            self.h5 = h5py.File(source, "r")
        except OSError as error:
            raise damaged(path, f"h5py says: {error}") from error

    def __enter__(self) -> Arrays:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.h5.close()
        self._file.close()

    def find(self, path: str) -> h5py.Group | h5py.Dataset | None:
        """What stands at a path, or None. Only hard links are followed."""
        found: Any = self.h5
        for part in path.split("/") if path else []:
            if not isinstance(found, h5py.Group) or part not in found:
                return None
            if not isinstance(found.get(part, getlink=True), h5py.HardLink):
                raise damaged(self.path, f"{path!r} is a link to another place or file")
            found = found[part]
        return found

    def leaf(self, path: str) -> Leaf:
        """The array at a path, unread. Raises UserError if there is none."""
        found = self.find(path)
        if not isinstance(found, h5py.Dataset):
            raise damaged(self.path, f"it has no array {path!r}")
        if found.external or found.is_virtual:
            raise damaged(self.path, f"the array {path!r} takes its data from another file")
        return Leaf(found.shape, _dtype(self.path, found), path)

    def paths(self, group: str = "", seen: set[int] | None = None) -> Iterator[str]:
        """The paths of all arrays below a group. A group that stands at two places could be without end."""
        found, seen = self.find(group), set() if seen is None else seen
        if isinstance(found, h5py.Dataset):
            yield group
        elif found is not None:
            address = h5py.h5o.get_info(found.id).addr
            if address in seen:
                raise damaged(self.path, f"the group {group!r} stands at another place, too")
            seen.add(address)
            for name in found:
                yield from self.paths(f"{group}/{name}" if group else name, seen)

    def read(self, leaf: Leaf) -> Array:
        """The array itself, in the dtype of the file (bfloat16 as its bits)."""
        dataset = self.h5[leaf.key]
        offset = dataset.id.get_offset()
        if offset is None or not dataset.dtype.isnative or dataset.dtype.kind == "b" or dataset.dtype.names:
            return _through_h5py(dataset, leaf)
        array = np.empty(leaf.shape, numpy_dtype(leaf.dtype))
        self._pread(array.data.cast("B") if array.size else memoryview(b""), self._start + offset, leaf.key)
        return array

    def _pread(self, buffer: memoryview, offset: int, key: str) -> None:
        done = 0
        while done < len(buffer):
            count = os.preadv(self._file.fileno(), [buffer[done : done + READ_AT_MOST]], offset + done)
            if not count:
                raise damaged(self.path, f"it ends in the middle of the array {key!r}")
            done += count


def _dtype(path: Path, dataset: h5py.Dataset) -> str:
    """numpy's name of the dtype of a data set. Keras stores bfloat16 as two opaque bytes, in `.keras` with a note."""
    note, opaque = text(dataset.attrs.get("dtype", "")), dataset.dtype.kind == "V" and dataset.dtype.names is None
    if opaque and dataset.dtype.itemsize == 2 and note in ("bfloat16", ""):
        return "bfloat16"
    if dataset.dtype.kind not in "fiub" or dataset.dtype.itemsize > 8:
        raise damaged(path, f"the array {dataset.name!r} holds {dataset.dtype}, expected numbers")
    return str(dataset.dtype.newbyteorder("=").name)


def _through_h5py(dataset: h5py.Dataset, leaf: Leaf) -> Array:
    array = dataset[()]
    if leaf.dtype == "bfloat16":
        return np.asarray(array).view(np.uint16)
    return np.ascontiguousarray(array, numpy_dtype(leaf.dtype)).reshape(leaf.shape)


def text(value: Any) -> str:
    """An HDF5 attribute as a string; old files hold bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
