"""What a user changes first: how many classes or tokens; and `logits`, where the model ends in probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

from converters.graph import Call, Graph, Module, Value, values
from migrate.blocks.expressions import Parameter
from migrate.emit.body import Statement

LOGITS = {
    "softmax": "Before the softmax: what cross_entropy expects.",
    "sigmoid": "Before the sigmoid: what binary_cross_entropy_with_logits expects.",
}
# The same for sequences, whose classes come last.
LOGITS_OF_STEPS = LOGITS | {"softmax": "Before the softmax; for cross_entropy, logits.transpose(1, 2)."}
STEPS = 3  # the rank of a batch of sequences


@dataclass(frozen=True)
class Head:
    """The end of a model: the call that makes probabilities, and the modules that get a parameter."""

    last: Call | None = None
    parameters: Mapping[str, int] = field(default_factory=dict)
    modules: Mapping[str, Module] = field(default_factory=dict)

    @staticmethod
    def of(graph: Graph) -> Head:
        last = _probabilities(graph)
        if last is None:
            return Head()
        modules = {module.key: module for module in graph.modules}
        makers = {
            call.outputs: call for call in graph.nodes if isinstance(call, Call) and isinstance(call.outputs, Value)
        }
        before = makers.get(last.args[0])
        if before is not None and _is_flat_pixel(before):
            before = makers.get(before.args[0])
        linear = modules.get(before.target) if before is not None and before.kind == "module" else None
        if linear is None or not _is_dense(linear) or last.target != "softmax":
            return Head(last)
        classes = linear.args[1]
        tokens = [m for m in graph.modules if m.constructor == "nn.Embedding" and m.args[0] == classes]
        if tokens and (len(tokens) > 1 or values(last.outputs)[0].rank != STEPS):
            return Head(last)  # whether it chooses among them is not plain
        name = "vocab_size" if tokens else "num_classes"
        changed = {linear.key: replace(linear, args=(linear.args[0], Parameter(name), *linear.args[2:]))}
        changed |= {m.key: replace(m, args=(Parameter(name), *m.args[1:])) for m in tokens}
        return Head(last, {name: classes}, changed)

    def said(self, method: str) -> str:
        """The docstring of a method, '' where its name says enough."""
        if method != "logits" or self.last is None:
            return ""
        (made,) = values(self.last.outputs)
        if made.rank == STEPS:
            return LOGITS_OF_STEPS[self.last.target]
        text = LOGITS[self.last.target]
        return text if made.rank < STEPS else f"{text.partition(':')[0]}."

    def changed(self, module: Module) -> Module:
        """A module with a parameter in place of its number."""
        return self.modules.get(module.key, module)

    def methods(self, statements: list[Statement], arguments: list[str]) -> dict[str, list[Statement]]:
        """`forward`, or `logits` and `forward` where the last call makes probabilities."""
        text = statements[-1].text
        ending = _ending(self.last) if self.last is not None else ""
        if self.last is None or not text.endswith(ending) or not text.removeprefix("return ").removesuffix(ending):
            return {"forward": statements}
        before = text.removesuffix(ending)
        logits = [*statements[:-1], Statement(before, tuple(c for c in statements[-1].calls if c is not self.last))]
        logits = _joined(logits)
        forward = Statement(f"return self.logits({', '.join(arguments)}){ending}", (self.last,))
        return {"logits": logits, "forward": [forward]}


def _joined(statements: list[Statement]) -> list[Statement]:
    """Without a name that is given only to be returned."""
    for made, returned in pairwise(statements[-2:]):
        target, assigns, value = made.text.partition("  #")[0].partition(" = ")
        if assigns and returned.text == f"return {target}":
            return [*statements[:-2], Statement(f"return {value}", (*made.calls, *returned.calls))]
    return statements


def _is_flat_pixel(call: Call) -> bool:
    """Whether a call makes (N, C) of (N, C, 1, 1)."""
    return call.target == "flatten" and call.args[1:] == (1,) and set(call.args[0].sizes[2:]) == {1}


def _is_dense(module: Module) -> bool:
    """A dense layer, or a convolution without groups in its place."""
    return module.constructor == "nn.Linear" or (
        module.constructor == "nn.Conv2d" and module.kwargs.get("groups", 1) == 1
    )


def _ending(call: Call) -> str:
    return ".sigmoid()" if call.target == "sigmoid" else ".softmax(dim=-1)"


def _probabilities(graph: Graph) -> Call | None:
    """The last call, if it is softmax over the last axis or a sigmoid, and the model's only output."""
    last = graph.nodes[-1] if graph.nodes else None
    if not isinstance(last, Call) or last.outputs != graph.outputs or last.kind != "method":
        return None
    if last.target == "sigmoid" and len(last.args) == 1 and not last.kwargs:
        return last
    return last if last.target == "softmax" and dict(last.kwargs) == {"dim": -1} and len(last.args) == 1 else None
