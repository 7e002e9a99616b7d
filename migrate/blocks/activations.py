"""Activations: as modules, and where they may overwrite what they read, which saves memory and its traffic."""

from __future__ import annotations

from dataclasses import replace

from converters.graph import Module

IN_PLACE = {"F.relu", "F.relu6", "F.silu", "F.hardswish", "F.elu", "F.leaky_relu"}
ACTIVATIONS = IN_PLACE | {"F.gelu"}
# What stands in an optional part becomes a module, so that nn.Identity can stand there instead.
MODULES = {
    "F.relu": "nn.ReLU", "F.relu6": "nn.ReLU6", "F.silu": "nn.SiLU", "F.hardswish": "nn.Hardswish", "F.gelu": "nn.GELU",
    "F.max_pool2d": "nn.MaxPool2d", "F.avg_pool2d": "nn.AvgPool2d",
}  # fmt: skip
OVERWRITING = {MODULES[name] for name in IN_PLACE if name in MODULES}


def makes_scratch(module: Module) -> bool:
    """Whether no gradient needs what a module makes: a normalization keeps its input instead."""
    return "BatchNorm" in module.constructor


def overwriting(before: Module, module: Module) -> Module:
    """A module of a chain; an activation overwrites what the one before it made, where that may be."""
    if makes_scratch(before) and module.constructor in OVERWRITING:
        return replace(module, kwargs={**module.kwargs, "inplace": True})
    return module
