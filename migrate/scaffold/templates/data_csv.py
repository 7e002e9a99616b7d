"""Tables: data/train.csv with a header, and validation.csv where there is one. Read once, into memory.

__FILES__
"""

import csv
from collections.abc import Iterator
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, Subset


class Port(NamedTuple):
    """An input or target: the shape of one sample as Keras has it, and the order of its axes here.

    `classes`: how many there are, where the column holds one; `one_hot`: the model compares with 0 and 1 for each.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    order: tuple[int, ...]
    classes: int = 0
    one_hot: bool = False

    @property
    def width(self) -> int:
        """How many columns it takes."""
        return 1 if self.classes else prod(self.shape)


INPUTS = __INPUTS__
TARGETS = __TARGETS__
TARGET_COLUMNS: list[str] = []  # their names, in the order of TARGETS; empty: the last columns
LABELS: list[str] = []  # names of classes in the order of their numbers; empty: numbers, or all names in sorted order


def table_of(path: Path, part: str = "train") -> Path:
    """A table itself, or the one of a folder."""
    if path.is_file():
        return path
    files = [file for file in (path / f"{part}.csv", *sorted(path.glob("*.csv"))) if file.is_file()]
    if not files:
        raise SystemExit(f"{path}: expected {part}.csv in it, found none")
    return files[0]


class Samples(Dataset):
    """The rows of a table."""

    def __init__(self, path: Path, targets: bool = True) -> None:
        path = table_of(path)
        with path.open(newline="") as file:
            header = next(csv.reader(file), [])
        columns = iter(feature_columns(path, header, targets))
        self.inputs = [values(path, header, [next(columns) for _ in range(p.width)], p) for p in INPUTS.values()]
        columns = iter(target_columns(header))
        self.targets = []
        if targets:
            self.targets = [values(path, header, [next(columns) for _ in range(p.width)], p) for p in TARGETS.values()]
        weights = ["sample_weight"] if targets and "sample_weight" in header else []
        self.weights = [numbers(path, header, weights, np.float32)[:, 0]] if weights else []

    def __len__(self) -> int:
        return len(self.inputs[0])

    def __getitems__(self, numbers: list[int]) -> tuple | Tensor | list[Tensor]:
        """A whole batch at once: inputs, or (inputs, targets), or (inputs, targets, weights)."""
        inputs = alone([x[numbers] for x in self.inputs])
        if not self.targets:
            return inputs
        return inputs, alone([y[numbers] for y in self.targets]), *(w[numbers] for w in self.weights)


def target_columns(header: list[str]) -> list[str]:
    width = sum(port.width for port in TARGETS.values())
    return TARGET_COLUMNS or [name for name in header if name != "sample_weight"][-width:]


def feature_columns(path: Path, header: list[str], targets: bool) -> list[str]:
    """The columns of the inputs: all that are no targets. A table to predict from may be without those."""
    width = sum(port.width for port in INPUTS.values())
    others = [name for name in header if name != "sample_weight"]
    columns = [name for name in others if name not in target_columns(header)]
    columns = others if not targets and len(others) == width else columns
    if len(columns) != width:
        raise SystemExit(f"{path}: expected {width} columns of inputs, found {len(columns)}: {', '.join(columns[:8])}")
    return columns


def numbers(path: Path, header: list[str], columns: list[str], dtype: type) -> np.ndarray:
    """(rows, columns) of a table."""
    at = [header.index(name) for name in columns]
    try:
        return np.loadtxt(path, dtype, delimiter=",", skiprows=1, usecols=at, ndmin=2, quotechar='"', comments=None)
    except ValueError as error:
        raise SystemExit(f"{path}: expected numbers: {error}") from None


def values(path: Path, header: list[str], columns: list[str], port: Port) -> Tensor:
    """What a model takes of some columns, all rows of it."""
    if port.classes:
        label = torch.from_numpy(classes(path, numbers(path, header, columns, str)[:, 0], port))
        return torch.nn.functional.one_hot(label, port.classes).float() if port.one_hot else label
    kind = np.float32 if port.dtype.is_floating_point else np.int64
    table = torch.from_numpy(numbers(path, header, columns, kind)).to(port.dtype)
    return table.reshape(-1, *port.shape).permute(0, *(axis + 1 for axis in port.order))


def classes(path: Path, labels: np.ndarray, port: Port) -> np.ndarray:
    """The numbers of classes in a column of them, or of their names."""
    try:
        found = labels.astype(np.int64) if not LABELS else None
    except ValueError:
        found = None
    if found is None:
        names = LABELS or sorted(set(labels.tolist()))
        if not set(labels.tolist()) <= set(names):
            raise SystemExit(f"{path}: expected the classes {names}, found {sorted(set(labels.tolist()) - set(names))}")
        found = np.array([names.index(label) for label in labels.tolist()], np.int64)
    if len(found) and not (found.min() >= 0 and found.max() < port.classes):
        raise SystemExit(f"{path}: expected classes 0 to {port.classes - 1}, found {found.min()} to {found.max()}")
    return found


def alone(tensors: list[Tensor]) -> Tensor | list[Tensor]:
    return tensors[0] if len(tensors) == 1 else tensors


def collate(batch: tuple | Tensor | list[Tensor]) -> tuple | Tensor | list[Tensor]:
    """`Samples` makes whole batches."""
    return batch


def has_validation(path: Path) -> bool:
    """Whether the data brings a part for validation."""
    return path.is_dir() and (path / "validation.csv").exists()


def samples_of(path: Path, part: str, targets: bool = True) -> Samples:
    """The samples of a part: `train`, or `val` where the data brings it."""
    return Samples(path / "validation.csv" if part == "val" else path, targets)


def parts(path: Path, validation_split: float, seed: int) -> tuple[Dataset, Dataset | None]:
    """(training, validation): the tables of a folder, else the last rows of the one, as `fit` takes them."""
    samples = Samples(path)
    if has_validation(path):
        return samples, samples_of(path, "val")
    cut = int(len(samples) * (1 - validation_split))
    if cut == len(samples):
        return samples, None
    return Subset(samples, range(cut)), Subset(samples, range(cut, len(samples)))
