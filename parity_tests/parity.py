"""Emitted project against recorded reference: what every parity test does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import migrate
from migrate.loading import read_migration
from migrate.verify.criterion import Verdict, compare_float32, compare_float64
from migrate.verify.forward import FLOAT32_ROUNDING

Array = np.ndarray[Any, Any]


def run(
    model: torch.nn.Module, migration: Mapping[str, Any], inputs: Sequence[Array], dtype: torch.dtype
) -> list[Array]:
    """The outputs for inputs in Keras' layout, in Keras' layout."""
    with torch.no_grad():
        outputs = flat(model(*tensors(migration, inputs, dtype)))
    return [
        np.asarray(_back(output, spec), order="C") for output, spec in zip(outputs, migration["outputs"], strict=True)
    ]


def tensors(migration: Mapping[str, Any], inputs: Sequence[Array], dtype: torch.dtype) -> list[torch.Tensor]:
    """Inputs in Keras' layout as the emitted model takes them."""
    return [_tensor(array, spec, dtype) for array, spec in zip(inputs, migration["inputs"], strict=True)]


def flat(outputs: Any) -> list[torch.Tensor]:
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    items = outputs.values() if isinstance(outputs, dict) else outputs
    return [tensor for item in items for tensor in flat(item)]


def _tensor(array: Array, spec: Mapping[str, Any], dtype: torch.dtype) -> torch.Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array.transpose(spec["permute"])))
    return (
        tensor.to(dtype)
        if tensor.is_floating_point() and spec["dtype"].startswith("float")
        else tensor.to(getattr(torch, spec["dtype"]))
    )


def _back(output: torch.Tensor, spec: Mapping[str, Any]) -> Array:
    return output.numpy().transpose(np.argsort(spec["permute"]))


def judge(folder: Path, reference: Mapping[str, Array], leak: float = 0.0) -> list[tuple[str, Verdict]]:
    """(what, verdict) of every output of every set of inputs, parts A and B of the criterion."""
    migration = read_migration(folder)
    exact, single = migrate.load(folder, dtype=torch.float64), migrate.load(folder, dtype=torch.float32)
    verdicts = []
    for number, inputs in enumerate(sets(reference, "in")):
        truths = sets(reference, "float64")[number]
        singles = sets(reference, "float32")[number]
        rounding = float(reference.get(f"rounding/{number}", 0.0))
        for i, found in enumerate(run(exact, migration, inputs, torch.float64)):
            verdicts.append(
                (f"float64 set {number} output {i}", compare_float64(found, truths[i], max(leak, rounding)))
            )
        for i, found in enumerate(run(single, migration, inputs, torch.float32)):
            limit = max(leak, rounding * FLOAT32_ROUNDING)
            verdicts.append((f"float32 set {number} output {i}", compare_float32(found, singles[i], truths[i], limit)))
    return verdicts


def sets(reference: Mapping[str, Array], kind: str) -> list[list[Array]]:
    """The arrays of one kind (`in`, `float64`, `float32`): for each set, its inputs or outputs in order."""
    found: dict[int, dict[int, Array]] = {}
    for key in reference:
        name, *place = key.split("/")
        if name == kind:
            found.setdefault(int(place[0]), {})[int(place[1])] = reference[key]
    return [[found[n][i] for i in sorted(found[n])] for n in sorted(found)]
