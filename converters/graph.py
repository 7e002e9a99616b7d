"""The intermediate form, on one page: values, nodes of the Keras graph, calls of the torch graph.

A `Graph` of `Node`s is what a model file says (ops such as `layers.Conv2D`); lowering turns it into
a `Graph` of `Call`s, each of which is one torch call that the emitter will print.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from converters.arrangement import Arrangement, Perm, keras_shape
from converters.errors import UserError
from converters.weights import Weight, WeightSource

Shape = tuple[int | None, ...]
Tree = Any  # a value or literal, or tuples, lists, dicts and slices of them


@dataclass(frozen=True)
class Value:
    """A tensor of the graph. Two values are the same if their names are.

    `shape` lists the axes as they lie in memory, None for a dynamic size; it is None where the file
    states nothing. `arrangement` says which Keras axis each of them is. `mask` is the value of the
    mask that Keras sends along with it, where there is one. `tried` are its shapes for the two sizes that lowering
    gives to each dynamic axis of the inputs.
    """

    name: str
    shape: Shape | None = field(default=None, compare=False)
    dtype: str = field(default="float32", compare=False)
    arrangement: Arrangement = field(default=Perm(()), compare=False, repr=False)
    mask: Value | None = field(default=None, compare=False, repr=False)
    tried: tuple[Shape, ...] = field(default=(), compare=False, repr=False)

    @property
    def sizes(self) -> Shape:
        """The shape where it must be known, as it is after lowering."""
        if self.shape is None:
            raise UserError(f"the shape of {self.name} is not known here")
        return self.shape

    @property
    def rank(self) -> int:
        return len(self.sizes)

    @property
    def keras_shape(self) -> Shape:
        """The shape with its axes in the order of Keras."""
        return keras_shape(self.arrangement, self.sizes)

    def arranged(self, arrangement: Arrangement) -> Value:
        """The same tensor, its axes (not its memory) read in another way."""
        return replace(self, arrangement=arrangement)

    def masked(self, mask: Value | None) -> Value:
        return replace(self, mask=mask)


@dataclass(frozen=True)
class Function:
    """A torch function, or one of `converters/local`, as an argument of a module.

    `F.relu`, or with options, as `partial` takes them: `partial(F.softmax, dim=-1)`.
    """

    target: str
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, eq=False)
class Layer:
    """What a model file says about one layer or op, in the vocabulary of Keras 3.

    `path` names it within the whole model (`encoder/dense_1`); `children` are the layers that it
    wraps; `graph` is set where the layer is itself a model; `refusal` is the reason and the way out where
    the reader found something that nobody converts; `twin` is the path of the same layer in another model.
    """

    name: str
    path: str
    class_name: str
    config: Mapping[str, Any]
    version: tuple[int, ...]
    weights: WeightSource
    trainable: bool = True
    children: Mapping[str, Layer] = field(default_factory=dict)
    graph: Graph | None = None
    refusal: tuple[str, str] | None = None
    twin: str = ""

    def family(self) -> Iterator[Layer]:
        """Itself, and all that is within."""
        yield self
        if self.graph is not None:
            yield from self.graph.layers().values()
        for child in self.children.values():
            yield from child.family()


@dataclass(frozen=True, eq=False)
class Node:
    """One call of a Keras layer (`op` is `layers.Dense`) or of an op (`ops.Add`)."""

    op: str
    layer: Layer
    args: Tree
    kwargs: Mapping[str, Tree]
    outputs: tuple[Value | None, ...]


@dataclass(frozen=True, eq=False)
class Module:
    """An attribute of an emitted class: a submodule, or a bare parameter or buffer.

    `state` maps the keys of its state dict to weight expressions, `learned` names those that an optimizer
    moves, `frozen` the parameters that must not learn though their layer does. `inference`: it stays in
    inference mode when the model trains. `graph` is set where the class is a nested model's.
    """

    key: str
    constructor: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    state: Mapping[str, Weight]
    origin: str
    class_name: str = ""
    learned: frozenset[str] = frozenset()
    frozen: frozenset[str] = frozenset()
    trainable: bool = True
    inference: bool = False
    comment: str = ""
    graph: Graph | None = None


@dataclass(frozen=True, eq=False)
class Call:
    """One torch call. `kind` and `target` say what is called:

    module (a module's key) · function (`F.pad`, or a function of `converters/local`) · method
    (`flatten`) · operator (`+`, `[]`, `neg`) · attribute (a parameter's key) · size (an axis) ·
    rename (nothing: the same data, its axes under other names; gone after simplification).
    `origin` is the path of the Keras layer that it came from.
    """

    kind: str
    target: str
    args: tuple[Tree, ...]
    kwargs: Mapping[str, Tree]
    outputs: Tree
    origin: str

    @property
    def operands(self) -> list[Value]:
        return values((self.args, self.kwargs))


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes or calls in an order in which they can run.

    `ties`: attributes of the emitted class that are others of it, each by the keys of the modules that lead there.
    `tensors`: what each value of the Keras graph has become; one that simplification removed is made by no call.
    `block`: of an instance of a repeated block, what it is an instance of (`migrate/blocks/template.py`, Use).
    `sequential`: its modules are called one after the other, as an nn.Sequential does.
    """

    name: str
    inputs: Tree
    outputs: Tree
    nodes: tuple[Node, ...] | tuple[Call, ...] = ()
    modules: tuple[Module, ...] = ()
    ties: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = ()
    tensors: Mapping[Value, Value] = field(default_factory=dict)
    block: Any = None
    sequential: bool = False

    @property
    def borrowed(self) -> set[str]:
        """The keys of modules that are made elsewhere."""
        return {target[0] for target, _ in self.ties if len(target) == 1}

    def uses(self) -> Counter[Value]:
        """How often each value is read; to be an output is to be read once more."""
        read = Counter(operand for node in self.nodes for operand in values((node.args, node.kwargs)))
        return read + Counter(values(self.outputs))

    def readers(self) -> dict[Value, list[Call]]:
        """The calls that read each value; one that reads it twice is there twice."""
        found: dict[Value, list[Call]] = {}
        for call in self.nodes:
            assert isinstance(call, Call)
            for value in call.operands:
                found.setdefault(value, []).append(call)
        return found

    def layers(self) -> dict[str, Layer]:
        """The Keras layers by path, those of nested models and those that others wrap included."""
        return {layer.path: layer for node in self.nodes if isinstance(node, Node) for layer in node.layer.family()}

    def check(self) -> Graph:
        """Every operand is made before it is used, and nothing is made twice."""
        known = set(values(self.inputs))
        for node in self.nodes:
            for operand in values((node.args, node.kwargs)):
                if operand not in known:
                    raise UserError(f"graph {self.name!r}: {operand.name} is used before it is made")
            made = values(node.outputs)
            if known.intersection(made):
                raise UserError(f"graph {self.name!r}: {made[0].name} is made twice")
            known.update(made)
        if missing := [v.name for v in values(self.outputs) if v not in known]:
            raise UserError(f"graph {self.name!r}: nothing makes its outputs {missing}")
        return self

    def __str__(self) -> str:
        lines = [f"{self.name}({', '.join(map(_show, values(self.inputs)))})"]
        for node in self.nodes:
            what = node.op if isinstance(node, Node) else f"{node.kind} {node.target}"
            operands = ", ".join(v.name for v in values((node.args, node.kwargs)))
            lines.append(f"  {', '.join(map(_show, values(node.outputs)))} = {what}({operands})")
        return "\n".join([*lines, f"  return {', '.join(v.name for v in values(self.outputs))}"])


def _show(value: Value) -> str:
    return f"{value.name}{list(value.shape) if value.shape is not None else ''}"


def leaves(tree: Tree) -> Iterator[Any]:
    """Everything in a tree that is not a container, in order."""
    if isinstance(tree, (list, tuple)):
        for item in tree:
            yield from leaves(item)
    elif isinstance(tree, Mapping):
        for item in tree.values():
            yield from leaves(item)
    elif isinstance(tree, slice):
        yield from (tree.start, tree.stop, tree.step)
    else:
        yield tree


def values(tree: Tree) -> list[Value]:
    """The values in a tree, in order."""
    return [leaf for leaf in leaves(tree) if isinstance(leaf, Value)]


def map_tree(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """The same tree with `function` applied to every leaf."""
    if isinstance(tree, (list, tuple)):
        return type(tree)(map_tree(function, item) for item in tree)
    if isinstance(tree, Mapping):
        return {key: map_tree(function, item) for key, item in tree.items()}
    if isinstance(tree, slice):
        return slice(*(map_tree(function, part) for part in (tree.start, tree.stop, tree.step)))
    return function(tree)
