"""The evidence that travels with an emitted project: inputs and outputs of the original, and a test on them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from converters.weights import Constant, from_json
from migrate.emit.source import formatted
from migrate.verify.bundle import Bundle
from migrate.verify.criterion import ALLOWED_FLOAT64, Array, difference
from migrate.verify.report import Report

BYTES_AT_MOST = 2_000_000
OVERHEAD = 20_000  # of the test itself and the header
NAMES = ("test_parity.py", "reference.safetensors")


def write_replay(folder: Path, bundle: Bundle, migration: Mapping[str, Any]) -> list[str]:
    """Writes test_parity.py and reference.safetensors, at most 2 MB; nothing where not even one set of inputs fits.

    Both are in PyTorch's layout: whoever runs the test needs to know nothing of the original.
    """
    arrays = dict(_exact(migration)) | {"limit": np.array(max(ALLOWED_FLOAT64, bundle.limit("forward", "float64")))}
    room, count = BYTES_AT_MOST - OVERHEAD - sum(array.nbytes for array in arrays.values()), 0
    for number in range(len(bundle.sets)):
        one = {f"{count}/{key}": array for key, array in _arrays(number, bundle, migration)}
        size = sum(array.nbytes for array in one.values())
        if size <= room:
            arrays, room, count = arrays | one, room - size, count + 1
    if not count:
        return []
    text = files("migrate.verify").joinpath("replay.py.txt").read_text(encoding="utf-8")
    text = text.replace("MODEL_CLASS", migration["class_name"]).replace("ORIGIN", _origin(bundle))
    (folder / NAMES[0]).write_text(formatted(text), encoding="utf-8")
    save_file(arrays, folder / NAMES[1], {"origin": json.dumps(dict(bundle.origin))})
    (folder / NAMES[1]).chmod((folder / NAMES[0]).stat().st_mode)
    return [str(folder / name) for name in NAMES]


def _origin(bundle: Bundle) -> str:
    """The version alone: what a file says about itself would have to be quoted."""
    version = str(bundle.versions.get("keras", ""))
    return f"Keras {version}" if re.fullmatch(r"[\w.+-]{1,20}", version) else "Keras"


def _arrays(number: int, bundle: Bundle, migration: Mapping[str, Any]) -> Iterator[tuple[str, Array]]:
    """Inputs, the float64 outputs, and how far at most the original's own float32 is from them."""
    for i, (array, spec) in enumerate(zip(bundle.input_arrays(number), migration["inputs"], strict=True)):
        array = array.astype(spec["dtype"]) if array.dtype.kind != "f" else array
        yield f"in/{i}", np.ascontiguousarray(array.transpose(spec["permute"]))
    singles = bundle.output_arrays("float32", number) if "float32" in bundle.dtypes else None
    for i, (truth, spec) in enumerate(zip(bundle.output_arrays("float64", number), migration["outputs"], strict=True)):
        yield f"out/{i}", np.ascontiguousarray(truth.transpose(spec["permute"]))
        if singles is not None and truth.dtype.kind == "f":
            yield f"error/{i}", np.array(difference(singles[i], truth).max(initial=0.0))


def _exact(migration: Mapping[str, Any]) -> Iterator[tuple[str, Array]]:
    """Numbers that no file holds but the config states in full, where weights.safetensors has them in float32."""
    for key, expression in migration["weights"].items():
        weight = from_json(expression)
        if isinstance(weight, Constant) and isinstance(weight.value, tuple) and weight.dtype.startswith("float"):
            yield f"exact/{key}", np.array(weight.value, np.float64).reshape(weight.shape)


def replayable(report: Report) -> bool:
    """Only what passed, outputs included, is evidence."""
    return report.passed and any(check.name == "forward" and check.findings for check in report.checks)
