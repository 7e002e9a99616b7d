"""An emitted folder -> the model, ready for inference."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from converters.errors import UserError
from converters.weights import Constant, evaluate, from_json

HALVES = (torch.float16, torch.bfloat16)


def load_project(folder: Path, *, dtype: torch.dtype | None = None, as_stored: bool = False) -> nn.Module:
    """Imports `model.py`, builds its class on the meta device and assigns the tensors of `weights.safetensors`.

    The model is in eval mode. `dtype` (such as torch.float64) builds it in another precision from the start;
    without, its tensors keep the dtypes of the file, half precision aside: a CPU computes in float32 from that.
    `as_stored`: half precision as well, for a model that is looked at and not run.
    Raises UserError if the folder is not one that `convert` wrote.
    """
    migration = read_migration(folder)
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype or default)
    try:
        with torch.device("meta"):
            model: nn.Module = getattr(_module(folder), migration["class_name"])()
    finally:
        torch.set_default_dtype(default)
    state = load_file(folder / "weights.safetensors")
    if dtype is None and not as_stored:
        state = {key: tensor.float() if tensor.dtype in HALVES else tensor for key, tensor in state.items()}
    elif dtype is not None:
        state = {key: _cast(key, tensor, dtype, migration["weights"]) for key, tensor in state.items()}
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval()


def read_migration(folder: Path) -> dict[str, Any]:
    """`migration.json` of an emitted folder."""
    try:
        migration: dict[str, Any] = json.loads((folder / "migration.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder} is not a converted model",
            expected="a folder with model.py, weights.safetensors and migration.json",
            found=_lack(folder) or str(error)[:200],
            remedy="tf2torch convert MODEL -o DIR makes one",
        ) from error
    return migration


def _lack(folder: Path) -> str:
    if (folder / "migration.json").exists():
        return ""
    return "a folder without migration.json" if folder.is_dir() else "a file" if folder.exists() else "no such folder"


def _module(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location(
        f"tf2torch_model_{abs(hash(str(folder.resolve())))}", folder / "model.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _cast(key: str, tensor: torch.Tensor, dtype: torch.dtype, expressions: dict[str, Any]) -> torch.Tensor:
    """Floating-point tensors in another precision; numbers that the config states at full precision."""
    if not tensor.is_floating_point():
        return tensor
    weight = from_json(expressions[key]) if key in expressions else None
    if isinstance(weight, Constant) and isinstance(weight.value, tuple):
        exact = Constant(weight.shape, "float64", weight.value)
        return torch.from_numpy(evaluate(exact, lambda leaf: np.empty(0)).copy()).to(dtype)  # it has no leaf
    return tensor.to(dtype)
