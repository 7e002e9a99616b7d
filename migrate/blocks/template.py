"""A pattern -> the class that its members are instances of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise, starmap
from typing import Any

from converters.graph import Call, Graph, Module, Tree, Value, map_tree, values
from migrate.blocks.activations import CHOSEN, MODULES, PADDINGS, overwriting
from migrate.blocks.border import any_extent, any_steps, difference, is_extent, is_steps, rounds_up, shrinking
from migrate.blocks.branches import Branches
from migrate.blocks.canonical import ordered
from migrate.blocks.columns import ACTIVATION, DEPTH, Columns, usual
from migrate.blocks.expressions import Condition, Scaled
from migrate.blocks.inputs import input_names
from migrate.blocks.parameters import HIDDEN, names_in, same, unused, width
from migrate.blocks.pattern import POOLING, Flow, Pattern, Ref, arguments, completed, numbers, signature
from migrate.blocks.prefixes import own_name, prefix_of, role
from migrate.blocks.shortcuts import shortcut

WIDENED = "widened"  # the width that all copies of a unit read but the first: they stand in one nn.Sequential
EITHER = "either"  # one of two layers; an attribute that is made on a condition
PARAMETERS_AT_MOST = 4  # beside the widths at the block's border, and the one inside where there is one only


@dataclass(eq=False)
class Template:
    """A class of the emitted source: its graph, in which formulas stand for numbers, and its parameters.

    `parts`: for every key of the graph's modules, the keys of the members' modules there (None where one has none).
    `conditions`: when an optional module is there. `flags`: what `forward` asks for, by name.
    `copies`: for a module that stands for copies of a unit, the keys of each member's copies.
    `roles`: what the user's names call the modules, without what they call the block. `prefixes`: that, by member.
    """

    graph: Graph
    parameters: dict[str, list[Any]]
    conditions: dict[str, Condition] = field(default_factory=dict)
    flags: dict[str, Condition] = field(default_factory=dict)
    parts: dict[str, list[str | None]] = field(default_factory=dict)
    copies: dict[str, list[list[list[str]]]] = field(default_factory=dict)
    calls: dict[Call, list[Call]] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    prefixes: list[str] = field(default_factory=list)
    widening: str = ""  # how wide the output is: `in_channels + 32`, where it is a parameter and what is added to it
    shrinking: str = ""  # by what height and width are divided: a number, a parameter, "?" where it is neither
    branches: dict[str, str] = field(default_factory=dict)  # which of what is put side by side a module is
    rounds_up: bool = False  # where that leaves a rest
    cut: bool = False  # whether a row and a column are lost before, as windows without padding lose them
    other_extents: bool = False  # whether what it reads second may be of another height and width
    models: bool = False  # nested models of the user's, whose names name the class

    @property
    def alone(self) -> bool:
        """Whether there is one instance only."""
        return len(self.prefixes) == 1

    @property
    def defaults(self) -> dict[str, Any]:
        """What most instances are made with, for the parameters after the widths."""
        return {
            name: default for name, column in self.parameters.items() if (default := usual(name, column)) is not None
        }


@dataclass(frozen=True)
class Use:
    """How a graph is an instance of a template: where each of its modules is, and the constructor's arguments."""

    template: Template
    paths: Mapping[str, tuple[str, ...]]
    arguments: Mapping[str, Any]
    prefix: str = ""


def build(pattern: Pattern) -> Template | None:
    """The class of a pattern, or None if it would take too many parameters."""
    flow = pattern.flow
    return _Builder(pattern, flow).template() if flow is not None else None


class _Builder:
    """Writes one template."""

    def __init__(self, pattern: Pattern, flow: Flow) -> None:
        self.pattern, self.flow = pattern, flow
        self.columns = Columns(pattern)
        self.values: dict[Ref, Value] = {}
        self.made = Template(Graph("", (), ()), {})
        self.modules: list[Module] = []
        self.nodes: list[Call] = []
        self.chains: dict[int, str] = {}
        self.any_extent = all(any_extent(member.calls, pattern.modules) for member in pattern.members)
        self.any_steps = all(any_steps(member.calls, pattern.modules) for member in pattern.members)
        self.copied = pattern.copies.slots if pattern.copies is not None else range(0)
        self.shortcut = shortcut(pattern, flow)

    def template(self) -> Template | None:
        conditions, parameters = self.columns.conditions(), self.columns.parameters
        asked = parameters.used - parameters.given
        if len(asked) - (sum(name.startswith(HIDDEN) for name in asked) == 1) > PARAMETERS_AT_MOST:
            return None
        inputs = [
            self._value((-1, i), [m.inputs[i] for m in self.pattern.members])
            for i in range(len(self.pattern.members[0].inputs))
        ]
        for i, name in enumerate(input_names(self.pattern.members[0], self.pattern.modules)):
            self.values[-1, i] = replace(inputs[i], name=name)
        self._write(conditions)
        output = self.values[self.flow.output]
        arguments_ = tuple(self.values[-1, i] for i in range(len(inputs)))
        graph = Graph(
            "", arguments_[0] if len(inputs) == 1 else arguments_, output, tuple(self.nodes), tuple(self.modules)
        )
        self.made.graph = ordered(graph.check(), by_place=True)
        self.made.parameters = dict(self.columns.ordered())
        self._outer_shape()
        self._roles()
        return self.made

    def _outer_shape(self) -> None:
        """What a reader wants to know of the output's shape, beside its width."""
        ends = [(m.inputs[0], m.output) for m in self.pattern.members]
        for name, column in self.made.parameters.items():
            if not name.endswith("channels"):
                continue
            more = {difference(known, width(end)) for known, (_, end) in zip(column, ends, strict=True)}
            if len(more) == 1 and (plus := more.pop()) and plus > 0:
                self.made.widening = f"{name} + {plus}"
                break
        ratios = [shrinking(a, b) for a, b in ends]
        self.made.other_extents = {shrinking(i, m.inputs[0]) for m in self.pattern.members for i in m.inputs[1:]} > {1}
        self.made.rounds_up = rounds_up(ends)
        if set(ratios) <= {1, None}:
            return
        named = [name for name in ("stride",) if self.made.parameters.get(name) == ratios]
        self.made.shrinking = named[0] if named else str(ratios[0]) if len(set(ratios)) == 1 and ratios[0] else "?"

    def _roles(self) -> None:
        """What the user calls the parts of the block, where all members agree."""
        modules = self.pattern.modules
        prefixes = self.made.prefixes = [prefix_of(member, modules) for member in self.pattern.members]
        for key, targets in self.made.parts.items():
            found = {
                role(name, prefix)
                for t, prefix in zip(targets, prefixes, strict=True)
                if t is not None and (name := own_name(modules[t]))
            }
            self.made.roles[key] = found.pop() if len(found) == 1 else ""

    # -- calls -------------------------------------------------------------------------------------------------

    def _write(self, conditions: Mapping[int, Condition]) -> None:
        branches = Branches(self.pattern, self.flow, self._as_module).chains
        self.chains = {number: name for name, chain in branches.items() for number in chain}
        groups = list(self._groups())
        for group in groups:
            if group[0] in self.copied:
                self._copies(group)
            elif group[0] in self.pattern.choices:
                self._chosen(group[0], conditions[group[0]])
            elif group[0] in self.pattern.choices.values():
                continue
            elif not self.pattern.slots[group[0]].optional:
                self._always(group)
            elif all(self._as_module(number) for number in group):
                self._grouped(group, conditions[group[0]])
            else:
                for number in group:
                    self._optional_call(number, conditions[number])

    def _groups(self) -> Iterator[list[int]]:
        """Slots one by one, but as one those of a branch, and optional ones of a chain that are there together."""
        group: list[int] = []
        for number, slot in enumerate(self.pattern.slots):
            if group and any(number in one and group[-1] in one for one in (self.copied, self.shortcut)):
                group = [*group, number]
                continue
            chain = self.chains.get(number)
            follows = (
                group and (slot.optional or chain is not None) and chain == self.chains.get(group[-1])
                and self.pattern.slots[group[-1]].present == slot.present
                and self.flow.operands[number] == ((group[-1], 0),) and self.flow.uses()[group[-1]] == 1
            )  # fmt: skip
            alone = any(one and (number in one or group[-1] in one) for one in (self.copied, self.shortcut) if group)
            if group and (alone or not (follows and self._as_module(number) and self._as_module(group[-1]))):
                yield group
                group = []
            group = [*group, number]
        yield group

    def _as_module(self, number: int) -> Module | None:
        """A slot as a module of one input, if it can be one."""
        slot = self.pattern.slots[number]
        call = slot.first
        if len(call.operands) != 1 or not isinstance(call.outputs, Value):
            return None
        if call.kind == "module" and len(call.args) == 1 and not call.kwargs:
            return self._module(number)
        key = f"{number}:{call.target}"
        args, kwargs = self._call_arguments(number, call)
        if call.target == "F.pad":
            plain = not kwargs and len(args) == 2 and len(args[1]) in PADDINGS
            return _stateless(key, PADDINGS[len(args[1])], args[1:], kwargs, call) if plain else None
        if call.kind == "function" and call.target in MODULES and isinstance(call.args[0], Value):
            chosen = self.columns.solved.get((number, ACTIVATION))
            if chosen is not None:
                return _stateless(key, CHOSEN, (chosen,), kwargs, call)
            return _stateless(key, MODULES[call.target], args[1:], kwargs, call)
        return None

    def _module(self, number: int) -> Module:
        """The module of a slot, formulas in place of its numbers."""
        slot = self.pattern.slots[number]
        modules = [self.pattern.modules[c.target] for c in slot.calls if c is not None]
        first = modules[0]
        key = f"{number}"
        self.made.parts[key] = [c.target if c is not None else None for c in slot.calls]
        if first.constructor in ("parameter", "buffer"):
            return replace(
                first, key=key, args=(self.columns.solved.get((number, "shape"), first.args[0]), *first.args[1:])
            )
        if first.graph is not None:
            return replace(first, key=key, kwargs={k: self.columns.solved[number, k] for k in first.kwargs})
        names = list(arguments(first))
        positional = max(len(m.args) for m in modules)
        written = dict.fromkeys(k for m in modules for k in (*_names(first)[:positional], *m.kwargs) if k in names)
        solved = {k: self.columns.solved[number, k] for k in sorted(written, key=_names(first).index)}
        leading = _names(first)[:positional]
        return replace(
            first,
            key=key,
            args=tuple(solved[k] for k in leading),
            kwargs={k: v for k, v in solved.items() if k not in leading},
        )

    def _plain(self, number: int) -> None:
        call = self.pattern.slots[number].first
        args, kwargs = self._call_arguments(number, call)
        target = call.target
        if call.kind in ("module", "attribute"):
            module = self._module(number)
            self._add(module, number)
            target = module.key
        self._emit(replace(call, target=target, args=args, kwargs=kwargs), number)

    def _add(self, module: Module, number: int) -> None:
        self.modules.append(module)
        if number in self.chains:
            self.made.branches[module.key] = self.chains[number]

    def _always(self, group: list[int]) -> None:
        """What all members have: a shortcut of several layers as one; what differs between members is made once."""
        call = self.pattern.slots[group[0]].first
        args, kwargs = self._call_arguments(group[0], call)
        differs = call.kind == "function" and any(names_in((args, *kwargs.values())))
        differs = differs or (group[0], ACTIVATION) in self.columns.solved
        if len(group) > 1 or (differs and self._as_module(group[0])):
            self._grouped(group, None)
        else:
            self._plain(group[0])

    def _chosen(self, number: int, condition: Condition) -> None:
        """One of two layers as one attribute."""
        other = self.pattern.choices[number]
        order = (number, other) if self.columns.lead(number) == number else (other, number)
        made = tuple(module for n in order if (module := self._as_module(n)) is not None)
        module = _holding(made, _stateless(f"{number}|{other}", EITHER, (), {}, self.pattern.slots[number].first))
        self._attach(module, [number, other], condition)

    def _grouped(self, group: list[int], condition: Condition | None) -> None:
        """One module, or several as an nn.Sequential. With a condition, nn.Identity stands there otherwise."""
        self._attach(self._chained(group, f"{group[0]}-{group[-1]}"), group, condition)

    def _chained(self, group: list[int], key: str) -> Module:
        """The module of some slots, or of several an nn.Sequential."""
        made = [module for number in group if (module := self._as_module(number)) is not None]
        if len(made) == 1:
            before = self._scratch(group[0])
            return overwriting(before, made[0]) if before is not None else made[0]
        made = [made[0], *starmap(overwriting, pairwise(made))]
        return _holding(made, _stateless(key, "sequential", (), {}, self.pattern.slots[group[0]].first))

    def _scratch(self, number: int) -> Module | None:
        """The layer that makes what a slot reads, if all members have it and nobody else reads that."""
        before = self.flow.operands[number][0][0]
        slot = self.pattern.slots[before] if before >= 0 else None
        if slot is None or slot.optional or slot.first.kind != "module" or self.flow.uses()[before] != 1:
            return None
        return self.pattern.modules[slot.first.target]

    def _attach(self, module: Module, group: list[int], condition: Condition | None) -> None:
        """A module, and its call; two paddings of all members that add the same zeros are one."""
        same = (m for m in self.modules if (m.constructor, m.args) == (module.constructor, module.args))
        known = next(same, None) if condition is None and module.constructor in PADDINGS.values() else None
        if known is not None and known.key not in self.made.conditions and group[0] not in self.chains:
            module = known
        else:
            self._add(module, group[0])
        if condition is not None:
            self.made.conditions[module.key] = condition
        self._call(module, group)

    def _call(self, module: Module, group: list[int]) -> None:
        """The call that stands for some slots."""
        passed = self.values[self.flow.operands[group[0]][0]]
        call = Call("module", module.key, (passed,), {}, self._outputs(group[-1], passed), "")
        self.nodes.append(call)
        self.made.calls[call] = [c for number in group for c in self.pattern.slots[number].calls if c is not None]

    def _copies(self, group: list[int]) -> None:
        """An nn.Sequential with as many copies of a unit as the block is deep."""
        copies = self.pattern.copies
        assert copies is not None
        key, first = f"{group[0]}-{group[-1]}", self.pattern.slots[group[0]].first
        unit = self._chained(group[: copies.size], f"{key} unit")
        times: dict[str, Any] = {"times": Scaled(DEPTH, plus=-copies.before)}
        if copies.widens:
            second = group[copies.size]
            times[WIDENED] = self.columns.solved[second, _names(self.pattern.modules[first.target])[0]]
        module = _holding([unit], _stateless(key, "sequential", (), times, first))
        self.modules.append(module)
        self.made.copies[key] = [
            [self._keys(start, m) for start in copies.firsts if self.pattern.slots[start].present[m]]
            for m in range(len(self.pattern.members))
        ]
        self._call(module, group)

    def _keys(self, start: int, member: int) -> list[str]:
        """The keys of the modules in one copy, '' for what is none."""
        assert self.pattern.copies is not None
        calls = [slot.calls[member] for slot in self.pattern.slots[start : start + self.pattern.copies.size]]
        return [call.target if call is not None and call.kind == "module" else "" for call in calls]

    def _optional_call(self, number: int, condition: Condition) -> None:
        """A call that `forward` makes on a condition; else its value is one of its operands."""
        call = self.pattern.slots[number].first
        args, kwargs = self._call_arguments(number, call)
        passed = self.values[self.flow.operands[number][self.flow.through.get(number, 0)]]
        known = [name for name, test in self.made.flags.items() if test == condition]
        flag = known[0] if known else unused("residual" if len(call.operands) > 1 else "extended", self.made.flags)
        self.made.flags[flag] = condition
        self._emit(
            replace(call, kind="optional", target=flag, args=(passed, call.kind, call.target, args, kwargs), kwargs={}),
            number,
            passed,
        )

    def _call_arguments(self, number: int, call: Call) -> tuple[Tree, dict[str, Tree]]:
        call, operands = completed(call), iter(self.flow.operands[number])
        tree = map_tree(
            lambda leaf: self.values.get(next(operands), leaf) if isinstance(leaf, Value) else leaf,  # not made yet
            (call.args, dict(call.kwargs)),
        )
        keys = iter(numbers(call))

        def numbered(leaf: Any) -> Any:
            return self.columns.solved.get((number, next(keys)), leaf)

        args, kwargs = map_tree(numbered, tree)
        return args, {key: value for key, value in kwargs.items() if not same(value, POOLING.get(key))}

    def _emit(self, call: Call, number: int, passed: Value | None = None) -> None:
        call = replace(call, outputs=self._outputs(number, passed), origin="")
        self.nodes.append(call)
        self.made.calls[call] = [c for c in self.pattern.slots[number].calls if c is not None]

    def _outputs(self, number: int, passed: Value | None) -> Tree:
        """`passed`: what stands for it in members that lack an optional slot: of other sizes, maybe."""
        slot = self.pattern.slots[number]
        optional = slot.optional and number not in self.pattern.choices.values() and number not in self.copied
        instead = [passed] if passed is not None and optional else []
        calls = [c for c in slot.calls if c is not None]
        each = [list(values(c.outputs)) for c in calls]
        made = []
        for k in range(len(each[0])):
            self.values[number, k] = self._value((number, k), [one[k] for one in each] + instead)
            made.append(self.values[number, k])
        rest = iter(made)
        return map_tree(lambda leaf: next(rest) if isinstance(leaf, Value) else leaf, calls[0].outputs)

    def _value(self, ref: Ref, found: list[Value]) -> Value:
        """A value of the class: sizes that differ between instances are open."""
        first = found[0]
        shape = tuple(
            size
            if all(v.rank == first.rank and v.sizes[axis] == size for v in found)
            and not (self.any_extent and is_extent(axis, first))
            and not (self.any_steps and is_steps(axis, first))
            else None
            for axis, size in enumerate(first.sizes)
        )
        return replace(first, name=f"b{ref[0]}_{ref[1]}", shape=shape, mask=None, tried=())


def _names(module: Module) -> list[str]:
    """The names of a constructor's arguments, in order."""
    return list(signature(module.constructor).parameters)


def _holding(parts: Iterable[Module], module: Module) -> Module:
    """A module with others in it, one after the other."""
    return replace(module, graph=Graph("", (), (), modules=tuple(parts), sequential=True))


def _stateless(key: str, constructor: str, args: Any, kwargs: Mapping[str, Any], call: Call) -> Module:
    return Module(key, constructor, tuple(args), dict(kwargs), {}, call.origin)
