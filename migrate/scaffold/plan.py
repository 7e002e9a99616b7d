"""All that there is to say about one training project: what the file knows, and what the user says."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from converters.arrangement import Flat
from converters.graph import Graph, Node, Value, values
from converters.training import Loss, Output, Variable
from migrate.emit.arguments import argument_names
from migrate.emit.project import Project, named_outputs
from migrate.outputs import output_names
from migrate.readers.vocabulary import dtype_name
from migrate.scaffold.slots import keras_path

DATA = ("arrays", "images", "csv", "tfrecord", "text")


@dataclass(frozen=True)
class Options:
    """What the user says about a training. None: what the file says, else a default.

    `loss`, `metrics`: by Keras' names, for all outputs or by the name of the output.
    `weighted`: the data brings a weight for each sample. `callbacks`: each a class name and the arguments that Keras
    takes, `{"class_name": "EarlyStopping", "config": {"patience": 3}}`. `class_weight`: by the number of the class.
    `validation_split`, `shuffle`: defaults of train.py.
    """

    trainer: Literal["plain", "lightning"] = "plain"
    data: str = "arrays"
    exact: bool = False
    optimizer: str | None = None
    loss: str | Mapping[str, str] | None = None
    metrics: tuple[str, ...] | Mapping[str, Sequence[str]] | None = None
    epochs: int = 10
    batch_size: int = 32
    allow_todo: bool = False
    weighted: bool = False
    callbacks: tuple[Mapping[str, Any], ...] = ()
    class_weight: Mapping[int, float] | None = None
    validation_split: float = 0.0
    shuffle: bool = True


@dataclass(frozen=True)
class Port:
    """One input or output of the model. Axis i of `shape` is axis `permute[i]` of `keras_shape`; the batch is None.

    `targets`, of an output: `classes` (int64, without the axis of classes), or `values` of its own shape and type.
    `masked`: Keras sends a mask along with it, which its loss obeys.
    """

    name: str
    keras_name: str
    shape: tuple[int | None, ...]
    keras_shape: tuple[int | None, ...]
    permute: tuple[int, ...] | None
    dtype: str
    targets: str = "values"
    masked: bool = False


@dataclass(frozen=True)
class Plan:
    """What the files of a training project are made from."""

    project: Project
    options: Options
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    activation: str
    images: bool
    batch_norms: bool
    version: tuple[int, ...]
    compiled: Mapping[str, Any] = field(default_factory=dict)
    calls: Mapping[str, Any] = field(default_factory=dict)  # of migration.json: where each layer has its output

    @property
    def class_name(self) -> str:
        return self.project.class_name

    @property
    def source(self) -> Graph:
        return self.project.source

    @property
    def data(self) -> str:
        return self.options.data

    @property
    def exact(self) -> bool:
        return self.options.exact

    @property
    def policy(self) -> str:
        """`mixed_float16`, `mixed_bfloat16` or nothing."""
        return policy_of(self.source)

    @property
    def weighted(self) -> bool:
        """Whether losses get weights, of samples or classes."""
        return self.options.weighted or bool(self.options.class_weight)


POLICIES = {"mixed_float16": "fp16", "mixed_bfloat16": "bf16"}  # as --precision of train.py


def policy_of(graph: Graph) -> str:
    """The mixed precision that layers of a file compute in; nothing where it has none."""
    for node in graph.nodes:
        assert isinstance(node, Node)
        if (name := dtype_name(node.layer.config.get("dtype"))) in POLICIES:
            return name
        if node.layer.graph is not None and (inner := policy_of(node.layer.graph)):
            return inner
    return ""


def interface(project: Project) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """The inputs, named as the arguments of `forward`, and the outputs, named as `compile` does."""
    inputs = values(project.graph.inputs)
    names = argument_names(project.graph)
    return (
        tuple(_port(name, value) for name, value in zip(names, inputs, strict=True)),
        tuple(map(_port, output_names(project.source.outputs), named_outputs(project))),
    )


def _port(name: str, value: Value) -> Port:
    order = None if isinstance(value.arrangement, Flat) else tuple(value.arrangement.axes)
    return Port(
        name, value.name, value.sizes, tuple(value.keras_shape), order, value.dtype, masked=value.mask is not None
    )


def activation_of(text: str, class_name: str) -> Literal["", "softmax", "sigmoid"]:
    """What `forward` applies to `logits(x)`, in the text of model.py; nothing where the class has no `logits`."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and node.name == class_name:
            methods = {part.name: part for part in node.body if isinstance(part, ast.FunctionDef)}
            if "logits" in methods:
                last = ast.unparse(methods["forward"].body[-1])
                return "sigmoid" if last.endswith(".sigmoid()") else "softmax"
    return ""


def output_of(port: Port, activation: str) -> Output:
    """An output as losses and metrics see it."""
    last = len(port.keras_shape) - 1
    axis = port.permute.index(last) if port.permute is not None else last
    axis = -1 if axis == last else axis
    return Output(port.shape, axis, activation, port.name, port.masked)  # type: ignore[arg-type]


def trainable_variables(project: Project) -> list[Variable]:
    """The parameters that learn, in the order of the state dict."""
    return [
        Variable(key, module.state[name], keras_path(module, name), module.constructor == "nn.Embedding")
        for key, module, name in project.names.state(project.graph)
        if name in module.learned and module.trainable
    ]


def with_targets(outputs: tuple[Port, ...], losses: Sequence[Loss]) -> tuple[Port, ...]:
    """The outputs, each with what its loss is compared with."""
    kinds = {loss.output or outputs[0].name: loss.targets for loss in losses}
    return tuple(replace(port, targets=kinds.get(port.name, "values")) for port in outputs)
