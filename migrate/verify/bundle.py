"""The reference bundle: what the original computed, as a folder of json and safetensors.

Arrays are in the layout of Keras, inputs and outputs in its order; weights, gradients and slots stand under the path
of their array in the model file, in the file's layout, so that the weight expressions of `migration.json` map them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open

from converters.errors import UserError
from migrate.verify.records import (
    Array,
    Gradients,
    InputSet,
    Interface,
    LayerCall,
    Step,
    Training,
    WeightInfo,
    interface_of,
    layer_call_of,
    training_of,
)  # fmt: skip

T = TypeVar("T")
KIND = "tf2torch reference bundle"
FORMAT = 1
DOCUMENT = "bundle.json"
CHECKS = ("structure", "forward", "layers", "gradients", "training")
DTYPES = ("float64", "float32")
SENSITIVE = 1e-11  # as migrate/reference/original/session.py has it
FLOAT32_ROUNDING = 2.0**29  # as a multiple of float64's


class Bundle:
    """A reference bundle on disk. Opening reads `bundle.json` alone; arrays are read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.document = _document(folder)
        self._files: dict[str, Any] = {}

    # -- what it says about itself ---------------------------------------------------------------------

    @property
    def versions(self) -> Mapping[str, str]:
        """Of python, numpy, keras, the framework, and the name of the `backend`."""
        return dict(self.document["versions"])

    @property
    def origin(self) -> Mapping[str, str]:
        """`file`, `sha256`, `format` and `keras_version` of the model file."""
        return dict(self.document["origin"])

    @property
    def dtypes(self) -> tuple[str, ...]:
        return tuple(self.document["dtypes"])

    @property
    def checks(self) -> tuple[str, ...]:
        return tuple(self.document["checks"])

    @property
    def parameters(self) -> Mapping[str, int]:
        """`total` and `trainable`."""
        return dict(self.document["parameters"])

    @property
    def notes(self) -> list[str]:
        return list(self.document["notes"])

    @property
    def leaks(self) -> list[Mapping[str, Any]]:
        """What moves the original's own float64 run: `layer`, `op`, `what`, and the relative `size` as measured.

        `op` names what is left of float32 in it; `rounding`, where large numbers cancel, that of float64.
        """
        return list(self.document["leaks"])

    def limit(self, what: str, dtype: str, layer: str = "") -> float:
        """How far apart two right runs may be at least. `what`: `forward`, `layers`, `gradients, MODE`, `training`.

        What rounding does in float32 the original's own float32 run shows, but where it moves the outputs too.
        """
        coarser = FLOAT32_ROUNDING if max((one.rounding for one in self.sets), default=0.0) > SENSITIVE else 0.0
        sizes = [
            leak["size"] * (coarser if dtype == "float32" and leak["op"] == "rounding" else 1.0)
            for leak in self.leaks
            if (leak["what"], leak["layer"]) == (what, layer)
        ]
        return max(sizes, default=0.0)

    @cached_property
    def inputs(self) -> list[Interface]:
        return self._parsed(lambda: [interface_of(entry) for entry in self.document["inputs"]])

    @cached_property
    def outputs(self) -> list[Interface]:
        return self._parsed(lambda: [interface_of(entry) for entry in self.document["outputs"]])

    @cached_property
    def weights(self) -> Mapping[str, WeightInfo]:
        """Every array of the model file that the original loads, by its path."""
        entries = self.document["weights"]
        return self._parsed(
            lambda: {
                key: WeightInfo(e["variable"], tuple(e["shape"]), e["dtype"], e["trainable"])
                for key, e in entries.items()
            }
        )

    @cached_property
    def sets(self) -> list[InputSet]:
        return self._parsed(
            lambda: [InputSet(e["name"], int(e["batch"]), float(e.get("rounding", 0.0))) for e in self.document["sets"]]
        )

    def summary(self) -> dict[str, Any]:
        """What `capture --json` shows."""
        keys = ("versions", "origin", "seed", "dtypes", "checks", "sets", "parameters", "leaks", "notes")
        return {"ok": True, "folder": str(self.folder)} | {key: self.document.get(key) for key in keys}

    # -- forward ---------------------------------------------------------------------------------------

    def input_arrays(self, number: int) -> list[Array]:
        """The inputs of a set."""
        return self._row("inputs.safetensors", f"{number}/", len(self.inputs))

    def output_arrays(self, dtype: str, number: int) -> list[Array]:
        """The outputs for a set, in inference mode.

        Where the original squeezes every axis of size 1, for a batch of one that of the samples too: it is put back.
        """
        arrays = self._row("forward.safetensors", f"{dtype}/{number}/", len(self.outputs))
        lacking = [
            self.sets[number].batch == 1 and output.shape[:1] == (None,) and array.ndim + 1 == len(output.shape)
            for array, output in zip(arrays, self.outputs, strict=True)
        ]
        return [array[None] if lacks else array for array, lacks in zip(arrays, lacking, strict=True)]

    # -- layers ----------------------------------------------------------------------------------------

    @property
    def layer_set(self) -> int:
        """The set that the layer calls were recorded with."""
        return int(self._part("layers")["set"])

    @cached_property
    def layer_calls(self) -> list[LayerCall]:
        """Every call of a layer, in the order in which they were run."""
        calls = self._part("layers")["calls"]
        return self._parsed(lambda: [layer_call_of(entry) for entry in calls])

    def tensor(self, dtype: str, name: str) -> Array:
        """A tensor that a layer call names."""
        return self._array("layers.safetensors", f"{dtype}/{name}")

    # -- gradients -------------------------------------------------------------------------------------

    @property
    def gradient_set(self) -> int:
        return int(self._part("gradients")["set"])

    @property
    def modes(self) -> tuple[str, ...]:
        return tuple(self._part("gradients")["modes"])

    def without_gradient(self, mode: str) -> set[str]:
        """The paths of weights that the projected outputs do not depend on."""
        return set(self._part("gradients")["without"].get(mode, ()))

    def projections(self) -> list[Array | None]:
        """What each output is multiplied with before the sum is taken; None for one that is no float."""
        return self._gaps("gradients.safetensors", "projection/", len(self.outputs))

    def gradients(self, dtype: str, mode: str) -> Gradients:
        file, prefix = "gradients.safetensors", f"{dtype}/{mode}/"
        return Gradients(
            self._named(file, f"{prefix}weights/"),
            self._gaps(file, f"{prefix}inputs/", len(self.inputs)),
            self._row(file, f"{prefix}outputs/", len(self.outputs)),
            self._named(file, f"{prefix}state/"),
        )

    # -- training --------------------------------------------------------------------------------------

    @cached_property
    def training(self) -> Training | None:
        """None where the original could not be trained; `notes` say why."""
        part = self.document.get("training")
        return self._parsed(lambda: training_of(part)) if part is not None else None

    def batch(self, number: int) -> tuple[list[Array], list[Array]]:
        """(inputs, targets) of a training batch. Step s, counted from 1, trains on batch (s - 1) % batches."""
        file, prefix = "training.safetensors", f"batch/{number}/"
        targets = self._named(file, f"{prefix}target/")
        return self._row(file, f"{prefix}in/", len(self.inputs)), [targets[str(i)] for i in range(len(targets))]

    def step(self, dtype: str, number: int) -> Step:
        """What held after a recorded step."""
        file, prefix = "training.safetensors", f"{dtype}/{number}/"
        assert self.training is not None
        slots = {slot: self._named(file, f"{prefix}slots/{slot}/") for slot in self.training.slots}
        return Step(self._named(file, f"{prefix}weights/"), slots, self._named(file, f"{prefix}optimizer/"))

    # -- files -----------------------------------------------------------------------------------------

    def _part(self, name: str) -> Any:
        if self.document.get(name) is None:
            raise UserError(
                f"the reference bundle {self.folder} has no record of {name}",
                expected=f"a bundle with the check {name}",
                found=", ".join(self.checks),
                remedy=f"record it again: tf2torch capture MODEL -o BUNDLE --checks {name}",
            )
        return self.document[name]

    def _parsed(self, make: Callable[[], T]) -> T:
        try:
            return make()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise damaged(self.folder, f"{DOCUMENT} lacks or garbles {error}") from error

    def _open(self, file: str) -> Any:
        """The arrays of a file, which is compared with its checksum when it is first used."""
        if file in self._files:
            return self._files[file]
        path, stated = self.folder / file, self.document["files"].get(file)
        if stated is None:
            raise self._missing(file)
        if not path.is_file() or path.stat().st_size != stated["bytes"]:
            raise damaged(self.folder, f"{file} is missing or cut off")
        with path.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != stated["sha256"]:
                raise damaged(self.folder, f"{file} is not what was recorded (its sha256 differs)")
        try:
            self._files[file] = safe_open(path, framework="np")
        except SafetensorError as error:
            raise damaged(self.folder, f"{file}: {error}") from error
        return self._files[file]

    def _missing(self, file: str) -> UserError:
        return UserError(
            f"the reference bundle {self.folder} has no {file}",
            expected=f"a bundle with {file}",
            found=", ".join(self.document["files"]),
            remedy="record it again with tf2torch capture, with all checks",
        )

    def _array(self, file: str, key: str) -> Array:
        try:
            array: Array = self._open(file).get_tensor(key)
        except SafetensorError as error:
            raise damaged(self.folder, f"{file} has no array {key!r}") from error
        return array

    def _named(self, file: str, prefix: str) -> dict[str, Array]:
        opened = self._open(file)
        found = [key for key in opened.keys() if key.startswith(prefix)]  # noqa: SIM118  # it is no dict
        return {key.removeprefix(prefix): opened.get_tensor(key) for key in sorted(found)}

    def _row(self, file: str, prefix: str, count: int) -> list[Array]:
        return [self._array(file, f"{prefix}{i}") for i in range(count)]

    def _gaps(self, file: str, prefix: str, count: int) -> list[Array | None]:
        found = self._named(file, prefix)
        return [found.get(str(i)) for i in range(count)]


def _document(folder: Path) -> dict[str, Any]:
    """`bundle.json`, its outline checked."""
    try:
        document = json.loads((folder / DOCUMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{folder} is not a reference bundle",
            expected=f"a folder with {DOCUMENT}",
            found=str(error)[:200],
            remedy="tf2torch capture MODEL -o BUNDLE records one",
        ) from error
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise damaged(folder, f"{DOCUMENT} is not of a reference bundle")
    if document.get("format") != FORMAT:
        raise UserError(
            f"the reference bundle {folder} is of another format",
            expected=f"format {FORMAT}",
            found=f"format {str(document.get('format'))[:20]} of tf2torch {str(document.get('tf2torch'))[:20]}",
            remedy="record it again with this version: tf2torch capture MODEL -o BUNDLE",
        )
    outline = {
        "versions": dict, "origin": dict, "dtypes": list, "checks": list, "files": dict, "inputs": list,
        "outputs": list, "parameters": dict, "weights": dict, "sets": list, "leaks": list, "notes": list,
    }  # fmt: skip
    for key, kind in outline.items():
        if not isinstance(document.get(key), kind):
            raise damaged(folder, f"{DOCUMENT} has no {kind.__name__} {key!r}")
    for name, stated in document["files"].items():
        if Path(name).name != name or not isinstance(stated, dict) or not {"bytes", "sha256"} <= stated.keys():
            raise damaged(folder, f"{DOCUMENT} lists a file {name!r:.80}")
    return document


def damaged(folder: Path, found: str) -> UserError:
    return UserError(
        f"the reference bundle {folder} cannot be read",
        expected="a folder as tf2torch capture writes it",
        found=found,
        remedy="copy the whole folder again, or record it again: tf2torch capture MODEL -o BUNDLE",
    )
