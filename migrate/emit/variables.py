"""What the values of one `forward` are called: `x`, what they are for, or what made them.

A name is free again as soon as its value is dead.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from converters.graph import Call, Graph, Value, values
from converters.registry import supported
from migrate.blocks.branches import is_wide
from migrate.blocks.prefixes import layer_name
from migrate.emit.arguments import argument_names
from migrate.emit.expression import Expression
from migrate.emit.hourglass import skips
from migrate.emit.names import identifier, is_automatic, unique
from migrate.emit.shapes import ATTENTION
from migrate.readers.vocabulary import snake_case

# What is made of a mask.
MASKS = {"~": "padding", "flip": "reversed_mask"}
# What a variable is called after what was done to it, where `x` and `y` are taken.
DEEDS = {
    "F.pad": "padded", "F.max_pool2d": "pooled", "F.avg_pool2d": "pooled",
    "local.max_pool_same": "pooled", "F.relu": "relu",
    "F.interpolate": "upsampled",
}  # fmt: skip
# What a value is called that none of these names, where its layer has no name of the user's either.
KINDS = {
    "torch.cat": "joined",
    "+": "total",
    "-": "difference",
    "mean": "mean",
    "sigmoid": "gate",
    "softmax": "weights",
}
MASK = "mask"
PREVIOUS = "previous"  # the second argument of blocks that read the two before them
JOINS = {"torch.cat", "+", "*"}


@dataclass
class Variables:
    """The names in use. `uses`: how often each value is still read; `functions`: names of the file itself."""

    graph: Graph
    attributes: Mapping[str, str]
    arguments: list[str]
    functions: set[str]
    uses: Counter[Value]
    branches: Mapping[Value, int]

    def __post_init__(self) -> None:
        self.names: dict[Value, str] = dict(zip(values(self.graph.inputs), self.arguments, strict=True))
        self.modules = {module.key: module for module in self.graph.modules}
        self.skips = skips(self.graph) | _read_by_all(self.graph)

    def release(self, expression: Expression) -> None:
        """Variables that were read for the last time free their names."""
        for value in expression.reads:
            self.uses[value] -= 1
            if not self.uses[value]:
                self.names.pop(value, None)

    def name(self, value: Value, expression: Expression, wanted: str = "") -> str:
        # What an argument is called says what it is: nothing else gets that name, even if the argument is read no more.
        taken = {*self.names.values(), *self.functions, *(name for name in self.arguments if name != "x")}
        taken -= self._continued(expression)
        role = wanted or self._role(value, expression)
        named, joint = self._deed(expression) or identifier(maker_of(expression, self.attributes)), "_"
        if not role and named and _is_automatic(named):
            named, joint = self._kind(expression, taken), ""
        plain = (PREVIOUS, "x") if PREVIOUS in self.arguments else ("x", "y")
        candidates = (role,) if role else filter(None, (*plain, named))
        found = next((name for name in candidates if name not in taken), None)
        return found or unique(role or named or "x", taken, joint)

    def _kind(self, expression: Expression, taken: set[str]) -> str:
        """What a value is, where the layer that made it has no name: `gated`; else `z`, then what made it: `conv3`."""
        last = expression.calls[-1]
        if last.kind == "operator" and last.target == "*":
            makers = {value: call for call in expression.calls for value in values(call.outputs)}
            factors = [makers[value].target for value in last.operands if value in makers]
            return "gated" if "sigmoid" in factors else "product"
        module = next((m for m in self.graph.modules if last.kind == "module" and m.key == last.target), None)
        if module is not None and module.constructor.startswith("nn.ConvTranspose"):
            return "upsampled"
        if last.target in KINDS or module is None:
            return KINDS.get(last.target, "z")
        return (
            "z" if "z" not in taken else self.attributes[last.target].rpartition(".")[0] or self.attributes[last.target]
        )

    def _continued(self, expression: Expression) -> set[str]:
        """An argument that nobody reads any more, where what is made is made of it alone: it keeps its name."""
        dead = [v for v in set(expression.reads) if not self.uses[v]]
        given = values(self.graph.inputs)
        if len(expression.reads) != 1 or not dead or dead[0] not in given:
            return set()
        name = self.arguments[given.index(dead[0])]
        return {name} if name == MASK or (name == PREVIOUS and dead == given[1:2]) else set()

    def _layer_of(self, expression: Expression) -> str:
        """The user's name for the one layer that makes a branch, if it has one: `city_embedding`."""
        called = [self.modules[call.target] for call in expression.calls if call.kind == "module"]
        own = layer_name(called[0].origin) if len(called) == 1 else ""
        return self.attributes[called[0].key] if own and not is_automatic(own, called[0].class_name) else ""

    def _deed(self, expression: Expression) -> str:
        """What was done to a variable that is read again later: `x_padded`."""
        last = expression.calls[-1] if expression.calls else None
        if last is None or last.target not in DEEDS:
            return ""
        direct = (
            DEEDS[last.target] != "pooled"
            and len(expression.calls) == 1
            and len(expression.reads) == 1
            and expression.reads[0] in self.names
        )
        return f"{self.names[expression.reads[0]]}_{DEEDS[last.target]}" if direct else DEEDS[last.target]

    def _role(self, value: Value, expression: Expression) -> str:
        """What a value is for, where that is plain to see."""
        if value.dtype == "bool":
            turned = any(self.names.get(v, "").startswith("reversed") for v in expression.reads)
            plain = "attention_mask" if value.rank == ATTENTION and MASK in self.names.values() else MASK
            role = MASKS.get(expression.calls[-1].target, plain)
            return f"reversed_{role}" if turned and role == MASKS["~"] else role
        if value in self.skips:
            return self.skips[value]
        last = expression.calls[-1]
        if (place := self.branches.get(value)) and (self.uses[value] == 1 or last.target in JOINS):
            return self._layer_of(expression) or f"branch{place}"
        if _compares(last, expression):
            return "difference"
        made_by = self.attributes[last.target] if last.kind == "module" else ""
        return made_by if re.fullmatch(r"branch\d+", made_by) else ""


@cache
def _automatic_names() -> frozenset[str]:
    """What Keras calls layers and operations that have no name, without the number."""
    return frozenset(identifier(snake_case(key.partition(".")[2])) for key in supported())


def _is_automatic(name: str) -> bool:
    return re.sub(r"_\d+$", "", name) in _automatic_names()


def _read_by_all(graph: Graph) -> dict[Value, str]:
    """What several blocks read beside their own input, by what they call it: `memory`."""
    modules = {module.key: module for module in graph.modules}
    found: dict[Value, list[str]] = {}
    for call in graph.nodes:
        inner = modules[call.target].graph if isinstance(call, Call) and call.kind == "module" else None
        if inner is not None and inner.block is not None:
            names = argument_names(inner.block.template.graph)
            for value, name in list(zip(call.operands, names, strict=False))[1:]:  # type: ignore[union-attr]
                found.setdefault(value, []).append(name)
    return {
        value: names[0]
        for value, names in found.items()
        if len(names) > 1 and len(set(names)) == 1 and names[0] != PREVIOUS
    }


def _compares(last: Call, expression: Expression) -> bool:
    """Whether what one module makes of two tensors is subtracted, maybe without regard to the sign."""
    below = {value: call for call in expression.calls for value in values(call.outputs)}
    while (last.kind, last.target) == ("method", "abs") and last.operands[0] in below:
        last = below[last.operands[0]]
    made = [below[value].target for value in last.operands if value in below and below[value].kind == "module"]
    return (last.kind, last.target) == ("operator", "-") and len(made) == 2 and len(set(made)) == 1


def branches_of(calls: Iterable[Call]) -> Iterator[tuple[Value, int]]:
    """Values that are put side by side, and the place of each."""
    for call in calls:
        if is_wide(call):
            yield from ((value, place) for place, value in enumerate(call.operands, 1))


def maker_of(expression: Expression, attributes: Mapping[str, str]) -> str:
    """What made a value: the one part of a layer that it comes from (`gate`), else the last layer."""
    if expression.calls and expression.calls[-1].target == "F.scaled_dot_product_attention":
        return "attended"
    parts = [
        call.target.rpartition(":")[2] for call in expression.calls if call.kind == "module" and ":" in call.target
    ]
    last = expression.calls[-1].origin.rpartition("/")[2] if expression.calls else ""
    if not last and expression.calls and expression.calls[-1].target == "+":
        return "total"
    made = [attributes[call.target] for call in expression.calls if call.kind == "module"]
    return parts[0] if len(parts) == 1 and last else last or (made[-1] if made else "")
