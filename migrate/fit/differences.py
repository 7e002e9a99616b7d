"""Where a model file and a project differ: the layer, what the project has, what the file has, the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from pathlib import Path
from typing import Any
from zlib import crc32

from converters.errors import UserError
from converters.weights import Leaf, Weight, from_json
from migrate.emit.project import checksums

CONVERT = "it is another model; convert it into a folder of its own: tf2torch convert"


def layer_of(migration: Mapping[str, Any], key: str) -> str:
    """`layer 'stem' (Conv2D)` to which a key of the state dict belongs; the key where it belongs to none."""
    owners = {
        module: f"layer {path!r} ({entry['class']})"
        for path, entry in migration["layers"].items()
        for module in entry["modules"]
        if key == module or key.startswith(f"{module}.")
    }
    return owners[max(owners, key=len)] if owners else f"the weight {key}"


def check_array(layer: str, expected: Leaf, found: Leaf) -> None:
    """One array of the file the project came from, and the one that takes its place."""
    if (expected.shape, expected.dtype) != (found.shape, found.dtype):
        raise differs(layer, _array(expected), f"{_array(found)} ({found.key})")


def check_weights(migration: Mapping[str, Any], found: Mapping[str, Weight], names: Mapping[str, str]) -> None:
    """The same tensors, made of arrays of the same shapes and dtypes. `names`: {layer of the project: in the file}."""
    expected = {key: from_json(data) for key, data in migration["weights"].items()}
    for key in [*expected, *(key for key in found if key not in expected)]:
        old, new = expected.get(key), found.get(key)
        if old is None or new is None or (old.shape, old.dtype) != (new.shape, new.dtype):
            raise differs(called(migration, key, names), _made_of(key, old), _made_of(key, new))


def called(migration: Mapping[str, Any], key: str, names: Mapping[str, str]) -> str:
    """The layer of a key, and what it is called in the file where that is another name."""
    layer = layer_of(migration, key)
    other = next((new for old, new in names.items() if layer.startswith(f"layer {old!r} ")), "")
    return f"{layer}, {other!r} in the file," if other else layer


def _made_of(key: str, weight: Weight | None) -> str:
    if weight is None:
        return f"no {key}"
    arrays = ", ".join(dict.fromkeys(map(_array, weight.leaves())))
    return f"{key} made of {arrays}" if arrays else f"{key}, a constant {_array(weight)}"


def _array(weight: Weight) -> str:
    return f"{list(weight.shape)} {weight.dtype}"


def check_interface(migration: Mapping[str, Any], document: Mapping[str, Any]) -> None:
    """Inputs and outputs of the same shapes, dtypes and orders of axes."""
    for kind in ("inputs", "outputs"):
        for old, new in zip_longest(migration[kind], document[kind]):
            if _port(old) != _port(new):
                raise differs(f"the model, in its {kind},", _port(old), _port(new))


def _port(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return "none"
    return f"{entry['keras_shape']} {entry['dtype']}, axes {entry['permute']}"


def check_text(
    folder: Path, migration: Mapping[str, Any], document: Mapping[str, Any], text: str, names: Mapping[str, str]
) -> None:
    """The text of model.py, as it would be emitted for the file, against the checksums of the one that was.

    Its first line names the file and does not count.
    """
    pairs = list(_changed(migration["lines"], checksums(text)))
    if pairs:
        told = [(old, new, list(_layers_at(document, text, new))) for old, new in pairs]
        old, new, layers = next((one for one in told if one[2]), told[0])  # an import says less than a layer
        shown = ", ".join(repr(names.get(path, path)) for path in layers[:3])
        who = f"layer {shown}" if layers else f"line {new} of model.py"
        raise differs(who, _line_of(folder, migration["lines"], old), _line(text, new))


def _changed(old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The numbers of lines that differ, the first line aside; 0 where there is no such line."""
    matcher = SequenceMatcher(None, old[1:], new[1:], autojunk=False)
    for kind, start, stop, first, last in matcher.get_opcodes():
        if kind != "equal":
            lines = zip_longest(range(start + 2, stop + 2), range(first + 2, last + 2), fillvalue=0)
            yield from lines


def _layers_at(document: Mapping[str, Any], text: str, number: int) -> Iterator[str]:
    """The paths of the layers that a line of a model.py calls, or whose module it makes."""
    made = re.match(r"self\.(\w+) = ", _line(text, number))
    for path, entry in document["layers"].items():
        attributes = {module.rpartition(".")[2] for module in entry["modules"]}
        if (made and made[1] in attributes) or (not made and any(line == number for _, line in entry["lines"])):
            yield path


def _line(text: str, number: int) -> str:
    return text.splitlines()[number - 1].strip() if number else "no such line"


def _line_of(folder: Path, checksums: Sequence[int], number: int) -> str:
    """A line of the project's model.py, where it is still the one that was emitted."""
    lines = (folder / "model.py").read_text().splitlines() if (folder / "model.py").exists() else []
    if number > len(lines) or (number and crc32(lines[number - 1].strip().encode()) != checksums[number - 1]):
        return f"line {number} of model.py as it was, before it was edited"
    return lines[number - 1].strip() if number else "no such line"


def differs(who: str, expected: str, found: str) -> UserError:
    return UserError(
        f"{who} is not what the project was made from; nothing was changed",
        expected=expected,
        found=found,
        remedy=CONVERT,
    )
