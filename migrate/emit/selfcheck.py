"""The text proves itself: emitted source and lowered graph are run on meta tensors, and must do the same.

Every torch operation is recorded with its operands, literals and parameters, and named by what it computes;
the two recordings must hold the same operations, the same number of times. No weights, no memory.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from converters.errors import UserError
from converters.graph import Graph, Module, leaves, map_tree, values
from migrate.emit.names import Names
from migrate.interpret import ModelInstance, torch_dtype
from migrate.recurrence import WholeRecurrences

BATCH = 2
LOOPS = {f"local.{kind}{cell}" for kind in ("Stepwise", "Dropout") for cell in ("LSTM", "GRU", "RNN")}
LOOPS |= {"local.ConvLSTM", "local.DropoutConvLSTM"}


class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types there
    """The operations that run inside it, each named by its function, operands and literals."""

    def __init__(self, interned: dict[Any, int], labels: Iterable[tuple[torch.Tensor, str]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.interned = interned
        self.operations: Counter[int] = Counter()
        self.texts: dict[int, str] = {}
        self.held: list[torch.Tensor] = []  # kept alive, so that no id is used twice
        self.labels: dict[int, Any] = {}
        for tensor, label in sorted(labels, key=lambda pair: pair[1], reverse=True):
            self._label(tensor, label)  # where one tensor has several names, the first in the alphabet

    def _label(self, tensor: torch.Tensor, label: Any) -> None:
        self.held.append(tensor)
        self.labels[id(tensor)] = label

    def name(self, tensor: Any) -> Any:
        if not isinstance(tensor, torch.Tensor):
            return tensor  # the key of an output
        return self.labels.get(id(tensor), ("fresh", tuple(tensor.shape)))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        result = func(*args, **kwargs)
        name, in_place = _name(func)
        key = (name, self._key(_plain_numbers(name, args)), self._key(kwargs))
        number = self.interned.setdefault(key, len(self.interned))
        self.operations[number] += 1
        self.texts[number] = f"{name}({', '.join(_described(args))})"
        for position, made in enumerate(leaves(result)):
            if isinstance(made, torch.Tensor) and (in_place or not any(made is a for a in leaves((args, kwargs)))):
                self._label(made, (number, position))
        return result

    def _key(self, tree: Any) -> Any:
        if isinstance(tree, torch.Tensor):
            return self.name(tree)
        if isinstance(tree, (list, tuple)):
            return tuple(self._key(item) for item in tree)
        if isinstance(tree, dict):
            return tuple((key, self._key(value)) for key, value in tree.items())
        return (type(tree).__name__, str(tree))


def _name(func: Any) -> tuple[str, bool]:
    """What an operation computes, and whether it overwrites what it reads: the tensor is another from then on."""
    packet, _, overload = str(func).rpartition(".")
    in_place = packet.endswith("_") and not packet.endswith("__")
    return f"{packet.removesuffix('_') if in_place else packet}.{overload}", in_place


def _plain_numbers(name: str, args: Any) -> Any:
    """nn.ReLU6 and nn.MaxPool2d say what F.relu6 and F.max_pool2d leave open: bounds as floats, a stride."""
    if name == "aten.hardtanh.default":
        return map_tree(lambda leaf: float(leaf) if isinstance(leaf, int) else leaf, args)
    if re.match(r"aten\.(max|avg)_pool\dd", name):
        image, kernel, *rest = args
        return (image, kernel, (rest[0] if rest else None) or kernel, *rest[1:])
    return args


def _described(args: Any) -> Iterator[str]:
    for leaf in leaves(args):
        yield f"tensor{list(leaf.shape)}" if isinstance(leaf, torch.Tensor) else str(leaf)


def check(text: str, graph: Graph, names: Names) -> nn.Module:
    """The emitted model, on the meta device. Raises UserError where the text is not the graph."""
    try:
        model = build(text, names.classes[graph])
    except Exception as error:  # a text can be wrong in any way; that it is wrong is what matters
        raise _bug("the emitted source cannot be imported", "a model", repr(error)) from error
    instance = ModelInstance(graph)
    _same_state(model, graph, names)
    inputs = examples(graph, instance)
    for training in (False, True):
        model.train(training)
        _set_mode(instance, graph, training)
        _same_operations(model, instance, graph, names, inputs)
    return model.eval()


def build(text: str, class_name: str) -> nn.Module:
    """The model class of a `model.py`, made on the meta device."""
    space: dict[str, Any] = {"__name__": "model"}
    exec(compile(text, "model.py", "exec"), space)  # our own text: no string of a file reaches it unquoted
    with torch.device("meta"):
        model: nn.Module = space[class_name]()
    return model


def _set_mode(instance: ModelInstance, graph: Graph, training: bool) -> None:
    for module in graph.modules:
        made = instance.instances[module.key]
        if module.graph is not None:
            _set_mode(made, module.graph, training)
        elif isinstance(made, nn.Module):
            made.train(training and not module.inference)


def _state_tensors(
    instance: ModelInstance, graph: Graph, names: Names, prefix: str = ""
) -> Iterator[tuple[torch.Tensor, str]]:
    """(tensor, key in the state dict) of the lowered graph's own modules."""
    for module in graph.modules:
        made, key = instance.instances[module.key], f"{prefix}{names.attributes[graph][module.key]}"
        if module.graph is not None:
            yield from _state_tensors(made, module.graph, names, f"{key}.")
        elif isinstance(made, torch.Tensor):
            yield made, key
        else:
            yield from ((tensor, f"{key}.{name}") for name, tensor in _named_tensors(made))


def _named_tensors(module: nn.Module, *, remove_duplicate: bool = True) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters(remove_duplicate=remove_duplicate)
    yield from module.named_buffers(remove_duplicate=remove_duplicate)


def _same_operations(
    model: nn.Module, instance: ModelInstance, graph: Graph, names: Names, inputs: Sequence[torch.Tensor]
) -> None:
    interned: dict[Any, int] = {}
    labelled = [(tensor, f"input {number}") for number, tensor in enumerate(inputs)]
    sides = []
    for run, state in (
        (model, ((tensor, name) for name, tensor in _named_tensors(model, remove_duplicate=False))),
        (instance, _state_tensors(instance, graph, names)),
    ):
        recording = Recording(interned, [*labelled, *state])
        try:
            with torch.no_grad(), recording, WholeRecurrences():
                outputs = run(*inputs)
        except Exception as error:  # as above
            raise _bug("the emitted source cannot be run", "the outputs that were converted", repr(error)) from error
        sides.append((recording, map_tree(recording.name, _plain(outputs))))
    (emitted, left), (lowered, right) = sides
    if left != right or emitted.operations != lowered.operations:
        raise _difference(emitted, lowered, model.training)


def _plain(outputs: Any) -> Any:
    return tuple(outputs.items()) if isinstance(outputs, dict) else outputs


def examples(graph: Graph, instance: ModelInstance) -> list[torch.Tensor]:
    """Inputs of a model on meta. A loop over steps runs op by op: few steps are enough, where the model takes few."""
    long = [_example(value, steps=80) for value in values(graph.inputs)]
    if not _loops(graph):
        return long
    short = [_example(value, steps=7) for value in values(graph.inputs)]
    try:
        with torch.no_grad():
            instance(*short)
    except (RuntimeError, IndexError, ValueError):
        return long
    return short


def _loops(graph: Graph) -> bool:
    return any(
        _loops(module.graph) if module.graph is not None else module.constructor in LOOPS for module in graph.modules
    )


def _example(value: Any, *, steps: int) -> torch.Tensor:
    sizes = [
        size if size is not None else (BATCH, steps)[axis] if axis < 2 else 64 + 16 * axis
        for axis, size in enumerate(value.sizes)
    ]
    return torch.empty(sizes, dtype=torch_dtype(value.dtype), device="meta")


def _difference(emitted: Recording, lowered: Recording, training: bool) -> UserError:
    texts = emitted.texts | lowered.texts
    missing = [texts[key] for key in (lowered.operations - emitted.operations)]
    extra = [texts[key] for key in (emitted.operations - lowered.operations)]
    mode = "training" if training else "inference"
    return _bug(
        f"the emitted source does not do what was converted ({mode} mode)",
        "; ".join(missing[:5]) or "the same outputs",
        "; ".join(extra[:5]) or "other outputs",
    )


def _bug(problem: str, expected: str, found: str) -> UserError:
    remedy = "this is a bug of tf2torch: report the model's config.json"
    return UserError(problem, expected=expected, found=found, remedy=remedy)


def _same_state(model: nn.Module, graph: Graph, names: Names) -> None:
    """The keys, shapes and frozen parameters of the emitted model are those of the weight expressions."""
    expected = {key: list(module.state[name].shape) for key, module, name in names.state(graph)}
    found = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
    learning = {key for key, module, name in names.state(graph) if learns(module, name)}
    trained = {key for key, p in model.named_parameters(remove_duplicate=False) if p.requires_grad}
    if expected != found or learning != trained:
        wrong = sorted({k for k in expected | found if expected.get(k) != found.get(k)} | (learning ^ trained))
        raise _bug(
            "the parameters of the emitted source are not those of the weights",
            str({key: expected.get(key) for key in wrong[:5]}),
            str({key: found.get(key) for key in wrong[:5]}),
        )


def learns(module: Module, name: str) -> bool:
    """Whether a tensor of a module's state dict is a parameter that an optimizer should move."""
    return name in module.learned
