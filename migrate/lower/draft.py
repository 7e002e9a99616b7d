"""What a lowering notes while it runs: the job of a whole model, and a module before it is finished."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from converters.errors import Gap
from converters.graph import Graph, Layer, Module
from converters.weights import Weight


@dataclass
class Job:
    """What holds for a whole model: what stands in its way, and what will differ in training."""

    exact: bool = False
    gaps: list[Gap] = field(default_factory=list)
    drift: dict[str, list[str]] = field(default_factory=dict)  # what differs -> the layers in which it does
    tied: set[str] = field(default_factory=set)  # the paths of layers that stand in several models

    def refuse(self, layer: Layer, reason: str, way_out: str) -> None:
        """Notes a gap, the first of each layer."""
        if all(gap.layer != layer.path for gap in self.gaps):
            self.gaps.append(Gap(layer.path, layer.class_name, reason, way_out))


@dataclass(eq=False)
class Draft:
    """A module while it is written; becomes a `Module`."""

    key: str
    constructor: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    layer: Layer
    state: dict[str, Weight] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    inference: bool = False
    comment: str = ""
    graph: Graph | None = None

    def finished(self, instance: Any = None) -> Module:
        layer = self.layer
        learned = _parameters(instance) - self.frozen if layer.trainable else set()
        return Module(
            self.key, self.constructor, self.args, self.kwargs, dict(self.state), layer.path, layer.class_name,
            learned=frozenset(learned) if self.constructor != "buffer" else frozenset(),
            frozen=frozenset(self.frozen), trainable=layer.trainable, inference=self.inference, comment=self.comment,
            graph=self.graph,
        )  # fmt: skip


def _parameters(instance: Any) -> set[str]:
    """The parameters of a module that its class lets learn; '' is the module itself, if it is a bare tensor."""
    if isinstance(instance, torch.Tensor):
        return {""}
    if not isinstance(instance, torch.nn.Module):
        return set()
    return {name for name, parameter in instance.named_parameters() if parameter.requires_grad}
