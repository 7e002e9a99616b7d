"""What the arguments of a block's `forward` are called."""

from __future__ import annotations

import re
from collections.abc import Mapping

from converters.graph import Module, Value
from migrate.blocks.pattern import Member
from migrate.emit.names import AUTOMATIC_INPUT, identifier, unique

UNNAMED = re.compile(r"v\d+")  # what lowering calls a value
IMAGES = 4  # the rank of a batch of images
SEQUENCE = 3  # the rank of a batch of sequences


def input_names(member: Member, modules: Mapping[str, Module]) -> list[str]:
    """`x`, and `previous` for the block before that before; what all blocks read by the user's name, or by its use."""
    own = [value for value in member.inputs if value not in member.beside] or list(member.inputs[:1])
    names = ["x", "previous"] if len(own) < 3 else [f"x{i + 1}" for i in range(len(own))]
    taken = set(names := names[: len(own)])
    return names + [unique(_use(v, member, modules), taken) for v in member.inputs[len(own) :]]


def _use(value: Value, member: Member, modules: Mapping[str, Module]) -> str:
    name = identifier(value.name)
    if not UNNAMED.fullmatch(value.name) and not AUTOMATIC_INPUT.fullmatch(name):
        return name
    if value.dtype == "bool":
        return "mask"
    readers = [modules[call.target] for call in member.calls if call.kind == "module" and value in call.operands]
    if value.rank == IMAGES and member.calls[-1].target == "*":
        return "gating"
    attended = any("Attention" in module.constructor for module in readers)
    return "memory" if attended and value.rank == SEQUENCE else "context"
