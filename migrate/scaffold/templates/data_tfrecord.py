"""TFRecord files of tf.train.Example: data/*.tfrecord, read without TensorFlow.

Which feature is which input is told by its name, or by FEATURES. Data for validation: data/validation/*.tfrecord.
Records are read where they lie, in any order: each file is scanned once for the lengths of its records.
"""

#: if images
import io
#: end
import struct
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
#: if images
import torch.nn.functional as F
#: end
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
#: if images
from PIL import Image
#: end
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler, Subset, default_collate


class Port(NamedTuple):
    """An input or target: the shape of one sample as Keras has it (None: any size), and the order of its axes here.

    `classes`: how many there are, where the record holds one; `one_hot`: the model compares with 0 and 1 for each.
    """

    shape: tuple[int | None, ...]
    dtype: torch.dtype
    order: tuple[int, ...]
    classes: int = 0
    one_hot: bool = False


INPUTS = __INPUTS__
TARGETS = __TARGETS__
FEATURES: dict[str, str] = {}  # {"x": "image/encoded"}, where the names below do not tell
RAW = None  # the numpy type of numbers that were written as bytes (tobytes, tf.io.decode_raw); None: by their length
GUESSES = {
    "input": ("x", "image", "image/encoded", "image_raw", "input", "inputs", "feature", "features", "text", "tokens"),
    "target": ("y", "label", "image/class/label", "labels", "target", "targets", "class"),
}


# -- records -------------------------------------------------------------------------------------------------


@cache
def example_class() -> Any:
    """tf.train.Example, as its .proto file defines it."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="tensorflow", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    messages = {
        "BytesList": [("value", field.TYPE_BYTES, "")],
        "FloatList": [("value", field.TYPE_FLOAT, "")],
        "Int64List": [("value", field.TYPE_INT64, "")],
        "Feature": [("bytes_list", 0, "BytesList"), ("float_list", 0, "FloatList"), ("int64_list", 0, "Int64List")],
        "Entry": [("key", field.TYPE_BYTES, ""), ("value", 0, "Feature")],  # how a map is written
        "Features": [("feature", 0, "Entry")],
        "Example": [("features", 0, "Features")],
    }
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for number, (label, kind, of) in enumerate(fields, 1):
            repeated = (label == "value" and name != "Entry") or label == "feature"
            made = message.field.add(name=label, number=number, label=3 if repeated else 1)
            if of:
                made.type, made.type_name = field.TYPE_MESSAGE, f".tensorflow.{of}"
            else:
                made.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


def parsed(record: bytes) -> dict[str, np.ndarray | list[bytes]]:
    """The features of one record by name: numbers as an array, bytes as a list."""
    found: dict[str, np.ndarray | list[bytes]] = {}
    for entry in example_class().FromString(record).features.feature:
        name, feature = entry.key.decode(), entry.value
        if feature.HasField("bytes_list"):
            found[name] = list(feature.bytes_list.value)
        elif feature.HasField("float_list"):
            found[name] = np.array(feature.float_list.value, np.float32)
        else:
            found[name] = np.array(feature.int64_list.value, np.int64)
    return found


def records(path: Path) -> list[tuple[Path, int, int]]:
    """(file, offset, length) of all records of a file, or of the files of a folder in sorted order."""
    files = sorted(file for file in path.iterdir() if ".tfrecord" in file.name) if path.is_dir() else [path]
    found = []
    for file in filter(Path.is_file, files):
        with file.open("rb") as stream:
            end = file.stat().st_size
            while (offset := stream.tell()) < end:
                head = stream.read(12)  # length, and a checksum of it
                length = struct.unpack("<Q", head[:8])[0] if len(head) == 12 else end
                if offset + length + 16 > end or checksum(head[:8]) != head[8:]:
                    raise SystemExit(f"{file}: expected a TFRecord, found something else at byte {offset} (compressed?)")
                found.append((file, offset + 12, length))
                stream.seek(length + 4, 1)  # the record, and a checksum of it, which is not looked at
    if not found:
        raise SystemExit(f"{path}: expected .tfrecord files, found none")
    return found


def checksum(data: bytes) -> bytes:
    """The masked CRC-32C that TensorFlow writes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


# -- samples -------------------------------------------------------------------------------------------------


class Samples(Dataset):
    """The records below a path."""

    def __init__(self, path: Path, targets: bool = True) -> None:
        self.records = records(path)
        first = self.features(0)
        self.inputs = {feature_of(first, name, "input", INPUTS): port for name, port in INPUTS.items()}
        self.targets = {feature_of(first, name, "target", TARGETS): port for name, port in TARGETS.items() if targets}
        self[0]  # says what does not fit

    def features(self, number: int) -> dict[str, np.ndarray | list[bytes]]:
        file, offset, length = self.records[number]
        with file.open("rb") as stream:
            stream.seek(offset)
            return parsed(stream.read(length))

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, number: int) -> tuple | Tensor:
        found = self.features(number)
        inputs = [tensor(name, found.get(name), port) for name, port in self.inputs.items()]
        targets = [tensor(name, found.get(name), port) for name, port in self.targets.items()]
        return (alone(inputs), alone(targets)) if targets else alone(inputs)


def feature_of(found: dict[str, Any], name: str, kind: str, ports: dict[str, Port]) -> str:
    """The feature of the first record that belongs to an input or target."""
    names = [FEATURES[name]] if name in FEATURES else [name, *(GUESSES[kind] if len(ports) == 1 else ())]
    for candidate in names:
        if candidate in found:
            return candidate
    raise SystemExit(f"which feature is the {kind} {name}? Say it in FEATURES of data.py; there are {sorted(found)}")


def tensor(name: str, feature: np.ndarray | list[bytes] | None, port: Port) -> Tensor:
    """A feature as the model takes it."""
    if feature is None:
        raise SystemExit(f"a record has no feature {name}")
    if port.classes:
        label = torch.tensor(int(feature[0]))
        if not 0 <= label < port.classes:
            raise SystemExit(f"feature {name}: expected classes 0 to {port.classes - 1}, found {label}")
        return torch.nn.functional.one_hot(label, port.classes).float() if port.one_hot else label
    array = numbers(name, feature[0], port) if isinstance(feature, list) else feature
    known = prod(size for size in port.shape if size is not None)
    free = sum(size is None for size in port.shape)
    if free == 0 and array.size != known:
        raise SystemExit(f"feature {name}: expected {known} numbers {port.shape}, found {array.size}")
    if array.ndim != len(port.shape):
        array = array.reshape([-1 if size is None else size for size in port.shape])
    return torch.from_numpy(array.copy()).to(port.dtype).permute(port.order)


def numbers(name: str, data: bytes, port: Port) -> np.ndarray:
    """An encoded image, or numbers that were written as they lay in memory."""
    #: if images
    if data.startswith((b"\xff\xd8", b"\x89PNG", b"GIF8", b"BM")):
        return decoded(data, port)
    #: end
    size = prod(size for size in port.shape if size is not None)
    kinds = [RAW] if RAW else [kind for kind in (np.uint8, np.float32, np.int64) if len(data) == size * kind().itemsize]
    if not kinds:
        raise SystemExit(f"feature {name}: expected {size} numbers, found {len(data)} bytes; say their type in RAW")
    return np.frombuffer(data, kinds[0])


#: if images
def decoded(data: bytes, port: Port) -> np.ndarray:
    """An image (rows, columns, channels), 0 to 255, of the size that the model takes; resized as by tf.image.resize."""
    rows, columns, channels = port.shape
    with Image.open(io.BytesIO(data)) as image:
        mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
        image.draft(mode, image.size)  # a jpeg has its grey channel of its own
        pixels = torch.from_numpy(np.array(image.convert(mode)))
    pixels = pixels.reshape(*pixels.shape[:2], channels).permute(2, 0, 1).float()
    if rows is not None and columns is not None:
        pixels = F.interpolate(pixels[None], (rows, columns), mode="bilinear", align_corners=False)[0]
    return pixels.permute(1, 2, 0).numpy()


#: end
def alone(tensors: list[Tensor]) -> Tensor | list[Tensor]:
    return tensors[0] if len(tensors) == 1 else tensors


def collate(samples: list) -> Any:
    """A batch; sequences of unequal length get zeros behind, as padded_batch gives them."""
    first = samples[0]
    if isinstance(first, (tuple, list)):
        return type(first)(collate([sample[i] for sample in samples]) for i in range(len(first)))
    if len({len(sample) for sample in samples if sample.ndim}) > 1:
        return pad_sequence(samples, batch_first=True)
    return default_collate(samples)


def folder_of(path: Path, part: str) -> Path:
    """The folder of a part, `train` or `val`; the path itself where it has none."""
    names = ("validation", "val") if part == "val" else ("train",)
    return next((path / name for name in names if (path / name).is_dir()), path)


def has_validation(path: Path) -> bool:
    """Whether the data brings a part for validation."""
    return folder_of(path, "val") != path


def samples_of(path: Path, part: str, targets: bool = True) -> Samples:
    """The samples of a part: `train`, or `val` where the data brings it."""
    return Samples(folder_of(path, part), targets)


def parts(path: Path, validation_split: float, seed: int) -> tuple[Dataset, Dataset | None]:
    """(training, validation): two folders, or two ends of one."""
    samples = samples_of(path, "train")
    own = samples_of(path, "val") if has_validation(path) else None
    cut = int(len(samples) * (1 - validation_split))
    if own is not None or cut == len(samples):
        return samples, own
    return Subset(samples, range(cut)), Subset(samples, range(cut, len(samples)))
