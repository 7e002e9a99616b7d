"""A Keras training script -> training project: the script is run up to its first `fit`, and fills the project."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from converters.errors import UserError
from migrate.emit.literals import prose
from migrate.loading import read_migration
from migrate.pipeline import Conversion, Progress
from migrate.reference.client import SILENCE, Backend, Client
from migrate.scaffold.plan import Options
from migrate.scaffold.scaffold import scaffold_file
from migrate.write import check_free, new_folder

GIGABYTE = 1e9
RECORDED = ("epochs", "batch_size", "shuffle", "validation_split")  # as they are called in `Options`
ARRAYS = ("x", "y", "sample_weight")


@dataclass(frozen=True)
class Script:
    """How a script is run. `arguments`: its own. `python`: the interpreter that has its Keras, by default ours.

    `timeout`: seconds without a sign of life after which it counts as hung. `max_data`: gigabytes of arrays.
    `hear` is told what it prints.
    """

    path: Path
    arguments: Sequence[str] = ()
    trust: bool = False
    python: str = ""
    timeout: float | None = None
    max_data: float = 4.0
    hear: Callable[[str], None] = lambda line: None


@dataclass(frozen=True)
class Observed(Conversion):
    """A conversion, and what `fit` was given: `record` as the worker found it."""

    record: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        record = {key: value for key, value in self.record.items() if key not in ("model", "arrays")}
        arrays = {name: [[one["shape"], one["dtype"]] for one in many] for name, many in self.record["arrays"].items()}
        return {**super().to_json(), "script": {**record, "arrays": {name: a for name, a in arrays.items() if a}}}


def scaffold_script(
    script: Script,
    folder: Path,
    options: Options,
    *,
    stated: Collection[str] = (),
    name: str = "",
    flat: bool = False,
    overwrite: bool = False,
    progress: Progress = lambda step: None,
    client: Client | None = None,
) -> Observed:
    """Script -> folder of the training project with its data. Raises UserError; nothing is written then.

    `stated`: the fields of `options` that the user chose; they win over what the script says. `client`: a worker that
    runs already, for one script after the other; by default one is started for this.
    """
    check_script(script, options)
    check_free(folder, overwrite=overwrite)
    with (
        new_folder(folder, overwrite=overwrite, needed=0) as beside,
        tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=beside.parent) as scratch,  # arrays are renamed
    ):
        record = observe(script, Path(scratch), progress, client)
        done = scaffold_file(
            Path(record["model"]), beside, with_record(options, record, stated), name=name, flat=flat, overwrite=True,
            progress=progress,
        )  # fmt: skip
        progress("write data")
        put_data(record, beside)
        with (beside / "README.md").open("a", encoding="utf-8") as readme:
            readme.write("\n" + "\n".join(section(script, record)) + "\n")
        given = {part.name: getattr(done, part.name) for part in fields(done)}
        return Observed(**{**given, "folder": folder, "files": sorted([*done.files, "data"])}, record=record)


def check_script(script: Script, options: Options) -> None:
    """Raises UserError for a script that is none, or that may not be run."""
    if not script.path.is_file() or script.path.suffix == ".ipynb":
        notebook = script.path.suffix == ".ipynb" and script.path.exists()
        raise UserError(
            f"{script.path} is no script",
            expected="a Python program that trains a Keras model with fit",
            found="a notebook" if notebook else "a folder" if script.path.is_dir() else "no such file",
            remedy=f"jupyter nbconvert --to script {script.path}" if notebook else "check the path",
        )
    if options.data != "arrays":
        raise UserError(
            f"--data {options.data} does not go with --script",
            expected="--data arrays: what the script gives to fit is written as arrays",
            found=f"--data {options.data}",
            remedy="leave --data out",
        )
    if not script.trust:
        line = " ".join([script.python or "python", script.path.name, *script.arguments])
        raise UserError(
            "the script is not run, for the sake of safety",
            expected="--trust",
            found=f"what would be run, in {script.path.resolve().parent}: {line}",
            remedy="read the script; if you trust it, pass --trust: it is run up to its first fit",
        )


def observe(
    script: Script, scratch: Path, progress: Progress = lambda step: None, client: Client | None = None
) -> Mapping[str, Any]:
    """What `fit` was given; model and arrays lie in `scratch`. Raises UserError, by name, for what is not kept."""
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    with ExitStack() as stack:
        if client is None:
            client = stack.enter_context(started(script, progress))
        answer = client.ask(
            do="observe", script=str(script.path.resolve()), folder=str(scratch), limit=script.max_data * GIGABYTE,
            arguments=list(script.arguments), paths=paths,
        )  # fmt: skip
        if "refused" in answer:
            refused = dict(answer["refused"])
            if "SystemExit" in refused["found"]:
                refused["found"] += f"; it said: {' '.join(''.join(list(client.errors)[-2:]).split())[-300:]}"
            raise UserError(refused.pop("problem"), **refused)
    record: Mapping[str, Any] = answer["found"]
    return record


def started(script: Script, progress: Progress) -> Client:
    """A worker with the interpreter and the Keras backend of the user."""
    python = str(Path(script.python).expanduser()) if script.python else sys.executable
    backend: Backend = "jax" if os.environ.get("KERAS_BACKEND") == "jax" else "tensorflow"
    return Client(python, backend, script.timeout or SILENCE, progress, script.hear)


def with_record(options: Options, record: Mapping[str, Any], stated: Collection[str]) -> Options:
    """Options, where the user says nothing as the script has them."""
    found: dict[str, Any] = {name: record[name] for name in RECORDED}
    found["callbacks"] = tuple(record["callbacks"])
    if record["class_weight"] is not None:
        found["class_weight"] = dict(record["class_weight"])
    found["weighted"] = any(record["arrays"].get(f"sample_weight{suffix}") for suffix in ("", "_val"))
    return replace(options, **{name: value for name, value in found.items() if name not in stated})


# -- the data ----------------------------------------------------------------------------------------------


def put_data(record: Mapping[str, Any], project: Path) -> None:
    """The arrays as data/*.npy, under the names that the project's data.py has. Raises UserError where they misfit."""
    (project / "data").mkdir()
    data, migration = data_module(project), read_migration(project)
    names = {
        "x": named(data.INPUTS, migration["inputs"], record["inputs"]),
        "y": named(data.TARGETS, migration["outputs"], record["outputs"]),
        "sample_weight": ["sample_weight"],
    }
    weighted = any(record["arrays"].get(f"sample_weight{suffix}") for suffix in ("", "_val"))
    for suffix in ("", "_val"):
        for kind in ARRAYS:
            arrays = record["arrays"].get(kind + suffix, [])
            for name, array in zip(names[kind], arrays, strict=kind != "sample_weight" and bool(arrays)):
                os.rename(array["file"], project / "data" / f"{name}{suffix}.npy")
        counted = record["arrays"].get(f"y{suffix}")
        if weighted and counted and not record["arrays"].get(f"sample_weight{suffix}"):
            np.save(project / "data" / f"sample_weight{suffix}.npy", np.ones(counted[0]["shape"][0], "float32"))
    try:
        data.loaders(project / "data", batch_size=record["batch_size"], validation_split=record["validation_split"])
    except SystemExit as error:
        raise UserError(
            "what the script gives to fit does not fit the model",
            expected="arrays that the data.py of the project takes",
            found=str(error).replace(f"{project}{os.sep}", ""),
            remedy="check that the script trains when it is run by itself",
        ) from error


def named(table: Mapping[str, Any], ports: Sequence[Mapping[str, Any]], order: Sequence[str]) -> list[str]:
    """The names of the arrays, which come in the script's `order`, that data.py has by the order of the ports."""
    own = [port["keras_name"].partition(":")[0] for port in ports]
    if sorted(own) != sorted(order) or len(set(own)) != len(own):
        return list(table)
    by_name = dict(zip(own, table, strict=True))
    return [by_name[name] for name in order]


def data_module(project: Path) -> Any:
    """The data.py of a project."""
    module = ModuleType("data")
    exec(compile((project / "data.py").read_text(), str(project / "data.py"), "exec"), module.__dict__)
    return module


# -- what is said ------------------------------------------------------------------------------------------


def summary(record: Mapping[str, Any]) -> str:
    """`1,437 samples, 360 for validation, batches of 32, 5 epochs, EarlyStopping`."""
    count = record["arrays"]["y"][0]["shape"][0]
    parts = [f"{count:,} samples"]
    if validation := record["arrays"].get("y_val"):
        parts.append(f"{validation[0]['shape'][0]:,} for validation")
    if record["validation_split"]:
        parts.append(f"the last {record['validation_split']:.3g} of them for validation")
    parts += [f"batches of {record['batch_size']}", f"{record['epochs']} epochs"]
    parts += ["in order"] if not record["shuffle"] else []
    parts += ["class weights"] if record["class_weight"] else []
    parts += ["sample weights"] if record["arrays"].get("sample_weight") else []
    return ", ".join([*parts, *(prose(one["class_name"]) for one in record["callbacks"])])


def section(script: Script, record: Mapping[str, Any]) -> Iterator[str]:
    """The part of README.md that says where the project is from."""
    yield f"## From {prose(script.path.name)}"
    yield f"Recorded at `fit`, line {record['line']}: {summary(record)}."
    yield "The weights are those that the model had there, the arrays in `data` what `fit` was given."
    yield from (f"- {prose(note, 300)}" for note in record["notes"])
