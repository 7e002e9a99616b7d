"""What a file is, by its content. What is no Keras model is refused by what it is, with the way out."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from converters.errors import UserError

Kind = Literal["archive", "hdf5", "json"]
HDF5 = b"\x89HDF\r\n\x1a\n"
HEAD = 4096
EXPORTED = "this version does not read it yet; convert the .keras, .h5 or json that it was made from"

# First bytes, and what they are the mark of.
MARKS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; fetch it with: git lfs pull"),
    (b"\x93NUMPY", "a numpy array; a model needs an architecture too"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"\x80", "a Python pickle, which is never loaded here; save the model with model.save('model.keras')"),
    (b"<!DOCTYPE", "a web page; download the file itself"),
    (b"<html", "a web page; download the file itself"),
    (b"backend:", "an architecture as YAML; save it with model.to_json() instead"),
    (b"class_name:", "an architecture as YAML; save it with model.to_json() instead"),
)
SUFFIXES = {
    ".pb": f"a frozen TensorFlow graph; {EXPORTED}",
    ".tflite": f"a TensorFlow Lite model; {EXPORTED}",
    ".onnx": f"an ONNX model; {EXPORTED}",
    ".yaml": "an architecture as YAML; save it with model.to_json() instead",
    ".yml": "an architecture as YAML; save it with model.to_json() instead",
    ".index": "part of a TensorFlow checkpoint; load it in Keras and save it with model.save('model.keras')",
    ".ckpt": "a TensorFlow checkpoint; load it in Keras and save it with model.save('model.keras')",
    ".safetensors": "weights without an architecture, in a format that Keras does not write",
}


def detect(path: Path) -> Kind:
    """The kind of a model file. Raises UserError for everything else."""
    if path.is_dir():
        raise not_a_model(path, _folder(path))
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read",
            expected="a model file",
            found=error.strerror or str(error),
            remedy="check the path and its permissions",
        ) from error
    if not head:
        raise not_a_model(path, "an empty file; fetch or save it again")
    if head.startswith(HDF5):
        return "hdf5"
    if head.startswith(b"PK"):
        return _zip(path)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"{", b'"', b"[")):
        return "json"
    raise not_a_model(path, _foreign(path, head, text))


def _zip(path: Path) -> Kind:
    """A zip is a `.keras` file, unless it is one of the other things that are zips."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return "archive"  # damaged: its reader says how
    if "config.json" not in names:
        inside = {name.rpartition("/")[2] for name in names}
        if "data.pkl" in inside:
            raise not_a_model(path, "a PyTorch checkpoint; it needs no conversion")
        if "saved_model.pb" in inside:
            raise not_a_model(path, f"a zipped SavedModel; {EXPORTED}")
        if names and all(name.endswith(".npy") for name in names):
            raise not_a_model(path, "numpy arrays; a model needs an architecture too")
    return "archive"


def _folder(path: Path) -> str:
    if (path / "saved_model.pb").exists() or (path / "keras_metadata.pb").exists():
        return f"a SavedModel folder; {EXPORTED}"
    if (path / "config.json").exists() and (path / "model.weights.h5").exists():
        return "an unpacked .keras file; zip its files again, or give config.json and --weights model.weights.h5"
    return "a folder; give the model file in it"


def _foreign(path: Path, head: bytes, text: bytes) -> str:
    if head[4:8] == b"TFL3":
        return SUFFIXES[".tflite"]
    for mark, what in MARKS:
        if (text if mark.isascii() and mark[:1] > b" " else head).startswith(mark):
            return what
    suffix = next((s for s in path.suffixes[::-1] if s.lower() in SUFFIXES), "")
    if suffix:
        return SUFFIXES[suffix.lower()]
    if path.name == "saved_model.pb" or ".data-0" in path.name:
        return "part of a TensorFlow checkpoint; load it in Keras and save it with model.save('model.keras')"
    return f"a file that begins with {head[:8]!r}"


def not_a_model(path: Path, found: str) -> UserError:
    what, _, remedy = found.partition("; ")
    return UserError(
        f"{path.name} is not a Keras model",
        expected="a .keras or .h5 file, or an architecture .json with --weights",
        found=what,
        remedy=remedy or "give the file that model.save() wrote",
    )
