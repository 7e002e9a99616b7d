"""Images in a folder per class, as image_dataset_from_directory takes them: data/cat/1.jpg, data/dog/2.png.

Classes are the names of the folders in sorted order. Data of its own for validation: data/train/cat/..., then
data/validation/cat/... Pixels are floats from 0 to 255: __PREPROCESSING__

Against tf.data: order, classes and sizes are the same; a png or bmp decodes to the same pixels, and resizing differs by
rounding (1e-4 of 255). A jpeg differs by 1 of 255 on average and 4 at most, measured at quality 90: TensorFlow decodes
it by a faster, less exact transform.
"""

import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

SIZE = __SIZE__  # rows and columns that the model takes
MODE = __MODE__
CLASSES = __CLASSES__  # None: any number
FORMATS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
# What happens to a training image (C, H, W), 0 to 255: torchvision.transforms.v2.RandomHorizontalFlip(), for example.
__AUGMENTATION__
AUGMENT: Callable[[Tensor], Tensor] | None = None


def read_image(path: Path) -> Tensor:
    """(channels, rows, columns) float32, resized as tf.image.resize does: bilinear, without antialiasing."""
    with Image.open(path) as image:
        image.draft(MODE, image.size)  # a jpeg has its grey channel of its own
        pixels = torch.from_numpy(np.array(image.convert(MODE))).float()
    pixels = pixels.reshape(*pixels.shape[:2], -1).permute(2, 0, 1)
    return F.interpolate(pixels[None], SIZE, mode="bilinear", align_corners=False)[0]__ORDER__


def files_of(folder: Path) -> list[Path]:
    """The images below a folder, in the order of Keras."""
    walk = sorted(os.walk(folder), key=lambda found: found[0])
    return [Path(root, name) for root, _, names in walk for name in sorted(names) if name.lower().endswith(FORMATS)]


def classes_of(folder: Path) -> list[str]:
    """The names of the classes: class number i is the i-th of them."""
    if not folder.is_dir():
        raise SystemExit(f"{folder}: expected a folder with a folder of images for each class, found none")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if CLASSES is not None and len(names) != CLASSES:
        raise SystemExit(f"{folder}: expected {CLASSES} folders, one a class, found {len(names)}: {names[:5]}")
    return names


class Samples(Dataset):
    """The images of a folder; `targets=False` takes any images below it. `augment`: for training."""

    def __init__(self, path: Path, targets: bool = True) -> None:
        self.labels: list[int] | None = None
        self.augment = False
        if targets:
            found = [(file, number) for number, name in enumerate(classes_of(path)) for file in files_of(path / name)]
            self.files, self.labels = [file for file, _ in found], [number for _, number in found]
        else:
            self.files = files_of(path)
        if not self.files:
            raise SystemExit(f"{path}: expected images ({', '.join(FORMATS)}), found none")

    def part(self, numbers: list[int], augment: bool = False) -> "Samples":
        """Some of the samples."""
        part = Samples.__new__(Samples)
        part.files, part.labels = [self.files[i] for i in numbers], [self.labels[i] for i in numbers]
        part.augment = augment
        return part

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> Tensor | tuple[Tensor, Tensor]:
        image = read_image(self.files[number])
        if self.augment and AUGMENT is not None:
            image = AUGMENT(image)
        if self.labels is None:
            return image
        label = torch.tensor(self.labels[number])
        #: if binary
        return image, label[None].float()
        #: else
        #: if one_hot
        return image, F.one_hot(label, CLASSES).float()
        #: else
        return image, label
        #: end
        #: end


collate = default_collate


def folder_of(path: Path, part: str) -> Path:
    """The folder of a part, `train` or `val`; the path itself where it has no parts."""
    names = ("validation", "val") if part == "val" else ("train",)
    found = [path / name for name in names if (path / "train").is_dir() and (path / name).is_dir()]
    return found[0] if found else path


def has_validation(path: Path) -> bool:
    """Whether the data brings a part for validation."""
    return folder_of(path, "val") != path


def samples_of(path: Path, part: str, targets: bool = True) -> Samples:
    """The samples of a part: `train`, or `val` where the data brings it."""
    return Samples(folder_of(path, part), targets)


def parts(path: Path, validation_split: float, seed: int) -> tuple[Samples, Samples | None]:
    """(training, validation): two folders, or the split that image_dataset_from_directory makes with this seed."""
    samples = samples_of(path, "train")
    own = samples_of(path, "val") if has_validation(path) else None
    order = list(range(len(samples)))
    if own is not None or not validation_split:
        return samples.part(order, augment=True), own
    np.random.RandomState(seed).shuffle(order)
    cut = len(order) - int(validation_split * len(order))
    return samples.part(order[:cut], augment=True), samples.part(order[cut:]) if cut < len(order) else None
