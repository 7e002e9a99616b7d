"""A newer Keras checkpoint of the same model -> the weights of a project. model.py and what else is there stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from migrate.emit.project import by_line
from migrate.fit import layer_of, open_match
from migrate.loading import read_migration
from migrate.readers import Shape
from migrate.write import nbytes, replaced, write_safetensors

# What a project holds that was made from the old weights, and what to do about it.
STALE = {
    "reference.safetensors": "test_parity.py compares with the old weights: run tf2torch verify again",
    "optimizer.safetensors": "that of the old weights: python train.py --no-keep-optimizer-state, or scaffold again",
}


@dataclass(frozen=True)
class Transfer:
    """What a transfer did, as `transfer --json` shows it.

    `renamed`: layers that have other names in the newer file, {there: in the project}. `notes`: what is stale now.
    """

    folder: Path
    file: str
    sha256: str
    tensors: int
    renamed: Mapping[str, str]
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": True, "project": str(self.folder), "file": self.file, "sha256": self.sha256,
            "tensors": self.tensors, "renamed": dict(self.renamed), "notes": self.notes,
        }  # fmt: skip


def transfer_file(
    path: Path, folder: Path, *, weights: Path | None = None, input_shape: Shape | None = None
) -> Transfer:
    """Loads a model file, or weights alone, into a project. Raises UserError that names what does not fit.

    Everything is checked first. Each file is replaced by one rename, weights.safetensors before migration.json.
    """
    before = read_migration(folder)["origin"]["sha256"]
    with open_match(path, folder, weights=weights, input_shape=input_shape) as match:
        needed = sum(map(nbytes, match.weights.values()))
        with (
            replaced(folder / "migration.json") as document,
            replaced(folder / "weights.safetensors", needed=needed) as tensors,
        ):
            infinite = write_safetensors(tensors, match.weights, match.arrays.read)
            document.write_text(by_line(match.migration) + "\n")
        origin = match.migration["origin"]
        notes = [_verified_by(origin)] if origin["sha256"] != before or "weights" in origin else []
        layers = {key: layer_of(match.migration, key) for key in infinite}
        notes += [f"{key} ({layer}) holds NaN or infinite numbers, as the file does" for key, layer in layers.items()]
        notes += [f"{name}: {what}" for name, what in STALE.items() if (folder / name).exists()]
        return Transfer(folder, origin["file"], origin["sha256"], len(match.weights), match.renamed, notes)


def _verified_by(origin: Mapping[str, Any]) -> str:
    """What tf2torch verify wants as the original of the weights that a project has now."""
    if origin["format"] == "weights":
        return f"tf2torch verify takes no weights alone: transfer model.json --weights {origin['file']} to verify them"
    weights = f" --weights {origin['weights']}" if "weights" in origin else ""
    return f"tf2torch verify compares with {origin['file']}{weights} from now on, whose weights these are"
