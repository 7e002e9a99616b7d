"""tf2torch: saved Keras models -> PyTorch projects that stand alone.

>>> import migrate
>>> conversion = migrate.convert("model.keras", "out")  # also a keras.Model in memory
>>> model = migrate.load("out")  # nn.Module in eval mode
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.errors import Gap, Gaps, UserError
from migrate.coexist import keep_apart
from migrate.version import __version__

if TYPE_CHECKING:
    import torch
    from torch import nn

    from migrate.inspection import Inspection
    from migrate.pipeline import Conversion

__all__ = ["Gap", "Gaps", "UserError", "__version__", "convert", "inspect", "load"]

keep_apart()


def inspect(
    model: Any,
    *,
    weights: str | os.PathLike[str] | None = None,
    input_shape: tuple[int | None, ...] | None = None,
) -> Inspection:
    """What is in a model and what `convert` would do with it; see `migrate.inspection.Inspection`.

    `model`: the path of a `.keras`, `.h5` or architecture `.json` file (the latter with `weights`), or a keras.Model.
    `input_shape`: of one sample, where the file does not state it. Raises UserError if it cannot be read.
    """
    keep_apart()
    from migrate.inspection import inspect_file
    from migrate.memory import on_disk

    with on_disk(model) as path:
        return inspect_file(path, weights=_path(weights), input_shape=input_shape)


def convert(
    model: Any,
    folder: str | os.PathLike[str],
    *,
    name: str = "",
    exact: bool = False,
    overwrite: bool = False,
    weights: str | os.PathLike[str] | None = None,
    input_shape: tuple[int | None, ...] | None = None,
) -> Conversion:
    """Writes the PyTorch project of a model to `folder`; see `migrate.pipeline.Conversion` for what comes back.

    `name`: of the model's class. `exact`: equal to Keras in training too, where PyTorch's standard part differs.
    Raises UserError (of which `Gaps` lists every layer that has no converter); nothing is written then.
    """
    keep_apart()
    from migrate.memory import on_disk
    from migrate.pipeline import convert_file

    with on_disk(model) as path:
        return convert_file(
            path, Path(folder), name=name, exact=exact, overwrite=overwrite,
            weights=_path(weights), input_shape=input_shape,
        )  # fmt: skip


def load(folder: str | os.PathLike[str], *, dtype: torch.dtype | None = None) -> nn.Module:
    """The model of a converted folder, in eval mode. `dtype` builds it in another precision from the start."""
    keep_apart()
    from migrate.loading import load_project

    return load_project(Path(folder), dtype=dtype)


def _path(path: str | os.PathLike[str] | None) -> Path | None:
    return Path(path) if path is not None else None
