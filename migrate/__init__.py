"""tf2torch: saved Keras models -> PyTorch projects that stand alone.

>>> import migrate
>>> conversion = migrate.convert("model.keras", "out")  # also a keras.Model in memory
>>> model = migrate.load("out")  # nn.Module in eval mode
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from converters.errors import Gap, Gaps, UserError
from migrate.coexist import keep_apart
from migrate.version import __version__

if TYPE_CHECKING:
    import torch
    from torch import nn

    from migrate.backporting import Backport
    from migrate.inspection import Inspection
    from migrate.pipeline import Conversion
    from migrate.transferring import Transfer
    from migrate.verify.bundle import Bundle
    from migrate.verify.report import Report

__all__ = [
    "Gap", "Gaps", "UserError", "__version__",
    "capture", "backport", "convert", "inspect", "load", "scaffold", "transfer", "verify",
]  # fmt: skip

import migrate.scaffold as _scaffold_package  # noqa: F401
import migrate.verify as _package  # noqa: F401  # first: Python binds the name to the package when it is first imported

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
    flat: bool = False,
    overwrite: bool = False,
    weights: str | os.PathLike[str] | None = None,
    input_shape: tuple[int | None, ...] | None = None,
) -> Conversion:
    """Writes the PyTorch project of a model to `folder`; see `migrate.pipeline.Conversion` for what comes back.

    `name`: of the model's class. `exact`: equal to Keras in training too, where PyTorch's standard part differs.
    `flat`: one attribute for each Keras layer, under its Keras name, where repeated parts would become classes.
    Raises UserError (of which `Gaps` lists every layer that has no converter); nothing is written then.
    """
    keep_apart()
    from migrate.memory import on_disk
    from migrate.pipeline import convert_file

    with on_disk(model) as path:
        return convert_file(
            path, Path(folder), name=name, exact=exact, flat=flat, overwrite=overwrite,
            weights=_path(weights), input_shape=input_shape,
        )  # fmt: skip


def scaffold(
    model: Any = None,
    folder: str | os.PathLike[str] = "",
    *,
    script: str | os.PathLike[str] | None = None,
    script_args: Sequence[str] = (),
    trust: bool = False,
    python: str | os.PathLike[str] = "",
    timeout: float | None = None,
    max_data: float = 4.0,
    trainer: Literal["plain", "lightning"] = "plain",
    data: Literal["arrays", "images", "csv", "tfrecord", "text"] = "arrays",
    exact: bool = False,
    optimizer: str | None = None,
    loss: str | Mapping[str, str] | None = None,
    metrics: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    sample_weights: bool = False,
    callbacks: Sequence[str | Mapping[str, Any]] = (),
    class_weight: Mapping[int, float] | None = None,
    allow_todo: bool = False,
    name: str = "",
    flat: bool = False,
    overwrite: bool = False,
    weights: str | os.PathLike[str] | None = None,
    input_shape: tuple[int | None, ...] | None = None,
    progress: Callable[[str], None] | None = None,
    hear: Callable[[str], None] | None = None,
) -> Conversion:
    """Writes the PyTorch project of a model with a training project around it; what comes back is as of `convert`.

    `optimizer`, `loss`, `metrics`: names of Keras', instead of what the file says; losses and metrics may be tables by
    the names of outputs. `epochs` (10), `batch_size` (32): defaults of train.py. `sample_weights`: the data brings a
    weight for each sample. `callbacks`: as Keras takes them, each as "EarlyStopping(patience=3)" or as
    {"class_name": ..., "config": {...}}. `class_weight`: by the number of the class. `allow_todo`: losses, metrics and
    callbacks that are not Keras' own become marked places that raise. `flat`: as in `convert`. `progress` is told each
    step.

    Instead of a model, `script`: a Keras training script. With `trust` it is run, by the interpreter `python` and with
    `script_args`, up to its first `fit`; what that gets fills the project, its data (`max_data` gigabytes at most)
    included, where nothing else is said here. `timeout`: seconds without a sign of life; `hear` is told what it prints.
    See `migrate.observing.Observed` for what comes back.

    Raises UserError; nothing is written then.
    """
    keep_apart()
    from migrate.memory import on_disk
    from migrate.scaffold.fitting import parsed_callback
    from migrate.scaffold.plan import Options
    from migrate.scaffold.scaffold import scaffold_file

    if not os.fspath(folder):
        raise TypeError("scaffold needs a folder to write")
    names = tuple(metrics) if metrics is not None and not isinstance(metrics, Mapping) else metrics
    called = tuple(parsed_callback(one) if isinstance(one, str) else one for one in callbacks)
    options = Options(
        trainer, data, exact, optimizer, loss, names, epochs or 10, batch_size or 32, allow_todo, sample_weights,
        called, class_weight,
    )  # fmt: skip
    common: dict[str, Any] = {"name": name, "flat": flat, "overwrite": overwrite, "progress": progress or _silent}
    if script is None:
        with on_disk(model) as path:
            return scaffold_file(path, Path(folder), options, weights=_path(weights), input_shape=input_shape, **common)
    from migrate.observing import Script, scaffold_script

    if model is not None or weights is not None or input_shape is not None:
        raise UserError("a script brings its own model", remedy="leave out the model, --weights and --input-shape")
    said = {"epochs": epochs, "batch_size": batch_size, "callbacks": called, "class_weight": class_weight}
    run = Script(Path(script), tuple(script_args), trust, os.fspath(python), timeout, max_data, hear or _silent)
    return scaffold_script(run, Path(folder), options, stated={key for key, value in said.items() if value}, **common)


def _silent(line: str) -> None:
    """Says nothing."""


def load(folder: str | os.PathLike[str], *, dtype: torch.dtype | None = None) -> nn.Module:
    """The model of a converted folder, in eval mode.

    It computes in `dtype`, by default in the precision that the file stores; in float32 if that is half precision.
    """
    keep_apart()
    from migrate.loading import load_project

    return load_project(Path(folder), dtype=dtype)


def capture(
    model: Any,
    folder: str | os.PathLike[str],
    *,
    checks: Sequence[str] = (),
    dtypes: Sequence[str] = ("float64", "float32"),
    seed: int = 0,
    inputs: str | os.PathLike[str] | None = None,
    python: str | os.PathLike[str] = "",
    backend: Literal["tensorflow", "jax"] = "tensorflow",
    trust: bool = False,
    timeout: float | None = None,
    weights: str | os.PathLike[str] | None = None,
    input_shape: tuple[int | None, ...] | None = None,
) -> Bundle:
    """Runs the original in its own framework and records a reference bundle; see `migrate.verify.bundle.Bundle`.

    `checks`: what to record, everything by default. `inputs`: an .npz with inputs of your own, besides those that are
    drawn. `python`: the interpreter that has the original's framework. `trust`: code in the file may run.
    `timeout`: seconds without a sign of life. Raises UserError if the original cannot be run; nothing is written then.
    """
    keep_apart()
    from migrate.memory import on_disk
    from migrate.reference.capture import Options, capture_file

    options = Options.of(
        checks=checks, dtypes=dtypes, seed=seed, inputs=_path(inputs), python=os.fspath(python), backend=backend,
        trust=trust, timeout=timeout,
    )  # fmt: skip
    with on_disk(model) as path:
        return capture_file(path, Path(folder), options, weights=_path(weights), input_shape=input_shape)


def verify(
    model: Any,
    folder: str | os.PathLike[str],
    *,
    reference: str | os.PathLike[str] | None = None,
    checks: Sequence[str] = (),
    dtypes: Sequence[str] = ("float64", "float32"),
    device: Literal["cpu", "cuda"] = "cpu",
    compiled: bool = False,
    seed: int = 0,
    inputs: str | os.PathLike[str] | None = None,
    python: str | os.PathLike[str] = "",
    backend: Literal["tensorflow", "jax"] = "tensorflow",
    trust: bool = False,
    timeout: float | None = None,
    weights: str | os.PathLike[str] | None = None,
    input_shape: tuple[int | None, ...] | None = None,
) -> Report:
    """Compares a converted folder with the original; see `migrate.verify.report.Report`.

    `reference`: a bundle that `capture` recorded; without one the original is run now, as `capture` would, in a
    process of its own. `compiled`: torch.compile and torch.export are compared too. Raises UserError where the
    comparison cannot be made; that the two differ is no error but the report's result.
    """
    keep_apart()
    from migrate.memory import on_disk
    from migrate.reference.capture import Options
    from migrate.verify.run import Wanted, verify_file

    options = Options.of(
        checks=checks, seed=seed, inputs=_path(inputs), python=os.fspath(python), backend=backend, trust=trust,
        timeout=timeout,
    )  # fmt: skip
    wanted = Wanted(tuple(checks), tuple(dtypes), device, compiled)
    with on_disk(model) as path:
        return verify_file(
            path, Path(folder), wanted, options, reference=_path(reference), weights=_path(weights),
            input_shape=input_shape, in_memory=not isinstance(model, (str, os.PathLike)),
        )  # fmt: skip


def transfer(
    model: Any,
    folder: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    input_shape: tuple[int | None, ...] | None = None,
) -> Transfer:
    """Loads a newer checkpoint of the same model into a converted folder; see `migrate.transferring.Transfer`.

    `model`: as for `convert`, or a file of weights alone. Raises UserError that names the layer that does not fit;
    nothing is changed then.
    """
    keep_apart()
    from migrate.memory import on_disk
    from migrate.transferring import transfer_file

    with on_disk(model) as path:
        return transfer_file(path, Path(folder), weights=_path(weights), input_shape=input_shape)


def backport(
    folder: str | os.PathLike[str],
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    input_shape: tuple[int | None, ...] | None = None,
    overwrite: bool = False,
) -> Backport:
    """Writes PyTorch weights into `output`, a copy of the Keras file `model`; see `migrate.backporting.Backport`.

    `weights`: a checkpoint of the folder's model (`.safetensors`, or `.pt` with its state dict); by default those in
    the folder. Raises UserError where a weight has no place in the file; nothing is written then.
    """
    keep_apart()
    from migrate.backporting import backport_file

    return backport_file(
        Path(folder), Path(model), Path(output), weights=_path(weights), input_shape=input_shape, overwrite=overwrite
    )


def _path(path: str | os.PathLike[str] | None) -> Path | None:
    return Path(path) if path is not None else None
