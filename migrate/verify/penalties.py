"""What regularizers add to the loss: of weights, in the layout of Keras, and of the outputs of layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from converters.errors import Unsupported
from converters.graph import Layer
from converters.training.weights import activity_of
from converters.weights import evaluate
from migrate.verify.bundle import Bundle
from migrate.verify.emitted import Emitted
from migrate.verify.gradients import layers_of_paths
from migrate.verify.recorder import Event
from migrate.verify.sites import Key, SiteMap

SUFFIX = "_regularizer"
# The regularizer's key in a config -> the variable, where it is not called alike.
VARIABLES = {"recurrent": "recurrent_kernel", "depthwise": "depthwise_kernel", "pointwise": "pointwise_kernel"}
BY_NAME = {"l1": ("L1", {}), "l2": ("L2", {}), "l1_l2": ("L1L2", {"l1": 0.01, "l2": 0.01})}


@dataclass(frozen=True)
class Penalty:
    """A regularizer: of the array of the model file under `path`, or of what layer `layer` gives out."""

    kind: str
    numbers: Mapping[str, Any]
    path: str = ""
    layer: str = ""

    def of(self, x: torch.Tensor) -> torch.Tensor:
        """The term that it adds; `x` has its axes in the order of Keras."""
        if self.kind == "OrthogonalRegularizer":
            return self._orthogonal(x)
        l1, l2 = (float(self.numbers.get(name) or 0.0) for name in ("l1", "l2"))
        return l1 * x.abs().sum() + l2 * x.square().sum()

    def _orthogonal(self, x: torch.Tensor) -> torch.Tensor:
        rows = x if self.numbers.get("mode", "rows") == "rows" else x.T
        unit = rows * torch.rsqrt(rows.square().sum(1, keepdim=True).clamp(min=1e-12))
        products = (unit @ unit.T).abs()
        count = len(rows)
        off = products.sum() - products.diagonal().sum()
        return float(self.numbers.get("factor", 0.01)) * 0.5 * off / (count * (count - 1) / 2)


def penalties(emitted: Emitted, bundle: Bundle, layers: Mapping[str, Layer]) -> list[Penalty]:
    """All regularizers of the file. Raises Unsupported for what is not known here, constraints among it."""
    return [penalty for layer in layers.values() for penalty in _of_layer(layer, emitted, bundle)]


def _of_layer(layer: Layer, emitted: Emitted, bundle: Bundle) -> Iterator[Penalty]:
    for key, config in layer.config.items():
        if key.endswith("_constraint") and config is not None and layer.trainable:
            raise Unsupported(f"{layer.path} has a {key}, which the training check does not apply", "leave it out")
        if not key.endswith(SUFFIX) or config is None:
            continue
        name = key.removesuffix(SUFFIX)
        if name != "activity" and layer.trainable:
            kind, numbers = _parsed(config, layer)
            yield from (
                Penalty(kind, numbers, path) for path in _paths(layer, VARIABLES.get(name, name), emitted, bundle)
            )
    if (config := activity_of(layer)) is not None:
        yield Penalty(*_parsed(config, layer), layer=layer.path)


def _parsed(config: Any, layer: Layer) -> tuple[str, Mapping[str, Any]]:
    if isinstance(config, str) and config.lower() in BY_NAME:
        kind, numbers = BY_NAME[config.lower()]
        return kind, numbers or {config.lower(): 0.01}
    kind = str(config.get("class_name")) if isinstance(config, Mapping) else str(config)
    if kind not in ("L1", "L2", "L1L2", "OrthogonalRegularizer"):
        raise Unsupported(f"{layer.path} has a regularizer of its own, {kind!r:.60}", "use one of Keras' own")
    return kind, config.get("config", {})


def _paths(layer: Layer, variable: str, emitted: Emitted, bundle: Bundle) -> list[str]:
    """The arrays of the file that are a variable of a layer; a layer that another wraps is told by its name."""
    owners = layers_of_paths(emitted)
    own = [p for p, i in bundle.weights.items() if i.variable.rpartition("/")[2] == variable and i.trainable]
    direct = [path for path in own if owners.get(path) == layer.path]
    if direct:
        return direct
    return [path for path in own if f"/{layer.name}/" in f"/{bundle.weights[path].variable}"]


def in_file_layout(emitted: Emitted, path: str) -> torch.Tensor:
    """An array of the model file, made of the parameters that hold its numbers; gradients flow through it."""
    parameters = dict(emitted.model.named_parameters())
    for key, parameter in parameters.items():
        for leaf in emitted.weights[key].leaves():
            if leaf.key == path:
                break
        else:
            continue
        # The number of each element in the file's array, as the expression arranges them; -1 for other arrays'.
        numbers = evaluate(
            emitted.weights[key],
            lambda other: (
                np.arange(np.prod(other.shape)).reshape(other.shape) if other.key == path else np.full(other.shape, -1)
            ),
        )
        taken = torch.from_numpy(np.ascontiguousarray(numbers)).to(parameter.device).flatten()
        inside = taken >= 0
        if int(inside.sum()) == int(np.prod(leaf.shape)):
            whole = torch.zeros(int(np.prod(leaf.shape)), dtype=parameter.dtype, device=parameter.device)
            return whole.index_put((taken[inside],), parameter.flatten()[inside]).reshape(leaf.shape)
    raise Unsupported(f"{path} is spread over several parameters", "report the model")


class Activities:
    """Collects what layers with an activity regularizer give out, in the order of Keras; for a `Recorder`."""

    def __init__(self, emitted: Emitted, wanted: list[Penalty]) -> None:
        sites = SiteMap(emitted.folder, emitted.migration).sites if wanted else []
        named = {penalty.layer: penalty for penalty in wanted}
        self.at: dict[Key, Any] = {s.key: (s, named[s.layer]) for s in sites if s.layer in named and s.key is not None}
        self.terms: list[torch.Tensor] = []

    def seen(self, event: Event, index: int, tensor: torch.Tensor) -> torch.Tensor:
        found = self.at.get((event, index))
        if found is not None:
            site, penalty = found
            self.terms.append(penalty.of(site.in_keras_order(tensor)) / tensor.shape[0])
        return tensor
