"""What makes a training pass comparable: no dropout, no noise, and the statistics of BatchNorm as Keras keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
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
    return [entry["what"] for entry in migration["drift"] if entry["what"] not in (BIASED_VARIANCE, BY_STEP)]


@contextmanager
def keras_batch_norm(model: nn.Module, migration: Mapping[str, Any]) -> Iterator[None]:
    """BatchNorm in training as Keras has it, in the layers that are known to differ: what is left is an error.

    Running variances move towards the biased variance of a batch, sum / n, where nn.BatchNorm takes sum / (n - 1);
    within TimeDistributed, one step after the other is a batch.
    """
    biased = _modules_of(migration, drifting(migration, BIASED_VARIANCE))
    stepped = _modules_of(migration, drifting(migration, BY_STEP))
    samples = [1]

    def begin(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        samples[0] = len(inputs[0])

    def run(module: Any, plain: Callable[[torch.Tensor], torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
        once = partial(_with_biased_variance, module, plain) if name in biased else plain
        if name not in stepped or not module.training:
            return once(x)
        steps = x.reshape(samples[0], -1, *x.shape[1:]).unbind(1)
        return torch.stack([once(step) for step in steps], dim=1).flatten(0, 1)

    norms = {n: m for n, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    changed = {name: module for name, module in norms.items() if name in biased | stepped}
    hook = model.register_forward_pre_hook(begin)
    for name, module in changed.items():
        setattr(module, "forward", partial(run, module, module.forward, name))  # noqa: B010  # no method of the class
    try:
        yield
    finally:
        hook.remove()
        for module in changed.values():
            del module.forward


def _modules_of(migration: Mapping[str, Any], layers: set[str]) -> set[str]:
    """The modules of Keras layers, and of those that they wrap."""
    inside = [path for path in migration["layers"] if any(path == one or path.startswith(f"{one}/") for one in layers)]
    return {module for path in inside for module in migration["layers"][path]["modules"]}


def _with_biased_variance(module: Any, plain: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    if not module.training or module.momentum is None:
        return plain(x)
    before, count = module.running_var.clone(), x.numel() / x.shape[1]
    y = plain(x)
    with torch.no_grad():  # a new tensor: the backward pass still looks at the old one
        module.running_var = module.running_var - (module.running_var - (1 - module.momentum) * before) / count
    return y
