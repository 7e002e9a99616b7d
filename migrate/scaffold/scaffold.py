"""Model file -> training project: a conversion, and the training around it."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

from safetensors.numpy import save_file

from converters.errors import UserError
from converters.training.piece import HOMES
from migrate.outputs import by_key
from migrate.pipeline import (
    Conversion,
    Progress,
    Translation,
    check_name,
    class_name_for,
    count_layers,
    odd_weights,
    translate,
)
from migrate.readers import Source, read
from migrate.readers.version import parse_version
from migrate.scaffold import typed
from migrate.scaffold.data import data_files
from migrate.scaffold.expressions import definitions
from migrate.scaffold.lightning import for_lightning
from migrate.scaffold.plan import Options, Plan, activation_of, interface, trainable_variables, with_targets
from migrate.scaffold.readme import project_readme
from migrate.scaffold.slots import held_slots, optimizer_state
from migrate.scaffold.text import training_files
from migrate.scaffold.tools import tool_files
from migrate.scaffold.training import Training, training_of
from migrate.simplify import count_permutes
from migrate.write import check_free, nbytes, new_folder, write_safetensors


def scaffold_file(
    path: Path,
    folder: Path,
    options: Options,
    *,
    name: str = "",
    flat: bool = False,
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
        name = free_name(name, class_name_for(source))
        done = translate(source, name=name, exact=options.exact, flat=flat, progress=progress)
        progress("write training")
        plan, training = planned(source, done, options)
        files = project_files(done, plan, training)
        project, expressions = done.project, done.project.weights()
        progress("write weights")
        with new_folder(folder, overwrite=overwrite, needed=sum(map(nbytes, expressions.values()))) as beside:
            for file, text in files.items():
                (beside / file).write_text(text, encoding="utf-8")
            infinite = write_safetensors(beside / "weights.safetensors", expressions, source.arrays.read)
            if training.state:
                save_file(dict(training.state), beside / "optimizer.safetensors")
            written = sorted(file.name for file in beside.iterdir())
    return Conversion(
        folder, project.class_name, "direct", count_layers(source.graph), project.counts(),
        count_permutes(project.graph), time.perf_counter() - start, written, project.drift,
        notes=odd_weights(project, infinite),
    )  # fmt: skip


TAKEN = set(
    "Accelerator Any Averages Batches BinaryAUROC Call Callable Checkpoint Config DataLoader Dataset DistributedType "
    "Gradients Iterator Literal MetricCollection ModuleType MulticlassAccuracy NamedTuple Objective Path Port Run "
    "Sampler Samples Sequence Subset TensorBoardLogger Training WholeBatchNorm".split()
).union(typed.METRICS, *map(definitions, HOMES))


def free_name(stated: str, found: str) -> str:
    """A name for the class of the model that nothing in train.py and data.py has. Raises UserError for a stated one."""
    if stated in TAKEN:
        raise UserError(
            f"{stated!r} cannot be the name of the model here",
            expected="a name that nothing else in train.py has",
            found=stated,
            remedy=f"choose another --name, such as {stated}Model",
        )
    return stated or (f"{found}Model" if found in TAKEN else found)


def planned(source: Source, done: Translation, options: Options) -> tuple[Plan, Training]:
    """What the file and the user say, put together."""
    project = done.project
    inputs, outputs = interface(project)
    plan = Plan(
        project,
        options,
        inputs,
        outputs,
        activation=activation_of(done.text, project.class_name),
        images=".Conv2d(" in done.text or ".Conv3d(" in done.text,
        batch_norms="BatchNorm" in done.text,
        version=parse_version(source.keras_version) or (3,),
        compiled=by_key(source.training, source.graph.outputs),
        calls=json.loads(done.migration)["layers"],
    )
    training = training_of(plan)
    if options.trainer == "lightning":
        training = for_lightning(training)
    held = held_slots(source.arrays)
    if not options.optimizer and held and int(source.arrays.read(held[0])):  # the first one counts the steps
        variables = trainable_variables(project)
        state = optimizer_state(source, project, training.optimizer, variables, plan.version)
        training = replace(training, state=state)
    return replace(plan, outputs=with_targets(outputs, training.losses)), training


def project_files(done: Translation, plan: Plan, training: Training) -> dict[str, str]:
    """Every text of the project by its name."""
    return {
        "model.py": done.text,
        "migration.json": done.migration,
        "README.md": project_readme(plan, training),
        **training_files(plan, training),
        **tool_files(plan),
        **data_files(plan),
    }
