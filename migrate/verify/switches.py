"""What makes a training pass comparable: no dropout, no noise, and the statistics of BatchNorm as Keras keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

from converters.layers.normalization import BIASED_VARIANCE
from converters.layers.wrappers import BY_STEP

RANDOM = {
    "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout", "GaussianNoise",
    "GaussianDropout", "SharedDropout", "StochasticDepth",
}  # fmt: skip
RATES = ("dropout", "recurrent_dropout")


class ExactSlopes(TorchFunctionMode):
    """torch's hard sigmoid has 1/6 as float32 in its gradient, in float64 too (3e-8): here it has the true slope."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.hardsigmoid and args[0].dtype == torch.float64:
            return F.relu6(args[0] + 3) / 6
        return func(*args, **(kwargs or {}))


@contextmanager
def dropout_off(model: nn.Module) -> Iterator[nn.Module]:
    """Random layers hand their input on, the rest stays in the mode in which it is."""
    kept = [(module, name, getattr(module, name)) for module in model.modules() for name in _random_parts(module)]
    for module, name, value in kept:
        setattr(module, name, False if name == "training" else type(value)(0))
    try:
        yield model
    finally:
        for module, name, value in kept:
            setattr(module, name, value)


def _random_parts(module: nn.Module) -> list[str]:
    if type(module).__name__ in RANDOM:
        return ["training"]
    return [name for name in RATES if isinstance(getattr(module, name, None), float)]


def drifting(migration: Mapping[str, Any], what: str) -> set[str]:
    """The Keras layers that are known to differ in training in one way."""
    return {layer for entry in migration["drift"] if entry["what"] == what for layer in entry["layers"]}


def untold(migration: Mapping[str, Any]) -> list[str]:
    """The known differences that `keras_batch_norm` does not take away."""
    return [entry["what"] for entry in migration["drift"] if entry["what"] not in (BIASED_VARIANCE,)]


def by_step(migration: Mapping[str, Any]) -> set[str]:
    """The wrappers whose BatchNormalization sees one step after the other in Keras."""
    return drifting(migration, BY_STEP)


@contextmanager
def keras_batch_norm(model: nn.Module, migration: Mapping[str, Any]) -> Iterator[None]:
    """Running variances move towards the biased variance of a batch, sum / n, where nn.BatchNorm takes sum / (n - 1).

    Only in the layers in which that difference is known: what is left then is no drift but an error.
    """
    layers = drifting(migration, BIASED_VARIANCE)
    paths = {path for layer in layers for path in migration["layers"].get(layer, {}).get("modules", [])}
    before: dict[nn.Module, torch.Tensor] = {}

    def keep(module: Any, inputs: Any) -> None:
        if module.training:
            before[module] = module.running_var.clone()

    def correct(module: Any, inputs: Any, output: Any) -> None:
        if module.training and module.momentum is not None:
            count = inputs[0].numel() / inputs[0].shape[1]
            with torch.no_grad():  # a new tensor: the backward pass still looks at the old one
                moved = module.running_var - (1 - module.momentum) * before.pop(module)
                module.running_var = module.running_var - moved / count

    modules = [
        m for name, m in model.named_modules() if name in paths and isinstance(m, nn.modules.batchnorm._BatchNorm)
    ]
    hooks = [module.register_forward_pre_hook(keep) for module in modules]
    hooks += [module.register_forward_hook(correct) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
