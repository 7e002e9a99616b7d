"""Arrays: x.npy and y.npy as Keras took them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler, TensorDataset

PERMUTE = __PERMUTE__
TARGETS = __TARGETS__


class Batches(Sampler[list[int]]):
    def __init__(self, count: int, batch_size: int, shuffle: bool, seed: int, rank: int, world: int) -> None:
        self.count, self.batch_size, self.shuffle, self.seed = count, batch_size, shuffle, seed
        self.rank, self.world, self.epoch, self.start = rank, world, 0, 0

    def batches(self) -> list[torch.Tensor]:
        order = torch.arange(self.count)
        if self.shuffle:
            order = torch.randperm(self.count, generator=torch.Generator().manual_seed(self.seed + self.epoch))
        batches = list(order.split(self.batch_size))
        if len(batches) > 1 and len(batches[-1]) < self.world:
            batches[-2:] = [torch.cat(batches[-2:])]
        return batches

    def __iter__(self) -> Iterator[list[int]]:
        return iter([batch[self.rank :: self.world].tolist() for batch in self.batches()[self.start :]])

    def __len__(self) -> int:
        return len(self.batches()) - self.start


def loaders(path, *, batch_size, validation_split=0.0, shuffle=True, seed=0, workers=0, rank=0, world=1):
    data = dataset(path)
    cut = len(data) - int(len(data) * validation_split)
    train, val = (TensorDataset(*data[part]) for part in (slice(0, cut), slice(cut, None)))
    make = lambda part, shuffle: DataLoader(
        part, batch_sampler=Batches(len(part), batch_size, shuffle, seed, rank, world), num_workers=workers
    )
    return make(train, shuffle), make(val, False) if len(val) else None


def labelled(path, *, batch_size, workers=0, rank=0, world=1):
    data = dataset(path)
    return DataLoader(data, batch_sampler=Batches(len(data), batch_size, False, 0, rank, world), num_workers=workers)


def unlabelled(path, *, batch_size, workers=0):
    return DataLoader(inputs(path), batch_size, num_workers=workers)


def set_epoch(loader, epoch, start=0):
    loader.batch_sampler.epoch, loader.batch_sampler.start = epoch, start


def inputs(path):
    x = np.load(Path(path) / "x.npy")
    x = torch.from_numpy(x).permute(PERMUTE).contiguous()
    return x.float() if x.is_floating_point() else x


def dataset(path):
    y = torch.from_numpy(np.load(Path(path) / "y.npy"))
    y = y.long() if TARGETS == "classes" else y.float()
    return TensorDataset(inputs(path), y)
