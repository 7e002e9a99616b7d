"""Every call of a layer while a model runs: its inputs, outputs and masks."""

import contextlib

import numpy as np

from .reference import flatten


class Frame:
    """A model that is running. `children`: {id of a layer: name}; `turns`: its calls in the order in which they run."""

    def __init__(self, path, calls, children, turns):
        self.path, self.calls, self.children, self.turns, self.done = path, calls, children, turns, {}

    def turn(self, layer):
        """Which call of a layer, as the file counts them, is the next one."""
        count = self.done.get(id(layer), 0)
        self.done[id(layer)] = count + 1
        order = self.turns.get(id(layer), ())
        return order[count] if count < len(order) else count


class Recorder:
    """Collects the calls of one run of a model; use `running` around it.

    `calls`: as `bundle.json` has them; `tensors`: {name: array}, each tensor once. `watch(call, layer, args, kwargs,
    outputs)` is told of every layer that is no model, where it is given.
    """

    def __init__(self, reference, model, watch=None):
        self.reference, self.model, self.watch = reference, model, watch
        self.calls, self.tensors = [], {}
        self.stack, self.numbers, self.names, self.alive = [], {}, {}, []

    @contextlib.contextmanager
    def running(self):
        keras = self.reference.keras
        owners = [keras.layers.Layer]
        if self.reference.generation >= 3:
            owners.append(keras.Operation)
        before = [owner.__call__ for owner in owners]
        for owner, call in zip(owners, before):
            owner.__call__ = self.wrapped(call)
        try:
            yield self
        finally:
            for owner, call in zip(owners, before):
                owner.__call__ = call

    def wrapped(self, call):
        recorder = self

        def recording_call(self, *args, **kwargs):
            return recorder.on_call(call, self, args, kwargs)

        return recording_call

    def on_call(self, call, layer, args, kwargs):
        if not self.stack:
            if layer is not self.model:
                return call(layer, *args, **kwargs)
            return self.within(Frame("", (), *interior(layer)), call, layer, args, kwargs)
        top = self.stack[-1]
        if id(layer) not in top.children:
            return call(layer, *args, **kwargs)
        name, calls = top.children[id(layer)], top.calls + (top.turn(layer),)
        path = top.path + "/" + name if top.path else name
        inside = interior(layer) if is_model(layer) else ({}, {})
        outputs = self.within(Frame(path, calls, *inside), self.with_fallback(call, layer), layer, args, kwargs)
        self.record(path, calls, layer, args, kwargs, outputs)
        if self.watch is not None and not is_model(layer):
            opaque = Frame(path, calls, {}, {})
            self.watch(path, lambda: self.within(opaque, call, layer, args, kwargs), outputs)
        return outputs

    def within(self, frame, call, layer, args, kwargs):
        self.stack.append(frame)
        try:
            return call(layer, *args, **kwargs)
        finally:
            self.stack.pop()

    def with_fallback(self, call, layer):
        """One layer without a CPU kernel does not keep the others from being seen."""
        if is_model(layer):
            return call
        return lambda layer, *args, **kwargs: self.reference.attempt(lambda *a: call(layer, *a, **kwargs), *args)

    def record(self, path, calls, layer, args, kwargs, outputs):
        inputs = list(places("", args)) + list(places("", kwargs))
        made = [("", tensor) for tensor in flatten(outputs)]
        inputs = [(at, x) for at, x in inputs if is_tensor(x)]
        if not all(is_concrete(x) for _, x in inputs + made):
            return
        number = self.numbers.get(path, 0)
        self.numbers[path] = number + 1
        entry = {"layer": path, "class": type(layer).__name__, "call": [int(n) for n in calls], "number": number}
        entry["inputs"] = [dict(self.operand(x), at=at) for at, x in inputs]
        entry["outputs"] = [self.operand(x) for _, x in made]
        self.calls.append(entry)

    def operand(self, tensor):
        mask = getattr(tensor, "_keras_mask", None)
        return {"tensor": self.name(tensor), "mask": self.name(mask) if is_concrete(mask) else None}

    def name(self, tensor):
        """A tensor is told by its identity, so it is kept alive."""
        if id(tensor) not in self.names:
            self.names[id(tensor)] = "t%d" % len(self.names)
            self.alive.append(tensor)
            self.tensors[self.names[id(tensor)]] = np.asarray(tensor)
        return self.names[id(tensor)]


def is_model(layer):
    """Whether a layer is made of a graph of others."""
    return hasattr(layer, "layers") and hasattr(layer, "_nodes_by_depth") or type(layer).__name__ == "Sequential"


def interior(model):
    """({id of a layer: name}, {id: its calls, as the file counts them, in the order in which they run}) of a model."""
    graph = model
    if not hasattr(model, "_nodes_by_depth"):
        graph = getattr(model, "_functional", None)
    if graph is None or not getattr(graph, "_nodes_by_depth", None):
        return {id(layer): layer.name for layer in model.layers}, {}
    children, order = {}, {}
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        for node in graph._nodes_by_depth[depth]:
            layer = getattr(node, "operation", None) or getattr(node, "layer", None) or node.outbound_layer
            children[id(layer)] = layer.name
            order.setdefault(id(layer), []).append((layer, node))
    return children, {key: file_order(graph, nodes) for key, nodes in order.items()}


def file_order(graph, nodes):
    """The numbers that the calls of one layer have in the file: their order among those that belong to this model."""
    own = [id(node) for _, node in nodes]
    ranked = [id(node) for node in nodes[0][0]._inbound_nodes if id(node) in own]
    return [ranked.index(node) for node in own] if len(ranked) == len(own) else list(range(len(own)))


def places(at, tree):
    """(place, leaf) of every leaf of the arguments of a call: `0`, `1/2`, `initial_state/0`."""
    if isinstance(tree, dict):
        for key in tree:
            for found in places(at + "/" + str(key) if at else str(key), tree[key]):
                yield found
    elif isinstance(tree, (list, tuple)):
        for number, item in enumerate(tree):
            for found in places(at + "/%d" % number if at else str(number), item):
                yield found
    else:
        yield at, tree


def is_tensor(x):
    return hasattr(x, "shape") and hasattr(x, "dtype")


def is_concrete(x):
    """Whether a tensor has numbers: eager ones do, those of a traced function do not."""
    if not is_tensor(x):
        return False
    try:
        np.asarray(x)
        return True
    except Exception:  # frameworks differ in what they raise for a symbolic tensor
        return False
