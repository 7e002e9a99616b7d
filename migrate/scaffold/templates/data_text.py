"""Texts: a folder of .txt files per class, as text_dataset_from_directory takes them, or lines of `label<tab>text`.

data/pos/1.txt, data/neg/2.txt, or data/train.tsv; of its own for validation: data/validation/pos/1.txt, or
data/validation.tsv. Classes are in sorted order. A text becomes the numbers of its words as by Keras'
TextVectorization: lower case, no punctuation, 0 = padding, 1 = a word that is not in vocabulary.txt. That file is
`vectorizer.get_vocabulary()`, one word a line; where there is none, it is made of the training texts.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset, Sampler

LENGTH = __LENGTH__  # words of a text that the model takes; None: all, padded to the longest of the batch
WORDS = __WORDS__  # at most in the vocabulary, padding and unknown included
CLASSES = __CLASSES__
PUNCTUATION = re.compile(r"[!\"#$%&()\*\+,-\./:;<=>?@\[\\\]^_`{|}~\']")
WORD = re.compile(r"[^ \t\n\v\f\r]+")


def words_of(text: str) -> list[str]:
    """A text as TextVectorization takes it apart."""
    return WORD.findall(PUNCTUATION.sub("", lower(text)))


def lower(text: str) -> str:
    """tf.strings.lower leaves all but ASCII letters alone."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)


def vocabulary_of(path: Path, texts: list[str] | None) -> dict[str, int]:
    """The number of each word; made of the training texts, and kept, where there is no vocabulary.txt."""
    file = (path if path.is_dir() else path.parent) / "vocabulary.txt"
    if not file.exists() and file.parent.name in ("train", "validation", "val", "test"):
        file = file.parent.parent / "vocabulary.txt"
    if not file.exists():
        if texts is None:
            raise SystemExit(f"{file}: expected the words of the model, one a line; training makes it of its texts")
        counts = Counter(word for text in texts for word in words_of(text))
        ordered = sorted(counts, key=lambda word: (counts[word], word), reverse=True)  # as `adapt` does
        file.write_text("\n".join(["", "[UNK]", *ordered][:WORDS]) + "\n", encoding="utf-8")
    words = file.read_text(encoding="utf-8").split("\n")[:-1]
    words = words if words[:1] == [""] else ["", "[UNK]", *words]
    if WORDS is not None and len(words) > WORDS:
        raise SystemExit(f"{file}: expected at most {WORDS} words, as the model's embedding has, found {len(words)}")
    return {word: number for number, word in enumerate(words)}


def texts_of(path: Path) -> tuple[list[str], list[str]]:
    """(texts, their labels) of a folder per class, of a .tsv or of one text a line without labels."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        pairs = [line.partition("\t")[::2] if "\t" in line else ("", line) for line in lines if line]
        return [text for _, text in pairs], [label for label, _ in pairs]
    folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    found = [(file.read_text(encoding="utf-8"), folder.name) for folder in folders for file in files_of(folder)]
    return [text for text, _ in found], [label for _, label in found]


def files_of(folder: Path) -> list[Path]:
    """The .txt files below a folder, in the order of Keras."""
    walk = sorted(os.walk(folder), key=lambda found: found[0])
    return [Path(root, name) for root, _, names in walk for name in sorted(names) if name.lower().endswith(".txt")]


def place_of(path: Path, part: str) -> Path | None:
    """Where the texts of a part (train, validation) are."""
    return next((place for place in (path / part, path / f"{part}.tsv") if place.exists()), None)


class Samples(Dataset):
    """Texts as numbers of words, with their classes. `training`: a vocabulary may be made of them."""

    def __init__(self, path: Path, targets: bool = True, training: bool = False) -> None:
        if not path.exists():
            raise SystemExit(f"{path}: expected a folder per class, or a .tsv of labels and texts, found none")
        texts, labels = texts_of(path)
        names = sorted(set(labels))
        if not texts:
            raise SystemExit(f"{path}: expected .txt files in a folder per class, or lines of label<tab>text, found none")
        if targets and len(names) != CLASSES:
            raise SystemExit(f"{path}: expected {CLASSES} classes, found {len(names)}: {names[:5]}")
        words = vocabulary_of(path, texts if training else None)
        self.tokens = [torch.tensor([words.get(w, 1) for w in words_of(text)][:LENGTH]) for text in texts]
        self.labels = torch.tensor([names.index(label) for label in labels]) if targets else None

    def part(self, numbers: list[int]) -> "Samples":
        """Some of the samples."""
        part = Samples.__new__(Samples)
        part.tokens, part.labels = [self.tokens[i] for i in numbers], self.labels[numbers]
        return part

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitems__(self, numbers: list[int]) -> Tensor | tuple[Tensor, Tensor]:
        """A whole batch: (N, words) int64, zeros behind, and the classes."""
        tokens = pad_sequence([self.tokens[i].long() for i in numbers], batch_first=True)
        #: if fixed
        tokens = torch.nn.functional.pad(tokens, (0, LENGTH - tokens.shape[1]))
        #: end
        if self.labels is None:
            return tokens
        labels = self.labels[numbers]
        #: if binary
        return tokens, labels[:, None].float()
        #: else
        #: if one_hot
        return tokens, torch.nn.functional.one_hot(labels, CLASSES).float()
        #: else
        return tokens, labels
        #: end
        #: end


def collate(batch: Tensor | tuple[Tensor, Tensor]) -> Tensor | tuple[Tensor, Tensor]:
    """`Samples` makes whole batches."""
    return batch


def has_validation(path: Path) -> bool:
    """Whether the data brings a part for validation."""
    return place_of(path, "validation") is not None


def samples_of(path: Path, part: str, targets: bool = True) -> Samples:
    """The samples of a part: `train`, or `val` where the data brings it."""
    return Samples(place_of(path, "validation" if part == "val" else "train") or path, targets)


def parts(path: Path, validation_split: float, seed: int) -> tuple[Samples, Samples | None]:
    """(training, validation): two folders, or the split that text_dataset_from_directory makes with this seed."""
    samples = Samples(place_of(path, "train") or path, training=True)
    own = samples_of(path, "val") if has_validation(path) else None
    if own is not None or not validation_split:
        return samples, own
    order = list(range(len(samples)))
    np.random.RandomState(seed).shuffle(order)
    cut = len(order) - int(validation_split * len(order))
    return samples.part(order[:cut]), samples.part(order[cut:]) if cut < len(order) else None
