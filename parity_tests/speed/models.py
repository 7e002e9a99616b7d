"""Model files to measure with: keras.applications with random weights, saved by the reference worker."""

from __future__ import annotations

from pathlib import Path

from migrate.reference.client import Client


def saved(names: list[str], folder: Path) -> dict[str, Path]:
    """`.keras` files of applications models, made once."""
    paths = {}
    with Client() as client:
        for name in names:
            target = folder / name / "model.keras"
            if not target.exists():
                client.ask(do="save", model=f"model:keras.applications.{name}(weights=None)", folder=str(target.parent))
            paths[name] = target
    return paths
