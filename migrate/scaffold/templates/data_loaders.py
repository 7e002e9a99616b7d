

class Batches(Sampler[list[int]]):
    """The batches of one process, as numbers of samples: every `world`-th of each global batch, from `rank` on.

    The order depends on `seed` and `epoch` alone: it is the same for any number of processes and workers.
    """

    def __init__(self, count: int, batch_size: int, shuffle: bool, seed: int, rank: int, world: int) -> None:
        self.count, self.shuffle, self.seed, self.rank, self.world = count, shuffle, seed, rank, world
        self.epoch = self.start = 0
        self.cuts = [*range(0, count, batch_size), count]
        if len(self.cuts) > 2 and self.cuts[-1] - self.cuts[-2] < world:
            del self.cuts[-2]  # too few for one each: they join the batch before
        if self.cuts[1:] and self.cuts[1] < world:
            raise SystemExit(f"batches of {self.cuts[1]} cannot be shared by {world} processes")

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.arange(self.count)
        if self.shuffle:
            order = torch.randperm(self.count, generator=torch.Generator().manual_seed(self.seed + self.epoch))
        for first, end in list(pairwise(self.cuts))[self.start :]:
            yield order[first:end][self.rank :: self.world].tolist()

    def __len__(self) -> int:
        return len(self.cuts) - 1 - self.start


def loader(
    samples: Dataset, batch_size: int, *, shuffle: bool = False, seed: int = 0, workers: int = 0, rank: int = 0,
    world: int = 1,
) -> DataLoader:  # fmt: skip
    """Batches of `batch_size` samples over all processes; the last one may be smaller, as in `fit`."""
    batches = Batches(len(samples), batch_size, shuffle, seed, rank, world)
    return DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
    )


def loaders(
    path: str | Path, *, batch_size: int, validation_split: float = 0.0, shuffle: bool = True, seed: int = 0,
    workers: int = 0, rank: int = 0, world: int = 1,
) -> tuple[DataLoader, DataLoader | None]:  # fmt: skip
    """(training, validation or None) of a data folder. Call `set_epoch` before each epoch."""
    train, val = parts(Path(path), validation_split, seed)
    share = {"workers": workers, "rank": rank, "world": world}
    return (
        loader(train, batch_size, shuffle=shuffle, seed=seed, **share),
        loader(val, batch_size, **share) if val is not None else None,
    )


def part_of(path: str | Path, asked: str | None = None) -> str:
    """Which part to look at, `train` or `val`: that which is asked for, else validation where the data brings it."""
    own = has_validation(Path(path))
    if asked == "val" and not own:
        raise SystemExit(f"{path}: expected data for validation, found none: leave --part out to take all samples")
    return asked or ("val" if own else "train")


def described(path: str | Path, part: str, samples: Dataset) -> str:
    """What is looked at, for the first line of a program."""
    names = {"val": "the validation part", "train": "the training part"}
    return f"{path}: {names[part] if has_validation(Path(path)) else 'all'}, {len(samples)} samples"


def labelled(
    path: str | Path, part: str = "train", *, batch_size: int, workers: int = 0, rank: int = 0, world: int = 1
) -> DataLoader:
    """All samples of a part in order, with targets."""
    return loader(samples_of(Path(path), part), batch_size, workers=workers, rank=rank, world=world)


def unlabelled(path: str | Path, part: str = "train", *, batch_size: int, workers: int = 0) -> DataLoader:
    """All samples of a part in order, inputs only."""
    return loader(samples_of(Path(path), part, targets=False), batch_size, workers=workers)


def set_epoch(loader: DataLoader, epoch: int, start: int = 0) -> None:
    """The order of an epoch, which begins at batch number `start`."""
    loader.batch_sampler.epoch, loader.batch_sampler.start = epoch, start
