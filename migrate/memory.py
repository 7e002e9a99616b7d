"""A model in memory is saved to a temporary file by its own framework, and read like any other."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from converters.errors import UserError


@contextmanager
def on_disk(model: Any) -> Iterator[Path]:
    """The path of a model: its own, or that of a copy that lives as long as the context."""
    if isinstance(model, (str, os.PathLike)):
        yield Path(model)
        return
    if not callable(getattr(model, "save", None)) or not hasattr(model, "layers"):
        raise UserError(
            "this is no model",
            expected="the path of a saved model, or a keras.Model",
            found=f"a {type(model).__name__}",
            remedy="save the model with model.save('model.keras') and pass the path",
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(str(path))
        yield path
