"""One training step of the emitted model with the file's own optimizer, loss, regularizers and constraints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from converters.training import Loss as LossPiece
from converters.training import Optimizer, Output, Variable, build, loss, optimizer
from migrate.verify.bundle import Bundle
from migrate.verify.criterion import Array
from migrate.verify.emitted import Emitted
from migrate.verify.penalties import Activities, Penalty, in_file_layout, penalties
from migrate.verify.recorder import Recorder, name_of


@dataclass(frozen=True)
class Recipe:
    """The pieces of a training program for one emitted model."""

    update: Optimizer
    loss: Any
    loss_weights: Any
    version: tuple[int, ...]
    exact: bool
    penalties: tuple[Penalty, ...] = ()

    @property
    def drift(self) -> list[str]:
        return [sentence for piece in self.update.pieces for sentence in piece.drift]

    def start(self, model: nn.Module) -> Run:
        return Run(self, model)


def recipe(emitted: Emitted, bundle: Bundle, layers: Mapping[str, Any], *, exact: bool) -> Recipe:
    """Raises Unsupported where the file's optimizer or loss has no counterpart."""
    plan = bundle.training
    assert plan is not None
    version = tuple(int(part) for part in bundle.origin["keras_version"].split(".")[:2] if part.isdigit())
    learning = {key for key, p in emitted.model.named_parameters() if p.requires_grad}
    variables = [
        Variable(key, weight, _variable(bundle, weight), _is_embedding(emitted, key))
        for key, weight in emitted.weights.items()
        if key in learning
    ]
    update = optimizer(plan.optimizer, variables, exact=exact, version=version)
    added = tuple(penalties(emitted, bundle, layers))
    return Recipe(update, plan.loss, plan.loss_weights, version, exact, added)


def _variable(bundle: Bundle, weight: Any) -> str:
    leaves = [leaf.key for leaf in weight.leaves()]
    return bundle.weights[leaves[0]].variable if leaves and leaves[0] in bundle.weights else ""


def _is_embedding(emitted: Emitted, key: str) -> bool:
    return isinstance(emitted.model.get_submodule(key.rpartition(".")[0]), nn.Embedding)


class Run:
    """A training run: an optimizer with its state."""

    def __init__(self, recipe: Recipe, model: nn.Module) -> None:
        self.recipe, self.model, update = recipe, model, recipe.update
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        names = {"parameters": self.parameters, "model": model}
        self.per_token = [build(piece, **names) for piece in update.per_token]
        self.optimizer = build(update.optimizer, **names)
        self.scheduler = build(update.schedule, optimizer=self.optimizer) if update.schedule is not None else None
        self.average = build(update.average, **names) if update.average is not None else None
        self.losses: list[tuple[LossPiece, Any] | None] = []

    def step(self, emitted: Emitted, inputs: Sequence[Array], targets: Sequence[Array], number: int) -> float:
        """One batch. Returns the loss before the update."""
        activities = Activities(emitted, [penalty for penalty in self.recipe.penalties if penalty.layer])
        watching = Recorder(self.model, activities.seen).watching() if activities.at else nullcontext()
        with watching, Logits() as logits:
            made = self.model(*emitted.tensors(inputs))
            outputs = [x if x.is_floating_point() else x.to(emitted.dtype) for x in emitted.in_keras_order(made)]
        if not self.losses:
            self.losses = list(self._losses(names_of(made, emitted), outputs, targets, logits))
        total = torch.zeros((), dtype=emitted.dtype, device=emitted.device)
        for stated, output, target in zip(self.losses, outputs, targets, strict=True):
            if stated is not None:
                piece, function = stated
                given = logits.behind(output) if piece.on == "logits" else output
                total = total + piece.weight * function(given, _target(target, output, piece))
        weights = [
            penalty.of(in_file_layout(emitted, penalty.path)) for penalty in self.recipe.penalties if penalty.path
        ]
        total = total + sum((*weights, *activities.terms), torch.zeros_like(total))
        (total / self.recipe.update.accumulate).backward()  # type: ignore[no-untyped-call]
        if number % self.recipe.update.accumulate == 0:
            self._update()
        if self.average is not None:
            self.average.update()
        if self.scheduler is not None:
            self.scheduler.step()
        return float(total.detach())

    def _update(self) -> None:
        for piece in self.recipe.update.clip:
            build(piece, parameters=self.parameters, model=self.model)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _losses(
        self, names: Sequence[str], outputs: Sequence[torch.Tensor], targets: Sequence[Array], logits: Logits
    ) -> Iterator[tuple[LossPiece, Any] | None]:
        configs = per_output(self.recipe.loss, names)
        weights = per_output(self.recipe.loss_weights, names)
        for name, config, weight, output, target in zip(names, configs, weights, outputs, targets, strict=True):
            if config is None:
                yield None
                continue
            described = Output(tuple(output.shape), -1, logits.activation(output), name)
            sparse = target.dtype.kind in "iu"
            piece = loss(config, described, sparse=sparse, exact=self.recipe.exact, version=self.recipe.version)
            factor = 1.0 if weight is None else float(weight)
            yield LossPiece(piece.piece, piece.on, piece.targets, piece.weighted, factor), build(piece.piece)


def names_of(made: Any, emitted: Emitted) -> list[str]:
    """What compile() calls the outputs: the keys of the dict that the model returns, else their layers."""
    if isinstance(made, Mapping) and all(isinstance(output, torch.Tensor) for output in made.values()):
        return list(made)
    return [spec["name"] for spec in emitted.migration["outputs"]]


def per_output(config: Any, names: Sequence[str]) -> list[Any]:
    """What a setting of compile() says for each output: one for all, a list in order, or a dict by name."""
    if isinstance(config, Mapping) and not {"class_name", "config"} <= config.keys():
        return [config.get(name) for name in names]
    if isinstance(config, (list, tuple)):
        return list(config)
    return [config] * len(names)


def _target(array: Array, output: torch.Tensor, piece: LossPiece) -> torch.Tensor:
    """Targets in the form in which the loss wants them."""
    tensor = torch.from_numpy(array.copy()).to(output.device)
    if piece.targets == "classes":
        tensor = tensor.long()
        return tensor.squeeze(-1) if tensor.ndim == output.ndim else tensor
    tensor = tensor.to(output.dtype)
    return tensor.unsqueeze(-1) if tensor.ndim == output.ndim - 1 else tensor


class Logits(TorchFunctionMode):
    """Remembers what every softmax and sigmoid was taken of."""

    NAMES = ("softmax", "sigmoid")

    def __init__(self) -> None:
        super().__init__()
        self.taken: dict[int, tuple[str, torch.Tensor, torch.Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = name_of(func)
        if name in self.NAMES and isinstance(result, torch.Tensor) and args:
            self.taken[id(result)] = (name, args[0], result)
        elif name == "permute" and isinstance(result, torch.Tensor) and id(args[0]) in self.taken:
            kind, logits, _ = self.taken[id(args[0])]
            self.taken[id(result)] = (kind, func(logits, *args[1:], **(kwargs or {})), result)
        return result

    def activation(self, output: torch.Tensor) -> Any:
        return self.taken[id(output)][0] if id(output) in self.taken else ""

    def behind(self, output: torch.Tensor) -> torch.Tensor:
        return self.taken[id(output)][1]
