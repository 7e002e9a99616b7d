"""An emitted project as the checks run it: built in one precision on one device, fed and read in Keras' layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from converters.errors import UserError
from converters.weights import Weight, from_json
from migrate.loading import load_project, read_migration

Array = np.ndarray[Any, Any]


@dataclass
class Emitted:
    """`model` is in eval mode. `weights`: the expression behind every key of its state dict."""

    folder: Path
    migration: Mapping[str, Any]
    model: nn.Module
    dtype: torch.dtype
    device: torch.device
    weights: Mapping[str, Weight]

    def tensors(self, arrays: Sequence[Array]) -> list[torch.Tensor]:
        """Inputs in Keras' layout as the model takes them."""
        return [self._tensor(array, spec) for array, spec in zip(arrays, self.migration["inputs"], strict=True)]

    def _tensor(self, array: Array, spec: Mapping[str, Any]) -> torch.Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array.transpose(spec["permute"])))
        is_float = tensor.is_floating_point() and spec["dtype"].startswith(("float", "bfloat"))
        return tensor.to(self.device, self.dtype if is_float else getattr(torch, spec["dtype"]))

    def in_keras_order(self, outputs: Any) -> list[torch.Tensor]:
        """The outputs of a run, their axes in the order of Keras. Raises UserError if there are more or fewer."""
        found, specs = flat(outputs), self.migration["outputs"]
        if len(found) != len(specs):
            raise UserError("the model has other outputs", expected=str(len(specs)), found=str(len(found)))
        return [
            tensor.permute(*(int(axis) for axis in np.argsort(spec["permute"])))
            if 0 < tensor.ndim == len(spec["permute"])
            else tensor
            for tensor, spec in zip(found, specs, strict=True)
        ]

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """The outputs in inference mode, inputs and outputs in Keras' layout."""
        with torch.no_grad():
            return [array_of(tensor) for tensor in self.in_keras_order(self.model(*self.tensors(arrays)))]

    def layer_of(self, key: str) -> str:
        return layer_of(self.migration, key)


def layer_of(migration: Mapping[str, Any], key: str) -> str:
    """The Keras layer whose module holds a tensor of the state dict."""
    best, found = "", ""
    for path, entry in migration["layers"].items():
        for module in entry["modules"]:
            if (key == module or key.startswith(f"{module}.")) and len(module) > len(best):
                best, found = module, path
    return found


def load_emitted(folder: Path, dtype: str, device: str = "cpu") -> Emitted:
    """The project of a folder in a precision (`float64`; '' for that of its file) on a device (`cpu`, `cuda`).

    Raises UserError if there is none; RuntimeError where model.py and weights.safetensors do not fit together.
    """
    migration = read_migration(folder)
    kind: torch.dtype = getattr(torch, dtype or "float32")
    model = load_project(folder, dtype=kind if dtype else None, as_stored=not dtype).to(device)
    weights = {key: from_json(expression) for key, expression in migration["weights"].items()}
    return Emitted(folder, migration, model, kind, torch.device(device), weights)


def flat(outputs: Any) -> list[torch.Tensor]:
    """The tensors of nested tuples and dicts, in order."""
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    items = outputs.values() if isinstance(outputs, dict) else outputs
    return [tensor for item in items for tensor in flat(item)]


def array_of(tensor: torch.Tensor) -> Array:
    """A tensor as numpy has it; bfloat16, which it has not, in float32."""
    tensor = tensor.detach().cpu()
    return tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
