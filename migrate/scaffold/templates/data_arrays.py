"""Arrays as Keras took them: __ARRAYS__ in the data folder.

__FILES__

Optional: the same names with `_val` for validation, and sample_weight.npy. A .npy file is memory-mapped: it may be
larger than memory. An .npz is read whole.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, Subset


class Port(NamedTuple):
    """An input or target: the shape of one sample as Keras has it (None: any size), and the order of its axes here.

    `classes`: how many there are, where the target is the number of one.
    """

    shape: tuple[int | None, ...]
    dtype: torch.dtype
    order: tuple[int, ...]
    classes: int = 0


INPUTS = __INPUTS__
TARGETS = __TARGETS__


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a folder, or of one .npz, by name."""
    files = sorted(path.glob("*.np[yz]")) if path.is_dir() else [path] * path.exists()
    if not files:
        raise SystemExit(f"{path}: expected {next(iter(INPUTS))}.npy or an .npz in it, found none")
    found = {}
    for file in files:
        found |= dict(np.load(file)) if file.suffix == ".npz" else {file.stem: np.load(file, mmap_mode="r")}
    return found


class Samples(Dataset):
    """The samples of a data folder; `suffix` chooses among its arrays, `targets=False` reads the inputs alone."""

    def __init__(self, path: Path, suffix: str = "", targets: bool = True) -> None:
        self.arguments = path, suffix, targets
        arrays = {name.removesuffix(suffix): array for name, array in read_arrays(path).items() if name.endswith(suffix)}
        self.inputs = [fitting(arrays, name, port, path) for name, port in INPUTS.items()]
        self.targets = [fitting(arrays, name, port, path) for name, port in TARGETS.items()] if targets else []
        self.weights = [arrays["sample_weight"]] if targets and "sample_weight" in arrays else []
        if len({len(array) for array in (*self.inputs, *self.targets, *self.weights)}) != 1:
            raise SystemExit(f"{path}: expected arrays of one length")

    def __reduce__(self) -> tuple:
        return Samples, self.arguments  # a worker maps the files itself

    def __len__(self) -> int:
        return len(self.inputs[0])

    def __getitems__(self, numbers: list[int]) -> tuple | Tensor | list[Tensor]:
        """A whole batch at once: inputs, or (inputs, targets), or (inputs, targets, weights)."""
        inputs = alone([tensor(x[numbers], port) for x, port in zip(self.inputs, INPUTS.values(), strict=True)])
        if not self.targets:
            return inputs
        targets = alone([tensor(y[numbers], port) for y, port in zip(self.targets, TARGETS.values(), strict=True)])
        return inputs, targets, *(torch.from_numpy(w[numbers].astype(np.float32)) for w in self.weights)


def fitting(arrays: dict[str, np.ndarray], name: str, port: Port, path: Path) -> np.ndarray:
    """An array that has the shape of its port; an axis of size 1 at the end may be missing or too much, as in `fit`."""
    if name not in arrays:
        raise SystemExit(f"{path}: expected an array {name}, found {', '.join(arrays)}")
    array, shape = arrays[name], port.shape
    sizes = array.shape[1:]
    if sizes == shape[:-1] and shape[-1:] == (1,):
        array = array[..., None]
    elif sizes[-1:] == (1,) and len(sizes) == len(shape) + 1:
        array = array[..., 0]
    if array.ndim != len(shape) + 1 or any(b not in (None, a) for a, b in zip(array.shape[1:], shape, strict=True)):
        raise SystemExit(f"{path}/{name}: expected the shape (N, {str(shape)[1:]}, found {arrays[name].shape}")
    if port.classes and len(array) and not (array.min() >= 0 and array.max() < port.classes):
        raise SystemExit(f"{path}/{name}: expected classes 0 to {port.classes - 1}, found {array.min()} to {array.max()}")
    return array


def tensor(array: np.ndarray, port: Port) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(port.dtype).permute(0, *(axis + 1 for axis in port.order))


def alone(tensors: list[Tensor]) -> Tensor | list[Tensor]:
    return tensors[0] if len(tensors) == 1 else tensors


def collate(batch: tuple | Tensor | list[Tensor]) -> tuple | Tensor | list[Tensor]:
    """`Samples` makes whole batches."""
    return batch


def has_validation(path: Path) -> bool:
    """Whether the data brings a part for validation."""
    return any(name.endswith("_val") for name in read_arrays(path))


def samples_of(path: Path, part: str, targets: bool = True) -> Samples:
    """The samples of a part: `train`, or `val` where the data brings it."""
    return Samples(path, "_val" if part == "val" else "", targets)


def parts(path: Path, validation_split: float, seed: int) -> tuple[Dataset, Dataset | None]:
    """(training, validation): the arrays with `_val`, else the last part of all, as `fit` takes it."""
    samples = Samples(path)
    if has_validation(path):
        return samples, samples_of(path, "val")
    cut = int(len(samples) * (1 - validation_split))
    if cut == len(samples):
        return samples, None
    return Subset(samples, range(cut)), Subset(samples, range(cut, len(samples)))
