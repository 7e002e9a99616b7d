"""JSON from a model file, as plain data: checked before anything walks through it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import UserError

DEPTH_AT_MOST = 200  # levels of lists and objects; a model in a model takes about 4


def parse_json(path: Path, what: str, data: bytes | str) -> Any:
    """The JSON value, its numbers restored (see `short`). Raises UserError for anything that is not plain JSON."""
    if isinstance(data, bytes):
        data = data.decode("utf-8-sig", "replace")
    try:
        found = json.loads(data)
    except RecursionError as error:
        raise damaged(path, f"{what} is nested too deep to be read") from error
    except ValueError as error:
        raise damaged(path, f"{what} is not JSON ({error})") from error
    if depth(found) > DEPTH_AT_MOST:
        raise damaged(path, f"{what} is nested deeper than {DEPTH_AT_MOST} levels")
    return _restored(path, what, found)


def parse_object(path: Path, what: str, data: bytes | str) -> dict[str, Any]:
    """A JSON object. Raises UserError for any other value."""
    found = parse_json(path, what, data)
    if not isinstance(found, dict):
        raise damaged(path, f"{what} holds a {type(found).__name__}, expected an object")
    return found


def depth(tree: Any) -> int:
    """How many containers lie in one another."""
    level, layer = 0, [tree]
    while layer := [item for item in layer if isinstance(item, (dict, list))]:
        level += 1
        layer = [child for item in layer for child in (item.values() if isinstance(item, dict) else item)]
    return level


def _restored(path: Path, where: str, tree: Any, infinite: bool = False) -> Any:
    """The tree with every number as its author wrote it. `where`: the innermost named thing around it.

    `infinite`: what an op computes with may be (a mask of minus infinity, the norm of infinite order); no layer's may.
    """
    if isinstance(tree, dict):
        where = repr(tree["name"])[:80] if isinstance(tree.get("name"), str) else where
        infinite = infinite or ".ops" in str(tree.get("module"))
        return {
            key: _restored(
                path,
                f"{where}, {key}" if isinstance(value, float) else where,
                value,
                infinite or key == "inbound_nodes",
            )
            for key, value in tree.items()
        }
    if isinstance(tree, list):
        return [_restored(path, where, value, infinite) for value in tree]
    if isinstance(tree, float):
        if not (infinite or math.isfinite(tree)):
            raise damaged(path, f"the number {tree} in {where}")
        return short(tree)
    return tree


def short(number: float) -> float:
    """0.0010000000474974513, which passed through float32 on its way into the file, as the 0.001 that was meant.

    The reference worker does the same where it runs a model in float64; in float32 both are one number.
    """
    if abs(number) > float(np.finfo(np.float32).max) or float(np.float32(number)) != number:
        return number
    written = str(np.float32(number))
    return float(written) if len(written) + 4 < len(repr(number)) else number


def damaged(path: Path, found: str) -> UserError:
    return UserError(
        f"{path.name} cannot be read as a Keras model",
        expected="a complete file, as Keras writes it",
        found=found,
        remedy="fetch or save the file again",
    )


def malformed(found: str) -> UserError:
    return UserError(
        "the model's config cannot be read",
        expected="a Functional or Sequential model as Keras writes it",
        found=found,
        remedy="save the model again in Keras; if Keras itself loads the file, report it",
    )


def plain(tree: Any) -> Any:
    """A config without Keras' notes on what was a tuple, a shape or an array before it became JSON."""
    if isinstance(tree, list):
        return [plain(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    match tree:
        case {"class_name": "__tuple__" | "TensorShape", "items": list(items)}:
            return plain(items)
        case {"class_name": "__numpy__" | "__tensor__", "config": {"value": value}}:
            return value
    return {key: plain(value) for key, value in tree.items()}
