"""Runs a lowered graph, call by call. Lowering does so to learn shapes, the self-check to compare with the text."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from converters import local
from converters.graph import Call, Function, Graph, Module, Tree, Value, leaves, map_tree, values
from converters.weights import numpy_dtype
from migrate.recurrence import WholeRecurrences

OPERATORS: dict[str, Callable[..., Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "**": operator.pow, "@": operator.matmul, "==": operator.eq, "!=": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "&": operator.and_,
    "|": operator.or_, "^": operator.xor, "~": operator.invert, "neg": operator.neg, "[]": operator.getitem,
}  # fmt: skip

Instances = Mapping[str, Any]
Watch = Callable[["ModelInstance", Mapping[Value, Any]], None]


def torch_dtype(name: str) -> torch.dtype:
    """numpy's name of a dtype -> torch's."""
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def resolve(target: str) -> Callable[..., Any]:
    """`F.relu`, `torch.cat`, `nn.Conv2d` or `local.Name` -> the function or class."""
    space, _, name = target.partition(".")
    if space == "local":
        found: Any = local.find(name)
        return found  # type: ignore[no-any-return]  # what it is depends on the name
    found = {"F": F, "torch": torch, "nn": nn}[space]
    for part in name.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]  # what it is depends on the name


def resolve_function(leaf: Any) -> Any:
    """The function that an argument of a constructor names; anything else as it is."""
    if not isinstance(leaf, Function):
        return leaf
    function = resolve(leaf.target)
    return partial(function, **dict(leaf.options)) if leaf.options else function


def instantiate(module: Module) -> Any:
    """The torch module, parameter or buffer of one attribute, on the meta device."""
    if module.graph is not None:
        return ModelInstance(module.graph)
    if module.constructor in ("parameter", "buffer"):
        shape, dtype = module.args
        numpy_dtype(dtype)  # refuses what is no dtype
        learns = module.constructor == "parameter" and module.trainable  # torch chooses kernels by it
        return torch.empty(shape, dtype=torch_dtype(dtype), device="meta", requires_grad=learns)
    args, kwargs = map_tree(resolve_function, (module.args, dict(module.kwargs)))
    with torch.device("meta"):
        instance = resolve(module.constructor)(*args, **kwargs)
    instance.eval()
    return instance


class ModelInstance:
    """A nested model: its own attributes and its graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.watch: Watch = lambda instance, environment: None
        self.instances = {module.key: instantiate(module) for module in graph.modules}
        for target, source in graph.ties:
            self._home(target).instances[target[-1]] = self._home(source).instances[source[-1]]

    def _home(self, keys: tuple[str, ...]) -> ModelInstance:
        """The nested model whose attribute the last key is."""
        home = self
        for key in keys[:-1]:
            home = home.instances[key]
        return home

    def watched(self, watch: Watch) -> ModelInstance:
        """This model, which tells after each run, its own and those of the models within it, what its values were."""
        self.watch = watch
        for instance in self.instances.values():
            if isinstance(instance, ModelInstance):
                instance.watched(watch)
        return self

    def __call__(self, *inputs: Any) -> Any:
        environment = dict(zip(values(self.graph.inputs), inputs, strict=True))
        outputs = run(self.graph, self.instances, environment)
        self.watch(self, environment)
        return outputs


def output_shape(graph: Graph, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """What a graph of one input and output makes of a shape; None where it does not take it."""
    try:
        made = ModelInstance(graph)(torch.empty(shape, device="meta"))
    except RuntimeError:
        return None
    return tuple(int(size) for size in made.shape)


def run(graph: Graph, instances: Instances, environment: dict[Value, Any]) -> Any:
    """The outputs of a lowered graph, in the structure of `graph.outputs`; `environment` holds its inputs, then all."""
    for call in graph.nodes:
        assert isinstance(call, Call)
        result = run_call(call, environment, instances)
        for value, made in zip(leaves(call.outputs), leaves(result), strict=True):
            environment[value] = made
    return map_tree(lambda leaf: environment[leaf] if isinstance(leaf, Value) else leaf, graph.outputs)


def run_call(call: Call, environment: Mapping[Value, Any], instances: Instances) -> Tree:
    """One torch call on what its operands stand for."""

    def look_up(leaf: Any) -> Any:
        return environment[leaf] if isinstance(leaf, Value) else leaf

    args, kwargs = map_tree(look_up, call.args), map_tree(look_up, call.kwargs)
    match call.kind:
        case "module":
            with WholeRecurrences():
                return instances[call.target](*args, **kwargs)
        case "attribute":
            return instances[call.target]
        case "function":
            return resolve(call.target)(*args, **literal_dtypes(kwargs))
        case "method":
            return getattr(args[0], call.target)(*args[1:], **literal_dtypes(kwargs))
        case "operator":
            return OPERATORS[call.target](*args)
        case "size":
            return args[0].shape[int(call.target)]
        case "rename":
            return args[0]
    raise ValueError(f"unknown kind of call: {call.kind}")


def literal_dtypes(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Calls hold dtypes by name; torch wants its own objects."""
    return {key: torch_dtype(v) if key == "dtype" and isinstance(v, str) else v for key, v in kwargs.items()}
