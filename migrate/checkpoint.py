"""A state dict out of a file: safetensors, or a torch checkpoint, of which only tensors and plain data are loaded."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from converters.errors import UserError
from converters.weights import Array

COUNTER = "num_batches_tracked"  # of PyTorch's BatchNorm; that of --exact has none
DEPTH_AT_MOST = 4  # a checkpoint holds its state dict under a name, or under two
PREFIXES = ("module.", "_orig_mod.", "model.")  # DistributedDataParallel, torch.compile, Lightning


def read_state(path: Path, keys: Collection[str]) -> dict[str, tuple[Array, str]]:
    """(array, numpy name of its dtype) for each key of a model; bfloat16 as its bits.

    The state dict may lie anywhere in a checkpoint, its keys with a prefix that a wrapper gave all of them.
    Raises UserError where none, or more than one, has exactly these keys.
    """
    found = list(_matching(_load(path), set(keys)))
    if len(found) != 1:
        raise _none(path, keys) if not found else _several(path, [place for place, _ in found])
    return {key: as_array(tensor) for key, tensor in found[0][1].items()}


def _load(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is none leads the unpickler anywhere: "hello" is a KeyError
        raise UserError(
            f"{path} cannot be read as weights",
            expected="a .safetensors file, or a .pt file of a state dict or a checkpoint that holds one",
            found=_refusal(error),
            remedy='save it again: torch.save(model.state_dict(), "model.pt")',
        ) from error


def _refusal(error: Exception) -> str:
    """What is wrong with a file. torch's own words are not for users: they advise to load it as code."""
    if isinstance(error, (OSError, SafetensorError)):
        return str(error).partition("\n")[0][:200]
    return "something that torch does not read as tensors and plain data"


def _matching(tree: Any, keys: set[str], place: str = "") -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """(place, state dict) of everything in a checkpoint that has exactly the keys."""
    if not isinstance(tree, Mapping) or place.count("/") > DEPTH_AT_MOST:
        return
    tensors = {key: value for key, value in tree.items() if isinstance(value, torch.Tensor)}
    for state in _without_prefixes(tensors):
        if state.keys() == keys:
            yield place or "the file itself", state
            return
    for key, value in tree.items():
        yield from _matching(value, keys, f"{place}/{key}")


def _without_prefixes(state: dict[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
    yield state
    for prefix in PREFIXES:
        if state and all(isinstance(key, str) and key.startswith(prefix) for key in state):
            yield from _without_prefixes({key.removeprefix(prefix): value for key, value in state.items()})


def as_array(tensor: torch.Tensor) -> tuple[Array, str]:
    """A tensor as numpy has it, and the name of its dtype; bfloat16, which numpy has not, as its bits."""
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.uint16).numpy(), "bfloat16"
    array: Array = tensor.numpy()
    return array, array.dtype.name


def cast(array: Array, name: str, dtype: str) -> Array:
    """An array of the dtype `name` in another one, both as `converters.weights` names them."""
    if name == dtype:
        return array
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    tensor = tensor.view(torch.bfloat16) if name == "bfloat16" else tensor
    return as_array(tensor.to(getattr(torch, dtype)))[0]


def _none(path: Path, keys: Collection[str]) -> UserError:
    tree = _load(path)
    missing, more = _differing(tree, set(keys))
    counters = (missing or more) and all(key.endswith(COUNTER) for key in (*missing, *more))
    here, there = ("without", "with") if missing else ("with", "without")
    return UserError(
        f"{path} holds no weights of this model",
        expected=f"the {len(keys)} keys of its state dict: {', '.join(list(keys)[:4])} ...",
        found=_summary(tree, set(keys)),
        remedy=f"the project was written {here} --exact, the weights come from one that was written {there} it: give "
        "the folder that they were trained in"
        if counters
        else "save model.state_dict() of the model that model.py defines, unchanged",
    )


def _differing(tree: Any, keys: set[str]) -> tuple[list[str], list[str]]:
    """(keys that the state dict of a file lacks, keys that it has beyond them)."""
    if not isinstance(tree, Mapping):
        return sorted(keys), []
    nested = [value for value in tree.values() if isinstance(value, Mapping)]
    states = [{str(key) for key, value in held.items() if isinstance(value, torch.Tensor)} for held in (tree, *nested)]
    best = max(states, key=lambda state: len(state & keys))
    return sorted(keys - best), sorted(best - keys)


def _summary(tree: Any, keys: set[str]) -> str:
    """What is wrong with the state dict of a file, or what is in it at all."""
    if not isinstance(tree, Mapping):
        return f"a {type(tree).__name__}"
    missing, more = _differing(tree, keys)
    if len(missing) < len(keys):
        told = [f"{missing[0]!r} is missing"] if missing else []
        return " and ".join(told + ([f"{more[0]!r} is there as well"] if more else []))
    return f"the keys {', '.join(map(repr, list(tree)[:4]))}"


def _several(path: Path, places: list[str]) -> UserError:
    return UserError(
        f"{path} holds weights of this model more than once",
        expected="one state dict",
        found=", ".join(places),
        remedy='save the one that you want alone: torch.save(checkpoint["model"], "model.pt")',
    )
