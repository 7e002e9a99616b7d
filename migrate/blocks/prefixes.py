"""What the user's own layer names say about the parts of a network: `conv3_block1_2_conv` is stage, block and layer."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from converters.graph import Call, Module
from migrate.blocks.pattern import Member
from migrate.emit.names import is_automatic

INDEX = re.compile(r"^(?P<stem>.*?)_?(?:(?:block|layer|unit|cell)s?)?_?(?P<index>\d+|(?<=\d)[a-z])$")

NUMBERED = re.compile(r"(.*?[a-zA-Z]_?\d+)_.")


def prefix_of(member: Member, modules: Mapping[str, Module]) -> str:
    """The words with which the names of all layers of a member begin, '' where they share none."""
    return common_words(own_names(member, modules))


def own_names(member: Member, modules: Mapping[str, Module]) -> list[str]:
    """The names of a member's layers that the user chose."""
    called = [call.target for call in member.calls if call.kind in ("module", "attribute")]
    return [name for key in called if key in modules and (name := own_name(modules[key]))]


def own_name(module: Module) -> str:
    """What the user calls a layer, or the layers of a block; '' where Keras made the name up."""
    if module.graph is not None and module.graph.block is not None:
        return str(module.graph.block.prefix)
    name = layer_name(module.origin)
    return "" if is_automatic(name, module.class_name) else name


def layer_name(path: str) -> str:
    return path.rpartition("/")[2]


def common_words(names: Iterable[str]) -> str:
    """`conv2_block1` of `conv2_block1_1_conv` and `conv2_block1_0_bn`: whole words only."""
    distinct = sorted(set(names))
    if len(distinct) < 2:
        return ""
    shared = os.path.commonprefix(distinct)  # noqa: RUF071  # of characters, not of paths
    if any(name != shared and name[len(shared) : len(shared) + 1] not in ("_", "") for name in distinct):
        cut = max(shared.rfind("_"), 0)
        shared = shared[:cut]
    return shared.rstrip("_")


def block_of(call: Call) -> str:
    """The block that the name of a call's layer begins with: `block3` of `block3_conv1`, '' where there is none."""
    found = NUMBERED.match(layer_name(call.origin))
    return found[1] if found else ""


def stage_of(prefix: str) -> str:
    """The stage that a block's prefix names: `conv2` of `conv2_block1`, `block2` of `block2a`, '' of `block_1`."""
    found = INDEX.match(prefix)
    return found["stem"].rstrip("_") if found and re.search(r"\d", found["stem"]) else ""


def role(name: str, prefix: str) -> str:
    """What is left of a layer's name without its block's: `conv1` of `conv2_block1_1_conv`."""
    rest = name.removeprefix(prefix).strip("_") if prefix else ""
    if found := re.fullmatch(r"(\d+)_(\w*[a-zA-Z])", rest):
        rest = f"{found[2]}{found[1]}"
    return rest
