"""Activations: as modules, and where they may overwrite what they read, which saves memory and its traffic."""

from __future__ import annotations

from dataclasses import replace

from converters.graph import Call, Module

IN_PLACE = {"F.relu", "F.relu6", "F.silu", "F.hardswish", "F.elu", "F.leaky_relu"}
ACTIVATIONS = IN_PLACE | {"F.gelu"}
# What stands in an optional part becomes a module, so that nn.Identity can stand there instead.
MODULES = {
    "F.relu": "nn.ReLU", "F.relu6": "nn.ReLU6", "F.silu": "nn.SiLU", "F.hardswish": "nn.Hardswish", "F.gelu": "nn.GELU",
    "F.max_pool2d": "nn.MaxPool2d", "F.avg_pool2d": "nn.AvgPool2d", "F.pad": "nn.ZeroPad2d",
}  # fmt: skip
PADDINGS = {2: "nn.ZeroPad1d", 4: "nn.ZeroPad2d"}  # by how many numbers of zeros F.pad has: two an axis
CHOSEN = "chosen"  # the constructor of an activation whose class is a parameter of the block
OVERWRITING = {MODULES[name] for name in IN_PLACE if name in MODULES} | {CHOSEN}


def is_interchangeable(call: Call) -> bool:
    """Whether it is an activation with no numbers, of which a block may have one or another."""
    plain = call.kind == "function" and call.target in IN_PLACE and call.target in MODULES
    return plain and len(call.args) == 1 and not call.kwargs


def makes_scratch(module: Module) -> bool:
    """Whether no gradient needs what a module makes: a normalization keeps its input instead."""
    return "BatchNorm" in module.constructor


def overwriting(before: Module, module: Module) -> Module:
    """A module of a chain; an activation overwrites what the one before it made, where that may be."""
    if makes_scratch(before) and module.constructor in OVERWRITING:
        return replace(module, kwargs={**module.kwargs, "inplace": True})
    return module
