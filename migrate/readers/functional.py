"""The calls of a Functional model -> its graph: references become values, calls nodes in an order that can run."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from converters.graph import Graph, Layer, Node, Tree, Value, map_tree, values
from migrate.readers.calls import Reference, map_references, values_of
from migrate.readers.data import malformed


@dataclass(frozen=True)
class PlannedCall:
    """One call of a layer or op. `shape`: of its output, where the file states it."""

    op: str
    layer: Layer
    args: Tree
    kwargs: Mapping[str, Tree]
    shape: tuple[int | None, ...] | None = None


class Assembly:
    """References -> values, calls -> nodes in an order in which they can run.

    `unwraps`: a list of one input or output stands for that alone, as Keras wrote it before version 3.11.
    """

    def __init__(
        self,
        name: str,
        layers: Mapping[str, Layer],
        calls: dict[tuple[str, int], PlannedCall],
        inputs: Mapping[str, Value],
        *,
        unwraps: bool,
    ) -> None:
        self.name, self.layers, self.calls, self.inputs, self.unwraps = name, layers, calls, inputs, unwraps
        self.outputs: dict[tuple[str, int], dict[int, Value]] = {key: {} for key in calls}

    def graph(self, inner: Mapping[str, Any]) -> Graph:
        ends = [map_references(inner.get(key)) for key in ("input_layers", "output_layers")]
        if self.unwraps and not any(isinstance(end, Reference) for end in ends):
            ends = [end[0] if isinstance(end, tuple) and len(end) == 1 else end for end in ends]
        if not values_of(ends[0]) or not values_of(ends[1]):
            raise malformed(f"model {self.name!r} states no inputs or no outputs")
        arguments = [(call.args, dict(call.kwargs)) for call in self.calls.values()]
        # A nested model's own graph may count as its call 0: before Keras 3 wherever a call is named, in Keras 3 for
        # functional models and in the list of outputs alone.
        self.from_one = self._count_from_one((ends[1], arguments), lambda layer: layer.version[0] < 3)
        self.outputs_from_one = self.from_one | self._count_from_one(
            ends[1], lambda layer: layer.version[0] >= 3 and layer.class_name != "Sequential"
        )
        resolved = {k: (self._resolve(c.args, k), self._resolve(dict(c.kwargs), k)) for k, c in self.calls.items()}
        starts, stops = (self._resolve(end, None) for end in ends)
        nodes = [
            Node(self.calls[key].op, self.calls[key].layer, *resolved[key], self._made(key))
            for key in self._order(resolved)
        ]
        return Graph(self.name, starts, stops, tuple(nodes)).check()

    def _count_from_one(self, tree: Tree, may: Callable[[Layer], bool]) -> set[str]:
        """The nested models, of those that may, whose calls start at 1 in a tree: it names no call 0."""
        used: dict[str, set[int]] = {}
        for reference in values_of(tree):
            used.setdefault(reference.layer, set()).add(reference.node)
        models = {name: layer for name, layer in self.layers.items() if layer.graph is not None and may(layer)}
        return {name for name, numbers in used.items() if name in models and 0 not in numbers}

    def _resolve(self, tree: Tree, user: tuple[str, int] | None) -> Tree:
        return map_tree(lambda leaf: self._value(leaf, user) if isinstance(leaf, Reference) else leaf, tree)

    def _value(self, reference: Reference, user: tuple[str, int] | None) -> Value:
        who = f"layer {user[0]!r}" if user else "the list of inputs and outputs"
        if reference.layer in self.inputs:
            return self.inputs[reference.layer]
        from_one = self.from_one if user else self.outputs_from_one
        key = (reference.layer, reference.node - (reference.layer in from_one))
        if key not in self.outputs:
            raise malformed(
                f"{who} of model {self.name!r} refers to call {key[1]} of layer {key[0]!r}, which does not exist"
            )
        label = f"{key[0]}:{key[1]}:{reference.tensor}"
        shape = reference.shape or self.calls[key].shape
        return self.outputs[key].setdefault(reference.tensor, Value(label, shape, reference.dtype))

    def _made(self, key: tuple[str, int]) -> tuple[Value | None, ...]:
        made = self.outputs[key]
        return tuple(made.get(index) for index in range(max(made, default=-1) + 1))

    def _order(self, resolved: Mapping[tuple[str, int], Tree]) -> list[tuple[str, int]]:
        """The order of the file wherever the data allows it."""
        rank = {key: position for position, key in enumerate(self.calls)}
        maker = {value: key for key, made in self.outputs.items() for value in made.values()}
        waiting = {k: {maker[v] for v in values(tree) if v in maker} for k, tree in resolved.items()}
        users: dict[tuple[str, int], list[tuple[str, int]]] = {}
        for key, needs in waiting.items():
            for need in needs:
                users.setdefault(need, []).append(key)
        ready = [rank[key] for key, needs in waiting.items() if not needs]
        keys, order = list(self.calls), []
        heapq.heapify(ready)
        while ready:
            key = keys[heapq.heappop(ready)]
            order.append(key)
            for user in users.get(key, []):
                waiting[user].discard(key)
                if not waiting[user]:
                    heapq.heappush(ready, rank[user])
        if len(order) < len(keys):
            stuck = sorted({key[0] for key in keys if key not in set(order)})
            raise malformed(f"the graph of model {self.name!r} has a cycle through {', '.join(stuck[:5])}")
        return order
