"""Several parts of a graph as one pattern: what each of their calls is in all of them, and how data flows.

A pattern is a list of slots in canonical order; a slot holds one call of each member, or None where a member has
nothing there. Data then passes through: the slot's value is one of its operands. `flow` proves it, member by member.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import pairwise, product
from typing import Any

from converters.graph import Call, Function, Graph, Module, Tree, Value, leaves, map_tree, values
from converters.weights import Constant
from migrate.blocks.activations import MODULES, is_interchangeable
from migrate.interpret import resolve

Ref = tuple[int, int]  # (slot, which of its outputs), or (-1, which input)
# Functions whose numbers may differ between the members of a pattern; of all others they are part of what they are.
NUMBERED = {"F.pad", "F.max_pool1d", "F.max_pool2d", "F.max_pool3d", "F.avg_pool1d", "F.avg_pool2d", "F.avg_pool3d"}
# Where a "same" pooling differs with the size of the image; two that do are one in blocks.
POOLING = {"padding": 0, "ceil_mode": False}
PASSES_AT_MOST = 3


@dataclass(frozen=True, eq=False)
class Member:
    """Calls of a graph, in canonical order, with one output; `inputs` in order of first use.

    `beside`: values that others read as well, such as a mask: what a member reads of them comes last.
    """

    calls: tuple[Call, ...]
    output: Value
    beside: frozenset[Value] = frozenset()

    @cached_property
    def inputs(self) -> tuple[Value, ...]:
        made = {v for call in self.calls for v in values(call.outputs)}
        read = dict.fromkeys(v for call in self.calls for v in call.operands if v not in made)
        return tuple(sorted(read, key=self.beside.__contains__))

    @cached_property
    def refs(self) -> dict[Value, Ref]:
        """Where each value comes from, slots counted by position in `calls`."""
        found = {v: (-1, i) for i, v in enumerate(self.inputs)}
        for number, call in enumerate(self.calls):
            found.update({v: (number, k) for k, v in enumerate(values(call.outputs))})
        return found


@dataclass(frozen=True)
class Slot:
    """One place of a pattern: a call of each member."""

    calls: tuple[Call | None, ...]

    @property
    def present(self) -> tuple[bool, ...]:
        return tuple(call is not None for call in self.calls)

    @property
    def optional(self) -> bool:
        return None in self.calls

    @property
    def first(self) -> Call:
        return next(call for call in self.calls if call is not None)


@dataclass(frozen=True)
class Flow:
    """Where each slot's operands come from; for an optional slot, through which operand data passes it by."""

    operands: tuple[tuple[Ref, ...], ...]
    through: Mapping[int, int]
    output: Ref

    def uses(self) -> Counter[int]:
        """How often what each slot makes is read; to be the output is to be read once more."""
        return Counter([*(ref[0] for refs in self.operands for ref in refs), self.output[0]])


@dataclass(frozen=True)
class Copies:
    """Slots that hold copies of one unit, one after the other; each member has as many of the first as it needs.

    `before`: how often the unit's first layer stands before them, with other widths. `widens`: whether the first copy
    reads another width than those after it, and is the same else.
    """

    start: int
    size: int  # slots of one copy
    count: int
    before: int
    widens: bool = False

    @property
    def slots(self) -> range:
        return range(self.start, self.start + self.size * self.count)

    @property
    def firsts(self) -> range:
        """The first slot of each copy."""
        return self.slots[:: self.size]

    @property
    def differing(self) -> int:
        """How many of the first copies have numbers of their own: those after them have the same."""
        return 2 if self.widens else 1


@dataclass(frozen=True, eq=False)
class Pattern:
    members: tuple[Member, ...]
    slots: tuple[Slot, ...]
    modules: Mapping[str, Module] = field(repr=False)
    copies: Copies | None = None

    @property
    def is_gate(self) -> bool:
        """Whether it multiplies an image by what it makes of the image's mean."""
        first, last = self.slots[0].first, self.slots[-1].first
        return first.target == "mean" and last.target == "*" and len(last.operands) == 2

    @property
    def depths(self) -> list[int]:
        """How many layers like the unit's first each member has."""
        assert self.copies is not None
        firsts = [self.slots[number] for number in self.copies.firsts]
        return [self.copies.before + sum(slot.present[m] for slot in firsts) for m in range(len(self.members))]

    @cached_property
    def flow(self) -> Flow | None:
        """The data flow that all members share, or None."""
        if len({len(member.inputs) for member in self.members}) != 1:
            return None
        optional = [i for i, slot in enumerate(self.slots) if slot.optional and len(slot.first.operands) > 1]
        choices = [range(min(len(self.slots[i].first.operands), PASSES_AT_MOST)) for i in optional]
        if len(optional) > 4 or any(self._are_two_blocks(*two) for two in pairwise(range(len(self.slots)))):
            return None
        ways = [dict(zip(optional, through, strict=True)) for through in product(*choices)]
        found = (self._flow(through, chained=chained) for chained in (False, True) for through in ways)
        return next(filter(None, found), None)

    def _flow(self, through: dict[int, int], *, chained: bool) -> Flow | None:
        """`chained`: of optional layers that no member has together, the second reads the first."""
        refs = [self._refs(m) for m in range(len(self.members))]
        operands = []
        for slot in self.slots:
            each = [[refs[m][v] for v in call.operands] for m, call in enumerate(slot.calls) if call is not None]
            if len({len(one) for one in each}) != 1:
                return None
            operands.append(tuple(max(column) for column in zip(*each, strict=True)))
        for number, other in pairwise(range(len(self.slots))):
            if operands[other] == operands[number] and self._excludes(number, other):
                operands[other] = ((number, 0),)  # each member passes one of them by
            elif chained and self._never_meet(number, other) and operands[other] == self._before(number, operands):
                operands[other] = ((number, 0),)
        output = max(refs[m][member.output] for m, member in enumerate(self.members))
        flow = Flow(tuple(operands), through, output)
        return flow if all(self._replays(m, flow, refs[m]) for m in range(len(self.members))) else None

    def _excludes(self, number: int, other: int) -> bool:
        """Whether a member has either one layer with weights, or the other."""
        one, two = self.slots[number], self.slots[other]
        layers = all(heavy(s.first, self.modules) and len(s.first.operands) == 1 for s in (one, two))
        return layers and all(a != b for a, b in zip(one.present, two.present, strict=True))

    def _are_two_blocks(self, number: int, other: int) -> bool:
        """Whether some members have one block where others have another one: they are no instances of one class."""
        for slot in (self.slots[number], self.slots[other]):
            if not slot.optional or slot.first.kind != "module" or self.modules[slot.first.target].graph is None:
                return False
        return self._never_meet(number, other)

    def _never_meet(self, number: int, other: int) -> bool:
        one, two = self.slots[number], self.slots[other]
        layers = all(slot.first.kind == "module" or slot.first.target in MODULES for slot in (one, two))
        return layers and not any(a and b for a, b in zip(one.present, two.present, strict=True))

    def _before(self, number: int, operands: Sequence[tuple[Ref, ...]]) -> tuple[Ref, ...]:
        """What a chain of slots reads that are there together, given its last."""
        while number and operands[number] == ((number - 1, 0),):
            if self.slots[number - 1].present != self.slots[number].present:
                break
            number -= 1
        return operands[number]

    @cached_property
    def choices(self) -> dict[int, int]:
        """Slots of which each member has one: the first of each two, and the second."""
        flow = self.flow
        if flow is None:
            return {}
        return {
            number: other
            for number, other in pairwise(range(len(self.slots)))
            if flow.operands[other] == ((number, 0),) and self._excludes(number, other)
        }

    def _refs(self, m: int) -> dict[Value, Ref]:
        found: dict[Value, Ref] = {v: (-1, i) for i, v in enumerate(self.members[m].inputs)}
        for number, slot in enumerate(self.slots):
            call = slot.calls[m]
            if call is not None:
                found.update({v: (number, k) for k, v in enumerate(values(call.outputs))})
        return found

    def _replays(self, m: int, flow: Flow, refs: Mapping[Value, Ref]) -> bool:
        """Whether the flow, with what this member lacks passed by, is the member's own."""
        for number, slot in enumerate(self.slots):
            call = slot.calls[m]
            if call is None:
                continue
            for ref, value in zip(flow.operands[number], call.operands, strict=True):
                if self.resolved(ref, m, flow) != refs[value]:
                    return False
        return self.resolved(flow.output, m, flow) == refs[self.members[m].output]

    def resolved(self, ref: Ref, m: int, flow: Flow) -> Ref | None:
        """The place that holds a value in one member."""
        while ref[0] >= 0 and self.slots[ref[0]].calls[m] is None:
            passed = flow.operands[ref[0]]
            if not passed:
                return None
            ref = passed[flow.through.get(ref[0], 0)]
        return ref


def in_order(pattern: Pattern, graph: Graph) -> Pattern:
    """The same pattern, its members in the order of the graph."""
    places = {call: number for number, call in enumerate(graph.nodes)}
    order = sorted(range(len(pattern.members)), key=lambda m: places[pattern.members[m].calls[0]])
    slots = tuple(Slot(tuple(slot.calls[m] for m in order)) for slot in pattern.slots)
    return replace(pattern, members=tuple(pattern.members[m] for m in order), slots=slots)


def exact(members: Sequence[Member], modules: Mapping[str, Module]) -> Pattern:
    """The pattern of members that have the same shape."""
    slots = tuple(Slot(calls) for calls in zip(*(member.calls for member in members), strict=True))
    return Pattern(tuple(members), slots, modules)


class Tokens:
    """What calls are, apart from the numbers in them: equal tokens may stand in one place of a pattern."""

    def __init__(self, modules: Iterable[Module], *, coarse: bool = False) -> None:
        self.modules = {module.key: module for module in modules}
        self.coarse = coarse
        self.known: dict[Call, Hashable] = {}
        self.kinds: dict[str, Hashable] = {}

    def __call__(self, call: Call) -> Hashable:
        if call not in self.known:
            literals = call.kind != "module" and call.target not in NUMBERED
            self.known[call] = (
                call.kind,
                self._called(call),
                skeleton(call.args, literals),
                skeleton({k: v for k, v in completed(call).kwargs.items() if k != "ceil_mode"}, literals),
                len(values(call.outputs)),
            )
        return self.known[call]

    def loosely(self, call: Call) -> Hashable:
        """The same for all activations of which a block may have one or another."""
        return "activation" if is_interchangeable(call) else self(call)

    def _called(self, call: Call) -> Hashable:
        if call.kind not in ("module", "attribute"):
            return call.target
        if call.target not in self.kinds:
            self.kinds[call.target] = module_token(self.modules[call.target], coarse=self.coarse)
        return self.kinds[call.target]

    def shape(self, member: Member) -> Hashable:
        """Equal for members of the same shape: the same tokens, joined in the same way."""
        refs = member.refs
        return (
            *((self(call), *(refs[v] for v in call.operands)) for call in member.calls),
            refs[member.output],
            len(member.inputs),
        )


def module_token(module: Module, *, coarse: bool = False) -> Hashable:
    """What kind of module it is: its class, and what of its arguments makes it another kind of layer.

    `coarse`: a convolution with a kernel of 1 is one like others.
    """
    behaviour = (module.trainable, module.inference, tuple(sorted(module.frozen)))
    if module.graph is not None:
        return ("model", module.graph.block.template if module.graph.block else module.graph, behaviour)
    kept = []
    if module.constructor == "buffer":
        kept = [w.value for w in module.state.values() if isinstance(w, Constant)]
    given = arguments(module)
    window = None
    if module.constructor.startswith("nn.Conv"):  # a local ConvLSTM has other arguments
        window = (given["groups"] == given["in_channels"] != 1, not coarse and _is_one(given["kernel_size"]))
    other = {k: v for k, v in given.items() if not isinstance(v, (int, float, tuple)) or isinstance(v, bool)}
    dtypes = module.args[1:] if module.constructor in ("parameter", "buffer") else ()
    rank = len(module.args[0]) if module.constructor in ("parameter", "buffer") else None
    return (
        module.constructor, window, tuple(sorted((k, repr(v)) for k, v in other.items())), tuple(map(repr, kept)),
        tuple(sorted(module.state)), dtypes, rank, behaviour,
    )  # fmt: skip


def _is_one(kernel: Any) -> bool:
    return kernel == 1 or (isinstance(kernel, tuple) and set(kernel) == {1})


def arguments(module: Module) -> dict[str, Any]:
    """The arguments of a module's constructor by name, defaults included."""
    if module.graph is not None or module.constructor in ("parameter", "buffer"):
        return dict(module.kwargs)
    known = signature(module.constructor)
    try:
        bound = known.bind(*module.args, **module.kwargs)
    except TypeError:
        return {**{str(i): a for i, a in enumerate(module.args)}, **module.kwargs}
    defaults = {p.name: p.default for p in known.parameters.values() if p.default is not p.empty}
    given = {k: v for k, v in bound.arguments.items() if k not in ("args", "kwargs")}
    return {**defaults, **given, **bound.arguments.get("kwargs", {})}


@cache
def signature(constructor: str) -> inspect.Signature:
    """Of the class that a module is made of."""
    return inspect.signature(resolve(constructor))


def skeleton(tree: Tree, literals: bool) -> Hashable:
    """A tree with its values, and if not `literals` also its numbers, blanked out."""

    def blank(leaf: Any) -> Any:
        if isinstance(leaf, Value):
            return "value"
        if not literals and isinstance(leaf, (int, float)) and not isinstance(leaf, bool):
            return "number"
        return (type(leaf).__name__, repr(leaf))

    return _hashable(map_tree(blank, tree))


def _hashable(tree: Tree) -> Hashable:
    if isinstance(tree, (list, tuple)):
        return (type(tree).__name__, *map(_hashable, tree))
    if isinstance(tree, Mapping):
        return tuple((key, _hashable(value)) for key, value in tree.items())
    if isinstance(tree, slice):
        return ("slice", *(_hashable(part) for part in (tree.start, tree.stop, tree.step)))
    return tree  # type: ignore[no-any-return]  # a leaf


def completed(call: Call) -> Call:
    """A maximum pooling with what it leaves out, so that it compares with others."""
    if not call.target.startswith("F.max_pool"):
        return call
    given = {key: value for key, value in call.kwargs.items() if key not in POOLING}
    return replace(call, kwargs={**given, **{key: call.kwargs.get(key, usual) for key, usual in POOLING.items()}})


def numbers(call: Call) -> dict[str, Any]:
    """Every leaf of a call's arguments: by its keyword, else by its place."""
    call = completed(call)
    found = {f"#{i}": leaf for i, leaf in enumerate(leaves(call.args))}
    for key, value in call.kwargs.items():
        inside = list(leaves(value))
        found |= {key: value} if inside == [value] else {f"{key}{i}": leaf for i, leaf in enumerate(inside)}
    return found


def functions_in(tree: Tree) -> Iterator[Function]:
    yield from (leaf for leaf in leaves(tree) if isinstance(leaf, Function))


def heavy(call: Call, modules: Mapping[str, Module]) -> bool:
    """Whether a call has a matrix of weights, or is a block or model."""
    if call.kind != "module":
        return False
    module = modules[call.target]
    return module.graph is not None or any(weight.rank > 1 for weight in module.state.values())


def shared_modules(graph: Graph) -> set[str]:
    """Keys of modules that are called more than once: they belong to no block."""
    seen: set[str] = set()
    twice: set[str] = set()
    for call in graph.nodes:
        if isinstance(call, Call) and call.kind in ("module", "attribute"):
            (twice if call.target in seen else seen).add(call.target)
    return twice
