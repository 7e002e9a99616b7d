"""Zeros at hidden steps that nobody sees: a recurrent layer under the same mask passes over these steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from converters.graph import Call, Graph, Tree, Value, map_tree, values
from migrate.simplify.calls import calls_of, makers_of

BY_ELEMENT = {"nn.Dropout", "nn.ReLU"}
READERS = {"local.carry_forward", "local.last_valid", "local.last_state"}
Mask = tuple[Value, bool]  # the mask of the input, and whether it is read backwards


def unmasked(graph: Graph) -> Graph:
    """The graph without `masked_fill(~mask, 0)` where everybody who reads it goes by this mask."""
    steps = Steps(graph)
    new: dict[Value, Value] = {}
    changed: set[Value] = set()
    for call in steps.calls:
        mask = steps.hides(call)
        seen = steps.seen(call.outputs, mask) if mask is not None else None
        if seen is not None:
            new[call.outputs] = call.args[0]
            changed |= seen
    if not new:
        return graph

    def current(leaf: Tree) -> Tree:
        return new.get(leaf, leaf) if isinstance(leaf, Value) else leaf

    kept = [call for call in steps.calls if not (isinstance(call.outputs, Value) and call.outputs in new)]
    nodes = tuple(replace(call, args=map_tree(current, call.args)) for call in kept)
    # What Keras has at these steps is found nowhere now.
    return replace(graph, nodes=nodes, tensors={k: v for k, v in graph.tensors.items() if v not in changed})


class Steps:
    """Which calls of a graph go by which mask."""

    def __init__(self, graph: Graph) -> None:
        self.calls = calls_of(graph)
        self.makers = makers_of(self.calls)
        self.modules = {module.key: module for module in graph.modules}
        self.outputs = set(values(graph.outputs))
        self.readers = graph.readers()

    def hides(self, call: Call) -> Mask | None:
        """The mask of the steps that a call sets to zero, `y.masked_fill(~mask[..., None], 0)`."""
        if call.kind != "method" or call.target != "masked_fill" or call.args[2] != 0:
            return None
        inverted = self.makers.get(call.args[1])
        indexed = self.makers.get(inverted.args[0]) if inverted is not None and inverted.target == "~" else None
        if indexed is None or indexed.target != "[]" or indexed.args[1] != (..., None):
            return None
        return self.mask(indexed.args[0])

    def mask(self, value: Value) -> Mask:
        backwards = False
        while (maker := self.makers.get(value)) is not None and _is_flip(maker):
            value, backwards = maker.args[0], not backwards
        return value, backwards

    def seen(self, value: Value, mask: Mask) -> set[Value] | None:
        """The values that hold what was set to zero, None if that reaches somebody who does not go by the mask."""
        found = {value}
        if value in self.outputs:
            return None
        for call in self.readers.get(value, ()):
            if call.target == "local.valid_first" and call.args[0] == value and self.mask(call.args[1]) == mask:
                if not self._passes_over(call):
                    return None
                continue
            later = mask if self._keeps_steps(call) else (mask[0], not mask[1]) if _is_flip(call) else None
            reached = self.seen(call.outputs, later) if later is not None else None
            if reached is None:
                return None
            found |= reached
        return found

    def _keeps_steps(self, call: Call) -> bool:
        if call.target == "torch.cat":
            return dict(call.kwargs) == {"dim": -1}
        return call.kind == "module" and self.modules[call.target].constructor in BY_ELEMENT

    def _passes_over(self, call: Call) -> bool:
        """Whether of a layer's outputs for sorted steps only those are read that count."""
        layers = self.readers.get(call.outputs, ())
        return all(
            layer.kind == "module" and set(self._read(layer)) <= {(0, name, call.args[1]) for name in READERS}
            for layer in layers
        )

    def _read(self, layer: Call) -> Iterator[tuple[int, str, object]]:
        """(which of its outputs, by what, under which mask) for all that a layer makes."""
        for number, value in enumerate(values(layer.outputs)):
            for reader in self.readers.get(value, ()):
                yield number, reader.target, reader.args[1] if reader.target in READERS else None
            if value in self.outputs:
                yield number, "", None


def _is_flip(call: Call) -> bool:
    return call.kind == "method" and call.target == "flip" and call.args[1:] == (1,)
