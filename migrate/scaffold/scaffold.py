"""Model file -> training project: a conversion, and the training around it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from migrate.emit.readme import readme
from migrate.pipeline import Conversion, Progress, Translation, check_name, count_layers, translate
from migrate.readers import Source, read
from migrate.readers.version import parse_version
from migrate.scaffold.data import data_files
from migrate.scaffold.plan import Options, Plan, activation_of, interface, with_targets
from migrate.scaffold.text import training_files
from migrate.scaffold.tools import tool_files
from migrate.scaffold.training import training_of
from migrate.simplify import count_permutes
from migrate.write import check_free, nbytes, new_folder, write_safetensors


def scaffold_file(
    path: Path,
    folder: Path,
    options: Options,
    *,
    name: str = "",
    overwrite: bool = False,
    weights: Path | None = None,
    input_shape: tuple[int | None, ...] | None = None,
    progress: Progress = lambda step: None,
) -> Conversion:
    """Model file -> folder of the training project. Raises UserError; nothing is written then."""
    start = time.perf_counter()
    check_name(name)
    check_free(folder, overwrite=overwrite)
    progress("read")
    with read(path, weights=weights, input_shape=input_shape) as source:
        done = translate(source, name=name, exact=options.exact, progress=progress)
        progress("write training")
        files = project_files(source, done, options)
        project, expressions = done.project, done.project.weights()
        progress("write weights")
        with new_folder(folder, overwrite=overwrite, needed=sum(map(nbytes, expressions.values()))) as beside:
            for file, text in files.items():
                (beside / file).write_text(text)
            write_safetensors(beside / "weights.safetensors", expressions, source.arrays.read)
            written = sorted(file.name for file in beside.iterdir())
    return Conversion(
        folder, project.class_name, "direct", count_layers(source.graph), project.counts(),
        count_permutes(project.graph), time.perf_counter() - start, written, project.drift,
    )  # fmt: skip


def project_files(source: Source, done: Translation, options: Options) -> dict[str, str]:
    """Every text of the project by its name."""
    project = done.project
    inputs, outputs = interface(project)
    activation = activation_of(done.text, project.class_name)
    version = parse_version(source.keras_version) or (3,)
    images = ".Conv2d(" in done.text or ".Conv3d(" in done.text
    norms = "BatchNorm" in done.text
    plan = Plan(project, options, inputs, outputs, activation, images, norms, version, source.training)
    training = training_of(plan)
    plan = replace(plan, outputs=with_targets(outputs, training.losses))
    return {
        "model.py": done.text,
        "migration.json": done.migration,
        "README.md": readme(project),
        **training_files(plan, training),
        **tool_files(plan),
        **data_files(plan),
    }
