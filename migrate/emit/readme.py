"""README.md of an emitted project: what the first day needs."""

from __future__ import annotations

from collections.abc import Iterator

from converters.errors import number_of
from converters.graph import Graph, Module, Node, Value, values
from migrate.emit.arguments import argument_names
from migrate.emit.literals import literal, marked, prose
from migrate.emit.project import Project, layer_entries, named_outputs
from migrate.emit.shapes import shape_text
from migrate.outputs import output_keys
from migrate.readers.vocabulary import dtype_name

PREPROCESSING = {"Rescaling", "Normalization", "Resizing", "CenterCrop"}


def readme(project: Project) -> str:
    """The whole text."""
    sections = [
        _head(project),
        _loading(project),
        _interface(project),
        _training(project),
        _speed(project.graph),
        _map(project),
    ]
    return "\n\n".join("\n".join(lines) for lines in map(list, sections) if lines) + "\n"


def _head(project: Project) -> Iterator[str]:
    origin = project.origin
    yield f"# {project.class_name}"
    yield ""
    yield (
        f"Converted from the Keras model `{marked(project.source.name)}` in `{marked(origin.file)}` ({origin.format}, "
        f"Keras {prose(origin.keras_version)}) by tf2torch {project.toolkit}."
    )
    yield "`model.py` is complete and imports torch only: copy it anywhere."
    yield "`migration.json` holds the map back to the Keras file."


def _loading(project: Project) -> Iterator[str]:
    name = project.class_name
    yield from ("## Use", "```python", "from safetensors.torch import load_file", "")
    yield from (f"from model import {name}", "", f"model = {name}()")
    yield 'model.load_state_dict(load_file("weights.safetensors"))'
    yield from ("model.eval()", "```")


def _interface(project: Project) -> Iterator[str]:
    inputs, outputs = values(project.graph.inputs), named_outputs(project)
    yield from ("## Inputs and outputs", "| | name | PyTorch | Keras | dtype |", "|---|---|---|---|---|")
    for name, value in zip(argument_names(project.graph), inputs, strict=True):
        yield _row("input", name, value)
    for value in outputs:
        yield _row("output", value.name, value)
    if keys := output_keys(project.source.outputs):
        yield ""
        yield f"`forward` returns a dict with the keys {', '.join(f'`{marked(key)}`' for key in keys)}."
    moved = [v for v in inputs if v.rank in (4, 5) and not v.arrangement.is_as_written]
    if moved:
        order = ", ".join(map(str, getattr(moved[0].arrangement, "axes", ())))
        yield ""
        yield f"Images are channels first: a batch as Keras took it becomes `x.permute({order})`."
    yield ""
    yield from _precision(project.source)
    yield from _preprocessing(project.source)


def _row(kind: str, name: str, value: Value) -> str:
    keras = "(" + ", ".join("None" if size is None else str(size) for size in value.keras_shape) + ")"
    return f"| {kind} | `{marked(name)}` | {shape_text(value)} | {keras} | {value.dtype} |"


def _precision(source: Graph) -> Iterator[str]:
    """What Keras computed in where that was not float32."""
    policies = {dtype_name(layer.config.get("dtype")) for layer in source.layers().values()} - {"float32"}
    if others := sorted(policy for policy in policies if "float" in policy):
        told = " and ".join(f"`{prose(policy)}`" for policy in others)
        yield f"In Keras the layers compute in {told}, here in float32: `torch.autocast` and `.double()` change that."


def _preprocessing(source: Graph) -> Iterator[str]:
    """What the model itself does to its input before the first layer that learns."""
    found, followed = [], set(values(source.inputs))
    for node in source.nodes:
        assert isinstance(node, Node)
        if node.layer.class_name not in PREPROCESSING or not followed.intersection(values((node.args, node.kwargs))):
            continue
        followed.update(v for v in node.outputs if v is not None)
        told = {k: v for k, v in node.layer.config.items() if k in ("scale", "offset", "mean", "variance", "axis")}
        settings = ", ".join(f"{key}={literal(value)}" for key, value in told.items() if value is not None)
        found.append(f"`{marked(node.layer.name)}` ({node.layer.class_name}: {prose(settings, 100)})")
    if found:
        yield f"Preprocessing inside the model: {', '.join(found)}. Feed it what you fed the Keras model."
    else:
        yield "The model does no preprocessing of its own."
    yield "What was done outside of it in Keras is not in the file: `preprocess_input`, a tokenizer, resizing."
    yield "Do it here too."


def _training(project: Project) -> Iterator[str]:
    counts = project.counts()
    yield "## Training"
    yield f"{number_of(counts['total'], 'parameter')}, {counts['trainable']:,} of them trainable, as in Keras."
    frozen = [path for path, entry in layer_entries(project) if not entry["trainable"]]
    if frozen:
        shown = ", ".join(f"`{marked(path)}`" for path in frozen[:12])
        shown += f" and {len(frozen) - 12} more" if len(frozen) > 12 else ""
        yield f"Frozen (`requires_grad=False`; BatchNorm stays in inference mode): {shown}."
    for what, layers in project.drift.items():
        where = number_of(len(layers), "layer")
        yield f"Differs from Keras, in {where}: {what}. `tf2torch convert --exact` emits what does not."


def _speed(graph: Graph) -> Iterator[str]:
    if any(".Conv2d" in module.constructor for module in _all_modules(graph)):
        yield "## Speed"
        yield "Convolutional networks run faster with channels last in memory:"
        yield "`model.to(memory_format=torch.channels_last)`, and the same for its input."


def _all_modules(graph: Graph) -> Iterator[Module]:
    for module in graph.modules:
        yield module
        if module.graph is not None:
            yield from _all_modules(module.graph)


def _map(project: Project) -> Iterator[str]:
    yield "## Keras layer → here"
    yield from ("| Keras | class | attribute, or class and line of `model.py` |", "|---|---|---|")
    for path, entry in layer_entries(project):
        attributes = ", ".join(f"`{module}`" for module in entry["modules"])
        lines = ", ".join(f"{name}, line {line}" for name, line in entry["lines"][:2])
        yield f"| `{marked(path)}` | {marked(entry['class'])} | {attributes or lines or 'nothing to do'} |"
