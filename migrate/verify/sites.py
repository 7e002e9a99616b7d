"""The map from calls of Keras layers to places in `model.py`, as it is after an edit of that file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import torch

from converters.arrangement import Block, Flat
from converters.errors import UserError
from converters.weights import Leaf, evaluate
from migrate.emit.project import checksums
from migrate.verify.recorder import Event

Key = tuple[Event, int]


@dataclass(frozen=True)
class Site:
    """An output of a call of a Keras layer, where the emitted model makes it.

    `key`: None where it is folded into the layer `within`, or is nothing that the emitted model has.
    """

    layer: str
    call: tuple[int, ...]
    output: int
    key: Key | None
    order: Any = field(default=(), hash=False)
    within: str = ""

    def in_keras_order(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor of the emitted model with its axes, and flattened features, in the order of Keras."""
        if isinstance(self.order, dict) and "axes" in self.order:
            return self._with_ones(tensor)
        if isinstance(self.order, dict):
            return tensor[..., torch.from_numpy(np.argsort(_features(self.order))).to(tensor.device)]
        if not self.order or len(self.order) != tensor.ndim:
            return tensor
        return tensor.permute(*(int(axis) for axis in np.argsort(self.order)))

    def as_emitted(self, tensor: torch.Tensor) -> torch.Tensor:
        """The inverse of `in_keras_order`, contiguous."""
        if isinstance(self.order, dict) and "axes" in self.order:
            return tensor.flatten(1)
        if isinstance(self.order, dict):
            return tensor[..., torch.from_numpy(_features(self.order)).to(tensor.device)].contiguous()
        return tensor.permute(*self.order).contiguous() if self.order else tensor

    def _with_ones(self, tensor: torch.Tensor) -> torch.Tensor:
        """(N, C) with the axes of size 1 that it has in Keras."""
        axes = self.order["axes"]
        if tensor.ndim != len(axes):
            return tensor  # the text was edited
        sizes = [tensor.shape[axes.index(axis)] if axis in axes else 1 for axis in range(self.order["rank"])]
        return tensor.reshape(sizes)


Fits = Callable[[Site, Key], bool]


def _features(order: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    """Which feature of Keras each feature of a flattened tensor is."""
    flat = Flat(order["rank"], tuple(Block(tuple(sizes), tuple(axes)) for sizes, axes in order["blocks"]))
    count = sum(int(np.prod(block.sizes)) for block in flat.blocks)
    return evaluate(Leaf((count,), "int64", "").reorder(0, flat), lambda leaf: np.arange(count)).copy()


class SiteMap:
    """All sites of a project. Lines are those of `model.py` as it is now."""

    def __init__(self, folder: Path, migration: Mapping[str, Any]) -> None:
        if "lines" not in migration:
            raise UserError(
                f"{folder} was converted before this version, without the places of its layers",
                expected="a migration.json with lines and calls",
                found=f"one of tf2torch {migration.get('tf2torch')}",
                remedy="convert it again, or leave the check of layers out: --checks structure,forward,gradients",
            )
        self.text = (folder / "model.py").read_text(encoding="utf-8").splitlines()
        self.moved = moved_lines(migration["lines"], checksums("\n".join(self.text)))
        self.edited = list(migration["lines"]) != checksums("\n".join(self.text))
        self.models = {path for path, layer in migration["layers"].items() if layer["converter"] == "model"}
        self.sites = [
            self._site(path, tuple(int(part) for part in call.split("/")), number, entry)
            for path, layer in migration["layers"].items()
            if path not in self.models  # what they give out is what their last layer does
            for call, outputs in layer["calls"].items()
            for number, entry in enumerate(outputs)
        ]

    def _site(self, layer: str, call: tuple[int, ...], output: int, entry: Any) -> Site:
        if not entry or "within" in entry:
            return Site(layer, call, output, None, within=entry["within"] if entry else "")
        event = Event(
            entry["module"], entry.get("call", 0), self.moved.get(entry.get("line", 0), 0), entry.get("function", ""),
            entry.get("ordinal", 0),
        )  # fmt: skip
        return Site(layer, call, output, (event, entry.get("output", 0)), entry.get("order", ()))

    def line(self, event: Event) -> str:
        """The text of an event's line."""
        return self.text[event.line - 1].strip() if 0 < event.line <= len(self.text) else ""

    def resolved(self, events: Sequence[Key], fits: Fits = lambda site, key: True) -> dict[Site, Key | None]:
        """The event of each site in a run; None if an edit has removed it.

        A line that calls another function than it did: what stands in the place of the function is taken for it, of
        several what `fits` the shape that the original's layer gave.
        """
        at = {_address(key): position for position, key in enumerate(events)}
        found = {site: at.get(_address(site.key)) for site in self.sites if site.key is not None}
        for number, (site, position) in enumerate(list(found.items())):
            if position is None and site.key is not None:
                found[site] = self._substitute(site, events, list(found.items()), number, fits)
        return {site: None if position is None else events[position] for site, position in found.items()}

    def _substitute(
        self, lost: Site, events: Sequence[Key], found: Sequence[tuple[Site, int | None]], number: int, fits: Fits
    ) -> int | None:
        """The last function on the same line that no site claims, between the sites before and behind it."""
        wanted = lost.key
        assert wanted is not None
        near = [(n, p) for n, (site, p) in enumerate(found) if p is not None and _same_line(site.key, wanted)]
        start = max((p for n, p in near if n < number), default=-1)
        stop = min((p for n, p in near if n > number and p > start), default=len(events))
        claimed = {position for _, position in found}
        free = [p for p in range(start + 1, stop) if p not in claimed and _could_be(events[p], wanted)]
        fitting = [p for p in free if fits(lost, events[p])]
        return next(reversed(fitting or free), None)


def _address(key: Key | None) -> Any:
    """What identifies a tensor in a run: for what a module returns, its line does not matter."""
    if key is None:
        return None
    event, output = key
    return (event.module, event.call, output) if not event.function else key


def _same_line(key: Key | None, wanted: Key) -> bool:
    """Whether something is made on the line, and below the module, of another."""
    if key is None:
        return False
    one, other = key[0], wanted[0]
    inside = other.module in ("", one.module) or one.module.startswith(f"{other.module}.")
    return inside and one.line == other.line and (not one.function or one.call == other.call)


def _could_be(key: Key, wanted: Key) -> bool:
    one, other = key[0], wanted[0]
    same = (one.module, one.call, one.line) == (other.module, other.call, other.line)
    return bool(one.function and other.function) and same


def moved_lines(old: Sequence[int], new: Sequence[int]) -> dict[int, int]:
    """Line of the text as it was written -> line of it now, both from 1; a changed line stays in its place."""
    moved: dict[int, int] = {}
    for what, i, i_end, j, j_end in SequenceMatcher(None, list(old), list(new), autojunk=False).get_opcodes():
        if what in ("equal", "replace"):
            for k in range(i_end - i):
                moved[i + k + 1] = min(j + k, max(j_end - 1, j)) + 1
    return moved


def changed_lines(old: Sequence[int], new: Sequence[int]) -> list[int]:
    """Lines of the text as it is now, from 1, that are not as they were written; where some are missing, the next."""
    opcodes = SequenceMatcher(None, list(old), list(new), autojunk=False).get_opcodes()
    return [k + 1 for what, _, _, j, j_end in opcodes if what != "equal" for k in range(j, max(j_end, j + 1))]
