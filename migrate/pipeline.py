"""The table of contents: read, lower, simplify, name, emit, check, write."""

from __future__ import annotations

import keyword
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from converters.errors import Gap, UserError, number_of
from converters.graph import Graph, Node
from migrate.blocks import canonical
from migrate.emit.names import class_name_of, says_nothing
from migrate.emit.project import Origin, Project, migration_json
from migrate.emit.readme import readme
from migrate.emit.sites import sites_of
from migrate.emit.written import write
from migrate.lower import lower
from migrate.lower.ties import with_ties
from migrate.readers import Source, read
from migrate.simplify import count_permutes, simplify
from migrate.version import __version__
from migrate.write import check_free, nbytes, new_folder, write_safetensors

Progress = Callable[[str], None]
RESERVED_CLASSES = {"Module", "Tensor", "nn", "F", "torch", "math", "Self"}


@dataclass(frozen=True)
class Conversion:
    """What a conversion did, as `convert --json` shows it."""

    folder: Path
    class_name: str
    route: str
    layers: int
    parameters: dict[str, int]
    permutes: int
    seconds: float
    files: list[str]
    drift: Mapping[str, list[str]] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": not self.gaps, "route": self.route, "layers": self.layers,
            "gaps": [gap.to_json() for gap in self.gaps], "parameters": self.parameters, "permutes": self.permutes,
            "seconds": round(self.seconds, 3), "files": self.files, "notes": self.notes,
        }  # fmt: skip


def convert_file(
    path: Path,
    folder: Path,
    *,
    name: str = "",
    exact: bool = False,
    flat: bool = False,
    overwrite: bool = False,
    weights: Path | None = None,
    input_shape: tuple[int | None, ...] | None = None,
    progress: Progress = lambda step: None,
) -> Conversion:
    """Model file -> folder of the emitted project. Raises UserError; nothing is written then."""
    start = time.perf_counter()
    check_name(name)
    check_free(folder, overwrite=overwrite)
    progress("read")
    with read(path, weights=weights, input_shape=input_shape) as source:
        done = translate(source, name=name, exact=exact, flat=flat, progress=progress)
        project, expressions = done.project, done.project.weights()
        progress("write weights")
        with new_folder(folder, overwrite=overwrite, needed=sum(map(nbytes, expressions.values()))) as beside:
            (beside / "model.py").write_text(done.text)
            (beside / "migration.json").write_text(done.migration)
            (beside / "README.md").write_text(readme(project), encoding="utf-8")
            infinite = write_safetensors(beside / "weights.safetensors", expressions, source.arrays.read)
            files = sorted(file.name for file in beside.iterdir())
    return Conversion(
        folder, project.class_name, "direct", count_layers(source.graph), project.counts(),
        count_permutes(project.graph), time.perf_counter() - start, files, project.drift,
        notes=odd_weights(project, infinite),
    )  # fmt: skip


@dataclass(frozen=True)
class Translation:
    """A model file as a PyTorch project of which nothing is written yet: model.py and migration.json as texts."""

    project: Project
    text: str
    migration: str


def translate(
    source: Source,
    *,
    name: str = "",
    exact: bool = False,
    flat: bool = False,
    progress: Progress = lambda step: None,
) -> Translation:
    """The project of an opened model file. Raises UserError, of which `Gaps` lists what has no converter."""
    progress("convert")
    lowered = lower(source.graph, exact=exact)
    graph = canonical(with_ties(simplify(lowered.graph), source.graph))
    check_nothing_lost(source, graph)
    progress("write source")
    model = "a Keras model" if says_nothing(source.graph.name) else f"the Keras model {source.graph.name!r}"
    title = f"Converted from {model} (Keras {source.keras_version})."
    done = write(graph, name or class_name_for(source), title, blocks=not flat)
    origin = Origin(source.path.name, source.sha256(), source.format, source.keras_version)
    text, places = done.text.text, done.text.places
    project = Project(origin, __version__, source.graph, done.graph, done.names, places, lowered.drift)
    sites = sites_of(done.model, source.graph, graph, project.weights())
    return Translation(project, text, migration_json(project, text, sites))


def check_name(name: str) -> None:
    """A class name that the user asks for must be one."""
    if name and (not name.isidentifier() or not name.isascii() or keyword.iskeyword(name) or name in RESERVED_CLASSES):
        raise UserError(
            f"{name!r} cannot be the name of a class",
            expected="letters, digits and underscores, no keyword, no name that model.py imports",
            found=repr(name),
            remedy="choose another --name",
        )


def check_nothing_lost(source: Source, graph: Graph) -> None:
    """Every array of the file has become part of the model. Raises UserError that names those that have not."""
    left = sorted(set(source.weights) - used_arrays(graph))
    if left:
        raise UserError(
            f"no layer of its architecture has a place for {number_of(len(left), 'array')} of {source.path.name}",
            expected="every array of the file to be a weight of a layer",
            found=", ".join(left[:5]) + (" ..." if len(left) > 5 else ""),
            remedy="check that the weights belong to this architecture",
        )


def used_arrays(graph: Graph) -> set[str]:
    """The paths of the arrays that a lowered model is made of."""
    used = {leaf.key for module in graph.modules for weight in module.state.values() for leaf in weight.leaves()}
    return used.union(*(used_arrays(module.graph) for module in graph.modules if module.graph is not None))


def odd_weights(project: Project, infinite: Collection[str]) -> list[str]:
    """Notes on weights of which nobody can be sure that they are meant. `infinite`: names of those not finite."""
    notes = []
    for key, module, name in project.names.state(project.graph):
        layer, dtype = f"layer {module.origin!r}", module.state[name].dtype
        if key in infinite:
            notes.append(f"{key} ({layer}) holds NaN or infinite numbers, as the file does")
        if name in module.learned and not dtype.startswith(("float", "bfloat")):
            notes.append(f"{key} ({layer}) is {dtype} in the file, where a weight that learns is expected to be float")
    return notes


def class_name_for(source: Source) -> str:
    """From the model's own name, or that of its file where Keras made the name up."""
    from_file = class_name_of(source.path.stem, "Model")
    return class_name_of(source.graph.name, from_file)


def count_layers(graph: Graph) -> int:
    """The layers and ops of a model, those of nested models counted instead of the model."""
    layers = {node.layer for node in graph.nodes if isinstance(node, Node)}
    return sum(count_layers(layer.graph) if layer.graph is not None else 1 for layer in layers)
