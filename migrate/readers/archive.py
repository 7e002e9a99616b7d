"""The `.keras` format: a zip of config.json, metadata.json and model.weights.h5. Nothing in it is run."""

from __future__ import annotations

import shutil
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO, cast

from converters.errors import UserError
from migrate.readers.data import damaged, parse_object
from migrate.readers.hdf5 import Arrays

CONFIG_AT_MOST = 1 << 26  # bytes of config.json; the largest of keras.applications has less than a megabyte
LOCAL_HEADER = struct.Struct("<26xHH")
WEIGHTS = "model.weights.h5"
CHUNK = 1 << 20  # bytes that are read at a time for the checksum
BOMB = 1 << 30, 200  # bytes and times its packed size; weights that were pruned to a hundredth are packed 50 times


def open_archive(path: Path) -> tuple[dict[str, Any], dict[str, Any], Arrays]:
    """(config, metadata, arrays) of a `.keras` file. Raises UserError for anything that is not one."""
    try:
        with zipfile.ZipFile(path) as archive:
            config = _json(archive, path, "config.json")
            metadata = _json(archive, path, "metadata.json") if "metadata.json" in archive.namelist() else {}
            if WEIGHTS not in archive.namelist():
                raise damaged(path, f"a zip without {WEIGHTS}")
            arrays = _arrays(archive, path)
    except (zipfile.BadZipFile, struct.error, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise damaged(path, f"a damaged zip ({error})") from error
    return config, metadata, arrays


def _json(archive: zipfile.ZipFile, path: Path, member: str) -> dict[str, Any]:
    if member not in archive.namelist():
        raise damaged(path, f"a zip without {member}")
    if archive.getinfo(member).file_size > CONFIG_AT_MOST:
        raise damaged(path, f"{member} of {archive.getinfo(member).file_size:,} bytes")
    return parse_object(path, member, archive.read(member))


def _arrays(archive: zipfile.ZipFile, path: Path) -> Arrays:
    """The HDF5 member where it lies; a compressed one is unpacked into a temporary file first."""
    info = archive.getinfo(WEIGHTS)
    if info.compress_type != zipfile.ZIP_STORED:
        if info.file_size > max(BOMB[0], BOMB[1] * info.compress_size):
            raise damaged(path, f"{info.compress_size:,} bytes in it that would unpack to {info.file_size:,}")
        unpacked = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115  # `Arrays` closes it
        with archive.open(info) as member:
            shutil.copyfileobj(member, unpacked, 1 << 20)
        unpacked.flush()
        return Arrays(path, unpacked, 0, info.file_size)
    file = path.open("rb")
    file.seek(info.header_offset)
    name, extra = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    start = info.header_offset + LOCAL_HEADER.size + name + extra
    found = _checksum(file, start, info.file_size)
    if found != info.CRC:
        file.close()
        raise _altered(path, info.CRC, found)
    return Arrays(path, file, start, info.file_size)


def _checksum(file: BinaryIO, start: int, length: int) -> int:
    """The CRC-32 of a stretch of a file. Arrays are read by offset, past the zip, so nobody else compares it."""
    file.seek(start)
    buffer, checksum = memoryview(bytearray(CHUNK)), 0
    while length and (count := file.readinto(buffer[: min(CHUNK, length)])):  # type: ignore[attr-defined]
        checksum = zlib.crc32(buffer[:count], checksum)
        length -= count
    return checksum


def _altered(path: Path, expected: int, found: int) -> UserError:
    return UserError(
        f"{path.name} is damaged: {WEIGHTS} in it is not what was written",
        expected=f"CRC-32 {expected:08x}, as the zip states it",
        found=f"CRC-32 {found:08x}",
        remedy="copy or download the file again: it changed on the way, or on its disk",
    )
