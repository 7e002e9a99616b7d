"""data.py of a training project: a template for each kind of data, and the loaders that all of them share."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from math import prod

from converters.errors import UserError
from converters.graph import Graph, Node
from migrate.emit.literals import literal, prose
from migrate.emit.names import identifier
from migrate.outputs import output_keys
from migrate.scaffold.expressions import tidy
from migrate.scaffold.fill import filled
from migrate.scaffold.plan import Plan, Port

Files = dict[str, str]
IMAGE_CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}
PREPROCESSING = {"Rescaling", "Normalization", "Resizing", "CenterCrop"}


def data_files(plan: Plan) -> Files:
    """The texts of data.py and what goes with it, by name. Raises UserError where the data cannot fit the model."""
    flags = {"binary", "one_hot"} & {_label_mode(plan)}
    places = {
        "arrays": _arrays, "images": _images, "csv": _csv, "tfrecord": _tfrecord, "text": _text,
    }[plan.data](plan)  # fmt: skip
    flags |= {"images"} if any(map(_is_image, plan.inputs)) else set()
    flags |= {"fixed"} if places.get("LENGTH", "None") != "None" else set()
    text = filled(f"data_{plan.data}.py", places, flags) + filled("data_loaders.py", {}, flags)
    files = {"data.py": tidy(text)}
    if plan.data == "tfrecord":
        files["to_webdataset.py"] = tidy(filled("data_to_webdataset.py", {}, set()))
    return files


def data_requirements(plan: Plan) -> list[str]:
    """The packages that data.py needs beside torch and numpy."""
    images = plan.data == "images" or (plan.data == "tfrecord" and any(map(_is_image, plan.inputs)))
    return (["pillow"] if images else []) + (["protobuf"] if plan.data == "tfrecord" else [])


def data_readme(plan: Plan) -> str:
    """The section of README.md that says what data train.py takes: what data.py says of itself."""
    said = ast.get_docstring(ast.parse(data_files(plan)["data.py"])) or ""
    lines = ["## Data", "", said]
    if output_keys(plan.source.outputs):
        lines += ["", "Targets and predictions are named by the keys of the dict that `forward` returns."]
    if plan.data == "tfrecord":
        lines += ["", "`python to_webdataset.py data train.tar` writes the records into a WebDataset, once."]
    return "\n".join(lines) + "\n"


# -- kinds -----------------------------------------------------------------------------------------------


def _arrays(plan: Plan) -> dict[str, str]:
    inputs, targets = _named(plan.inputs, "x"), _named(plan.outputs, "y")
    files = [_file(name, port, target=False) for name, port in inputs.items()]
    files += [_file(name, port, target=True) for name, port in targets.items()]
    single = "x.npy and y.npy (or an .npz with x and y)"
    several = len(inputs) + len(targets) > 2
    return {
        "ARRAYS": "these .npy files (or an .npz with these names)" if several else single,
        "INPUTS": _table(inputs, target=False),
        "TARGETS": _table(targets, target=True),
        "FILES": "\n".join(files),
    }


def _named(ports: tuple[Port, ...], name: str) -> dict[str, Port]:
    """`x`, or `x_<input>` where there are several: a name of a file, whatever the model file calls it."""
    if len(ports) == 1:
        return {name: ports[0]}
    plain = [identifier(port.name) or str(number) for number, port in enumerate(ports, 1)]
    return {
        f"{name}_{own}" if plain.count(own) == 1 else f"{name}_{own}_{number}": port
        for number, (own, port) in enumerate(zip(plain, ports, strict=True), 1)
    }


def _file(name: str, port: Port, *, target: bool) -> str:
    classes = target and port.targets == "classes"
    shape = ", ".join(["N", *("any" if size is None else str(size) for size in _target_shape(port) if target or size)])
    if not target:
        shape = ", ".join(["N", *("any" if size is None else str(size) for size in port.keras_shape[1:])])
    what = f"numbers of classes, 0 to {_classes(port) - 1}" if classes else port.dtype
    return f"    {name}.npy  ({shape}) {what}: {prose(port.keras_name)}"


def _csv(plan: Plan) -> dict[str, str]:
    _check_sizes(plan)
    inputs = {port.name: port for port in plan.inputs}
    targets = {port.name: port for port in plan.outputs}
    widths = [f"{prod(_sizes(port.keras_shape))} of `{prose(port.keras_name)}`" for port in plan.inputs]
    labels = [_label_of(port, plan) for port in plan.outputs]
    return {
        "INPUTS": _table(inputs, target=False),
        "TARGETS": _table(targets, target=True, one_hot=_label_mode(plan) == "one_hot"),
        "FILES": f"Columns in the order of the model's inputs ({', '.join(widths)}), then the targets:\n"
        f"{', '.join(labels)}. Optional: a column sample_weight.",
    }


def _label_of(port: Port, plan: Plan) -> str:
    if port.targets == "classes" or _label_mode(plan) == "one_hot":
        return f"one column of {_classes(port)} classes, as numbers or names"
    return f"{prod(_sizes(port.keras_shape))} of numbers"


def _tfrecord(plan: Plan) -> dict[str, str]:
    return {
        "INPUTS": _table({port.name: port for port in plan.inputs}, target=False),
        "TARGETS": _table(
            {port.name: port for port in plan.outputs}, target=True, one_hot=_label_mode(plan) == "one_hot"
        ),
    }


def _images(plan: Plan) -> dict[str, str]:
    port = plan.inputs[0]
    if len(plan.inputs) != 1 or len(plan.outputs) != 1 or not _is_image(port):
        raise _unfit(plan, "one input of images (rows, columns, 1, 3 or 4 channels) and one output")
    first = port.keras_shape[-1] not in IMAGE_CHANNELS  # channels first in Keras too
    rows, columns = port.keras_shape[2:] if first else port.keras_shape[1:3]
    # read_image makes (channels, rows, columns): axis i of what the model takes is axis order[i] of that.
    keras = (0, 1, 2) if first else (1, 2, 0)
    order = tuple(keras[axis] for axis in _order(port))
    inside = [f"{prose(n.layer.name)} ({prose(n.layer.class_name)})" for n in _nodes(plan.source) if _prepares(n)]
    random = [f"{prose(n.layer.name)} ({prose(n.layer.class_name)})" for n in _nodes(plan.source) if _augments(n)]
    return {
        "SIZE": literal((rows or 224, columns or 224)),
        "MODE": literal(IMAGE_CHANNELS[port.keras_shape[1 if first else -1] or 3]),
        "CLASSES": literal(_class_count(plan)),
        "ORDER": "" if order == (0, 1, 2) else f".permute{order}",
        "PREPROCESSING": f"the model itself has {', '.join(inside)}."
        if inside
        else "the model itself does no scaling.",
        "AUGMENTATION": f"# The model itself has {', '.join(random)}." if random else "",
    }


def _text(plan: Plan) -> dict[str, str]:
    port = plan.inputs[0]
    if len(plan.inputs) != 1 or len(plan.outputs) != 1 or len(port.shape) != 2 or port.dtype.startswith("float"):
        raise _unfit(plan, "one input of whole numbers, (words), and one output")
    words = next((n.layer.config.get("input_dim") for n in _nodes(plan.source) if n.op == "layers.Embedding"), None)
    return {
        "LENGTH": literal(port.keras_shape[1]),
        "WORDS": literal(words),
        "CLASSES": literal(_class_count(plan)),
    }


# -- ports -----------------------------------------------------------------------------------------------


def _table(ports: Mapping[str, Port], *, target: bool, one_hot: bool = False) -> str:
    """`{"x": Port((8, 8, 1), torch.float32, (2, 0, 1))}`."""
    entries = [f"{literal(name)}: {_port(port, target, one_hot)}" for name, port in ports.items()]
    return "{" + ", ".join(entries) + "}"


def _port(port: Port, target: bool, one_hot: bool) -> str:
    classes = target and port.targets == "classes"
    shape, order = _target_shape(port) if target else port.keras_shape[1:], _order(port)
    if classes:
        last = len(order) - 1  # the axis of classes, which targets do not have
        order = tuple(axis for axis in order if axis != last)
    whole = port.dtype.startswith(("int", "uint", "bool"))
    dtype = "int64" if classes or whole else "float32"
    given = [literal(shape), f"torch.{dtype}", literal(order)]
    given += [str(_classes(port))] if classes or (one_hot and target) else []
    given += ["one_hot=True"] if one_hot and target and not classes else []
    return f"Port({', '.join(given)})"


def _target_shape(port: Port) -> tuple[int | None, ...]:
    """Of one target, in Keras' order of axes."""
    return port.keras_shape[1:-1] if port.targets == "classes" else port.keras_shape[1:]


def _order(port: Port) -> tuple[int, ...]:
    """The Keras axis of each axis of one sample."""
    permute = port.permute or tuple(range(len(port.keras_shape)))
    return tuple(axis - 1 for axis in permute[1:])


def _classes(port: Port) -> int:
    return port.keras_shape[-1] or 0


def _class_count(plan: Plan) -> int | None:
    """How many classes a folder for each of them must have; a single sigmoid tells two apart."""
    port = plan.outputs[0]
    if len(port.keras_shape) != 2 or (port.targets == "values" and _label_mode(plan) == ""):
        raise _unfit(plan, "an output of one value for each class")
    return 2 if _label_mode(plan) == "binary" else port.keras_shape[-1]


def _label_mode(plan: Plan) -> str:
    """What a class becomes: its number, `binary` 0.0 or 1.0, or `one_hot`."""
    port = plan.outputs[0]
    if len(plan.outputs) != 1 or len(port.keras_shape) != 2 or port.targets == "classes":
        return ""
    if port.keras_shape[-1] == 1:
        return "binary"
    return "one_hot" if plan.activation == "softmax" or plan.data in ("images", "text") else ""


def _sizes(shape: tuple[int | None, ...]) -> list[int]:
    return [size or 0 for size in shape[1:]]


def _check_sizes(plan: Plan) -> None:
    if any(None in port.keras_shape[1:] for port in (*plan.inputs, *plan.outputs)):
        raise _unfit(plan, "inputs and outputs of fixed sizes")


def _is_image(port: Port) -> bool:
    shape = port.keras_shape
    return len(shape) == 4 and port.dtype.startswith(("float", "uint8")) and bool({shape[-1], shape[1]} & {1, 3, 4})


def _nodes(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        assert isinstance(node, Node)
        yield node
        if node.layer.graph is not None:
            yield from _nodes(node.layer.graph)


def _prepares(node: Node) -> bool:
    return node.layer.class_name in PREPROCESSING


def _augments(node: Node) -> bool:
    return node.layer.class_name.startswith("Random")


def _unfit(plan: Plan, expected: str) -> UserError:
    found = ", ".join(f"{port.name} {list(port.keras_shape[1:])}" for port in (*plan.inputs, *plan.outputs))
    return UserError(
        f"--data {plan.data} does not fit the model",
        expected=expected,
        found=found,
        remedy="choose another kind of data, or --data arrays and make the arrays yourself",
    )
