"""What is one vector for each sample, among axes of size 1, is kept as (N, C): the inside of squeeze-and-excite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from converters.arrangement import Perm, Vector
from converters.graph import Call, Graph, Module, Shape, Tree, Value, map_tree, values
from migrate.simplify.calls import calls_of, order_of
from migrate.simplify.folding import REDUCTIONS
from migrate.simplify.reorders import ELEMENTWISE

VIEWS = {"reshape", "unflatten", "flatten", "squeeze", "unsqueeze"}
TURNS = {"permute", "transpose"}
LAST = {"nn.Linear", "nn.LayerNorm"}  # they look at the last axis
NORMS = {"nn.BatchNorm2d", "nn.BatchNorm3d"}  # at axis 1
SIGNS = {"+", "-", "*", "/"}
BATCH_AND_FEATURES = 2


def keep_vectors(graph: Graph) -> Graph:
    """mean -> (N, 1, 1, C) -> Linear -> sigmoid -> (N, C, 1, 1): the axes of size 1 are put back at the end only."""
    found = _Vectors(graph)
    found.collect()
    return found.written() if found.inside else graph


def place(shape: Shape) -> int | None:
    """The axis of the vector in a tensor that has one for each sample; None if it has more."""
    if len(shape) < BATCH_AND_FEATURES or None in shape[1:]:
        return None
    wide = [axis for axis, size in enumerate(shape) if axis and size != 1]
    return None if len(wide) > 1 else wide[0] if wide else len(shape) - 1


def _is_unit_view(call: Call) -> bool:
    """Whether it does nothing but put in axes of size 1, take them out or move them."""
    source, made = call.args[0], call.outputs
    if call.kind != "method" or call.target not in VIEWS | TURNS or not isinstance(source, Value):
        return False
    before, after = place(source.sizes), place(made.sizes)
    if before is None or after is None or (call.target in TURNS and order_of(call)[0] != 0):
        return False
    return bool(source.sizes[0] == made.sizes[0] and source.sizes[before] == made.sizes[after])


@dataclass
class _Vectors:
    """`inside`: by what it makes, every call that can work on (N, C) instead."""

    graph: Graph
    inside: dict[Value, Call] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.modules = {module.key: module for module in self.graph.modules}
        self.called = Counter(call.target for call in calls_of(self.graph) if call.kind == "module")
        self.readers = self.graph.readers()
        self.outputs = set(values(self.graph.outputs))

    def collect(self) -> None:
        for call in calls_of(self.graph):
            made = call.outputs
            if isinstance(made, Value) and place(made.shape or ()) is not None and self._can(call):
                self.inside[made] = call
        for part in list(self._parts()):
            if not self._is_worth(part):
                for value in part:
                    del self.inside[value]

    def _can(self, call: Call) -> bool:
        source = call.args[0] if call.args and isinstance(call.args[0], Value) else None
        if source is None:
            return False
        if _is_unit_view(call):
            return source in self.inside or source.rank == BATCH_AND_FEATURES
        if call.kind == "method" and call.target in REDUCTIONS:
            dims = call.kwargs.get("dim")
            kept = set(range(source.rank)) - set(dims if isinstance(dims, tuple) else (dims,))
            return call.kwargs.get("keepdim") is True and kept == {0, place(call.outputs.sizes)}
        if not all(operand in self.inside and operand.rank == call.outputs.rank for operand in call.operands):
            return False
        if call.kind == "module":
            return len(call.args) == 1 and not call.kwargs and self._layer_can(self.modules[call.target], source)
        if call.kind == "operator":
            return call.target in SIGNS and all(operand.sizes == call.outputs.sizes for operand in call.operands)
        return call.kind in ("function", "method") and call.target in ELEMENTWISE and len(call.operands) == 1

    def _layer_can(self, module: Module, source: Value) -> bool:
        if module.constructor in NORMS:
            return self.called[module.key] == 1 and place(source.sizes) == 1
        return module.constructor == "nn.Dropout" or (
            module.constructor in LAST and place(source.sizes) == source.rank - 1
        )

    def _parts(self) -> Iterator[list[Value]]:
        """What hangs together."""
        parts: dict[Value, list[Value]] = {}
        for value, call in self.inside.items():
            joined = [value]
            for part in {id(p): p for v in call.operands if (p := parts.get(v))}.values():
                joined = [*part, *joined]
            parts |= dict.fromkeys(joined, joined)
        yield from {id(part): part for part in parts.values()}.values()

    def _is_worth(self, part: list[Value]) -> bool:
        """Whether layers work on it, or all that it is read by is arithmetic: a gate, or a bias of each channel."""
        made = [self.inside[value] for value in part]
        if any(call.kind == "module" and self.modules[call.target].constructor == "nn.Linear" for call in made):
            return True
        ends = [reader for value in part for reader in self.readers.get(value, ()) if reader not in made]
        views = all(_is_unit_view(call) for call in made)
        return views and bool(ends) and all(end.kind == "operator" and end.target in SIGNS for end in ends)

    # -- the graph without the axes -------------------------------------------------------------------------------

    def written(self) -> Graph:
        new: dict[Value, Value] = {}  # (N, C) for what had more axes
        whole: dict[Value, Value] = {}  # what is read outside with all of them
        norms: set[str] = set()
        nodes: list[Call] = []
        inside = set(self.inside.values())
        for call in calls_of(self.graph):
            value = call.outputs
            if not isinstance(value, Value) or value not in self.inside:
                nodes.append(replace(call, args=_put(call.args, whole), kwargs=_put(call.kwargs, whole)))
                continue
            view = _is_unit_view(call)
            new[value] = _put(call.args[0], new) if view else _vector(value)
            if not view:
                nodes.append(_on_vectors(call, new))
                norms |= {call.target} if call.kind == "module" else set()
            if any(reader not in inside for reader in self.readers.get(value, ())) or value in self.outputs:
                whole[value] = self._restored(value, new[value], nodes, view=view)
        return replace(
            self.graph,
            nodes=tuple(nodes),
            outputs=_put(self.graph.outputs, whole),
            modules=tuple(_one_axis(m) if m.key in norms else m for m in self.graph.modules),
            tensors={k: _arranged(v, new, whole) for k, v in self.graph.tensors.items()},
        )

    def _restored(self, value: Value, vector: Value, nodes: list[Call], *, view: bool) -> Value:
        """The value with its axes of size 1, made of the vector by a view."""
        if value.rank == BATCH_AND_FEATURES:
            return vector
        axis, every = place(value.sizes), slice(None)
        key = (every, *(every if number == axis else None for number in range(1, value.rank)))
        made = value if view else replace(value, name=f"{value.name}_whole")
        nodes.append(Call("operator", "[]", (vector, key), {}, made, self.inside[value].origin))
        return made


def _vector(value: Value) -> Value:
    """What is called as the value, without its axes of size 1."""
    axis = place(value.sizes) or 0
    shapes = tuple((shape[0], shape[axis]) for shape in (value.sizes, *value.tried))
    return replace(value, shape=shapes[0], tried=shapes[1:], arrangement=Perm((0, 1)))


def _on_vectors(call: Call, new: Mapping[Value, Value]) -> Call:
    kwargs = {key: option for key, option in call.kwargs.items() if key != "keepdim"}
    return replace(call, args=_put(call.args, new), kwargs=kwargs, outputs=new[call.outputs])


def _put(tree: Tree, new: Mapping[Value, Value]) -> Tree:
    """A tree with other values in it; one that has the axes that it had is still read as it was here."""

    def put(leaf: Tree) -> Tree:
        found = new.get(leaf) if isinstance(leaf, Value) else None
        return leaf if found is None else found.arranged(leaf.arrangement) if found.rank == leaf.rank else found

    return map_tree(put, tree)


def _one_axis(module: Module) -> Module:
    return replace(module, constructor="nn.BatchNorm1d") if module.constructor in NORMS else module


def _arranged(value: Value, new: Mapping[Value, Value], whole: Mapping[Value, Value]) -> Value:
    """Where a Keras tensor is now."""
    if value not in new or whole.get(value) == value or not isinstance(value.arrangement, Perm):
        return value
    axis = place(value.sizes) or 0
    return new[value].arranged(
        Vector((0, value.arrangement.axes[axis] if value.arrangement.axes else axis), value.rank)
    )
