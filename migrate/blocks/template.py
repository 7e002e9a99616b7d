"""A pattern -> the class that its members are instances of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, starmap
from typing import Any

from converters.graph import Call, Graph, Module, Tree, Value, leaves, map_tree, values
from migrate.blocks.border import difference, shrinking
from migrate.blocks.expressions import Condition, Parameter
from migrate.blocks.parameters import ABSENT, Parameters, same, unused, width
from migrate.blocks.pattern import Flow, Pattern, Ref, Slot, arguments, signature
from migrate.blocks.prefixes import own_name, prefix_of, role

PARAMETERS_AT_MOST = 4  # beside the widths at the block's border
# What stands in an optional part becomes a module, so that nn.Identity can stand there instead.
MODULES = {
    "F.relu": "nn.ReLU", "F.relu6": "nn.ReLU6", "F.silu": "nn.SiLU", "F.hardswish": "nn.Hardswish", "F.gelu": "nn.GELU",
    "F.max_pool2d": "nn.MaxPool2d", "F.avg_pool2d": "nn.AvgPool2d",
}  # fmt: skip
# These can overwrite what they read, which saves memory and its traffic.
IN_PLACE = {"F.relu", "F.relu6", "F.silu", "F.hardswish", "F.elu", "F.leaky_relu"}
WORDS = {
    "p": "drop",
    "rate": "drop",
    "num_features": "channels",
    "normalized_shape": "features",
    "negative_slope": "slope",
}
WIDTHS = {"in_channels", "out_channels", "num_features", "in_features", "out_features", "channels", "hidden_size"}
FIRST = {"stride": 1, "kernel_size": 2, "p": 3, "dropout": 3, "rate": 3}


@dataclass(eq=False)
class Template:
    """A class of the emitted source: its graph, in which formulas stand for numbers, and its parameters.

    `parts`: for every key of the graph's modules, the keys of the members' modules there (None where one has none).
    `conditions`: when an optional module is there. `flags`: what `forward` asks for, by name.
    `roles`: what the user's names call the modules, without what they call the block. `prefixes`: that, by member.
    """

    graph: Graph
    parameters: dict[str, list[Any]]
    conditions: dict[str, Condition] = field(default_factory=dict)
    flags: dict[str, Condition] = field(default_factory=dict)
    parts: dict[str, list[str | None]] = field(default_factory=dict)
    calls: dict[Call, list[Call]] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    prefixes: list[str] = field(default_factory=list)
    widening: int = 0  # by how much every member is wider where it ends than where it begins
    shrinking: str = ""  # by what height and width are divided: a number, a parameter, "?" where it is neither
    models: bool = False  # nested models of the user's, whose names name the class

    @property
    def defaults(self) -> dict[str, Any]:
        """What most instances are made with, for the parameters after the widths."""
        return {
            name: default for name, column in self.parameters.items() if (default := usual(name, column)) is not None
        }


def usual(name: str, column: Sequence[Any]) -> Any:
    """The default of a parameter: what most members have; None for a width, and where none is usual."""
    if name in WIDTHS:
        return None
    common = max(column, key=lambda value: sum(same(value, other) for other in column))
    most = sum(same(common, value) for value in column)
    if name.startswith("drop") and 0.0 in column:
        return 0.0
    return common if 3 * most >= 2 * len(column) or isinstance(common, bool) else None


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
        self.count = len(pattern.members)
        self.parameters = Parameters(self.count)
        self.solved: dict[tuple[int, str], Any] = {}
        self.values: dict[Ref, Value] = {}
        self.made = Template(Graph("", (), ()), {})
        self.modules: list[Module] = []
        self.nodes: list[Call] = []

    def template(self) -> Template | None:
        self._border()
        conditions = self._columns()
        if len(self.parameters.used - self.parameters.given) > PARAMETERS_AT_MOST:
            return None
        inputs = [
            self._value((-1, i), [m.inputs[i] for m in self.pattern.members])
            for i in range(len(self.pattern.members[0].inputs))
        ]
        names = ["x"] if len(inputs) == 1 else [f"x{i + 1}" for i in range(len(inputs))]
        for i, name in enumerate(names):
            self.values[-1, i] = replace(inputs[i], name=name)
        self._write(conditions)
        output = self.values[self.flow.output]
        arguments_ = tuple(self.values[-1, i] for i in range(len(inputs)))
        graph = Graph(
            "", arguments_[0] if len(inputs) == 1 else arguments_, output, tuple(self.nodes), tuple(self.modules)
        )
        self.made.graph = graph.check()
        self.made.parameters = dict(self._ordered())
        self._outer_shape()
        self._roles()
        return self.made

    def _outer_shape(self) -> None:
        """What a reader wants to know of the output's shape, beside its width."""
        ends = [(m.inputs[0], m.output) for m in self.pattern.members]
        if None not in (widths := {difference(width(a), width(b)) for a, b in ends}) and len(widths) == 1:
            self.made.widening = max(0, widths.pop() or 0)
        ratios = [shrinking(a, b) for a, b in ends]
        if set(ratios) <= {1, None}:
            return
        named = [name for name in ("stride",) if self.made.parameters.get(name) == ratios]
        self.made.shrinking = named[0] if named else str(ratios[0]) if len(set(ratios)) == 1 else "?"

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

    # -- numbers -----------------------------------------------------------------------------------------------

    def _border(self) -> None:
        """The widths of what goes in and comes out."""
        for member_side, name in (("in", "in_channels"), ("out", "out_channels")):
            column = [width(m.inputs[0] if member_side == "in" else m.output) for m in self.pattern.members]
            if name == "out_channels" and column == self.parameters.columns.get("in_channels"):
                self.parameters.columns["channels"] = self.parameters.columns.pop("in_channels")
                self.parameters.given.add("channels")
            else:
                self.parameters.offer(name, column)

    def _columns(self) -> dict[int, Condition]:
        """Every place where numbers stand, solved; the most telling first. The conditions of optional slots."""
        columns = sorted(self._places(), key=lambda place: place[0])
        late = [place for place in columns if place[0] > 3]
        self.parameters.widen([column for priority, _, _, column in columns if priority == 0])
        for _, number, key, column in columns:
            if column and (_ <= 3):
                self._solve(number, key, column)
        conditions = {}
        optional = [(number, slot) for number, slot in enumerate(self.pattern.slots) if slot.optional]
        for number, slot in enumerate(self.pattern.slots):
            if slot.optional:
                conditions[number] = self.parameters.condition(
                    slot.present,
                    lambda s=slot: self._flag(s),  # type: ignore[misc]
                    strided=slot.first.target == "F.pad",
                    shortcut=any(self._is_shortcut(n, s) for n, s in optional if s.present == slot.present),
                )
        for _, number, key, column in late:
            self._solve(number, key, column)
        return conditions

    def _is_shortcut(self, number: int, slot: Slot) -> bool:
        """A sum of what goes in and what comes out, or what brings one to the size of the other."""
        if len(slot.first.operands) > 1:
            return slot.first.target == "+"
        stride = self.solved.get((number, "stride"))
        return isinstance(stride, Parameter) and stride.name == "stride" and "stride" in self.parameters.columns

    def _solve(self, number: int, key: str, column: list[Any]) -> None:
        chosen = key not in WIDTHS | {"stride"} and not key.startswith(("kernel", "hidden"))
        self.solved[number, key] = self.parameters.solve(
            column, lambda: self._name(number, key), choose=chosen, border=key in WIDTHS | {"stride"}
        )

    def _places(self) -> Iterator[tuple[int, int, str, list[Any]]]:
        """(priority, slot, key, column)"""
        for number, slot in enumerate(self.pattern.slots):
            if slot.first.kind in ("module", "attribute"):
                given = [arguments(self.pattern.modules[c.target]) if c is not None else {} for c in slot.calls]
                for key in dict.fromkeys(k for one in given for k in one):
                    yield (
                        FIRST.get(key, 0 if key in WIDTHS or key.endswith(("channels", "features")) else 4),
                        number,
                        key,
                        [one.get(key, ABSENT) for one in given],
                    )
                if slot.first.kind == "attribute" or self.pattern.modules[slot.first.target].constructor == "parameter":
                    shapes = [self.pattern.modules[c.target].args[0] if c is not None else ABSENT for c in slot.calls]
                    yield 4, number, "shape", shapes
            each = [_numbers(call) if call is not None else {} for call in slot.calls]
            for key in each[slot.calls.index(slot.first)]:
                yield 5, number, key, [one.get(key, ABSENT) for one in each]

    def _name(self, number: int, key: str) -> str:
        """What a new parameter is called."""
        if key in ("in_channels", "out_channels", "in_features", "out_features") or WORDS.get(key) in (
            "channels",
            "features",
        ):
            return "hidden_" + ("features" if "features" in key else "channels")
        return WORDS.get(key, key if key.isidentifier() else "padding")

    def _flag(self, slot: Slot) -> str:
        if len(slot.first.operands) > 1:
            return "residual"
        if slot.first.kind == "module":
            constructor = self.pattern.modules[slot.first.target].constructor
            return {"nn.Conv2d": "project", "nn.BatchNorm2d": "norm"}.get(constructor, "extended")
        return "activation" if slot.first.target in MODULES and "pool" not in slot.first.target else "extended"

    def _ordered(self) -> Iterator[tuple[str, list[Any]]]:
        order = ["in_channels", "out_channels", "channels"]
        columns = self.parameters.columns
        rest = [name for name in columns if name not in order]
        rest.sort(key=lambda name: (usual(name, columns[name]) is not None, isinstance(columns[name][0], bool)))
        return ((name, columns[name]) for name in (*order, *rest) if name in self.parameters.used)

    # -- calls -------------------------------------------------------------------------------------------------

    def _write(self, conditions: Mapping[int, Condition]) -> None:
        groups = list(self._groups())
        for group in groups:
            if not self.pattern.slots[group[0]].optional:
                self._plain(group[0])
            elif all(self._as_module(number) for number in group):
                self._optional_modules(group, conditions[group[0]])
            else:
                for number in group:
                    self._optional_call(number, conditions[number])

    def _groups(self) -> Iterator[list[int]]:
        """Slots one by one, but optional ones that follow each other in a chain and are there together as one."""
        group: list[int] = []
        for number, slot in enumerate(self.pattern.slots):
            follows = (
                group and slot.optional and self.pattern.slots[group[-1]].present == slot.present
                and self.flow.operands[number] == ((group[-1], 0),) and self._readers(group[-1]) == 1
            )  # fmt: skip
            if group and not (follows and self._as_module(number) and self._as_module(group[-1])):
                yield group
                group = []
            group = [*group, number]
        yield group

    def _readers(self, number: int) -> int:
        return sum(ref[0] == number for refs in self.flow.operands for ref in refs) + (self.flow.output[0] == number)

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
        if call.kind == "function" and call.target == "F.pad" and not kwargs and len(args) == 2 and len(args[1]) == 4:
            return _stateless(key, "nn.ZeroPad2d", (args[1],), {}, call)
        if call.kind == "function" and call.target in MODULES and isinstance(call.args[0], Value):
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
            return replace(first, key=key, args=(self.solved.get((number, "shape"), first.args[0]), *first.args[1:]))
        if first.graph is not None:
            return replace(first, key=key, kwargs={k: self.solved[number, k] for k in first.kwargs})
        names = list(arguments(first))
        positional = max(len(m.args) for m in modules)
        written = dict.fromkeys(k for m in modules for k in (*_names(first)[:positional], *m.kwargs) if k in names)
        solved = {k: self.solved[number, k] for k in sorted(written, key=_names(first).index)}
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
            self.modules.append(module)
            target = module.key
        self._emit(replace(call, target=target, args=args, kwargs=kwargs), number)

    def _optional_modules(self, group: list[int], condition: Condition) -> None:
        """One module, or several as an nn.Sequential, where nn.Identity stands otherwise."""
        made = [module for number in group if (module := self._as_module(number)) is not None]
        first = self.pattern.slots[group[0]].first
        module = made[0]
        if len(made) > 1:
            made = [made[0], *starmap(_overwriting, pairwise(made))]
            module = _stateless(f"{group[0]}-{group[-1]}", "sequential", (), {}, first)
            module = replace(module, graph=Graph("", (), (), modules=tuple(made), sequential=True))
        self.modules.append(module)
        self.made.conditions[module.key] = condition
        passed = self.values[self.flow.operands[group[0]][0]]
        last = group[-1]
        outputs = self._outputs(last, passed)
        call = Call("module", module.key, (passed,), {}, outputs, "")
        self.nodes.append(call)
        self.made.calls[call] = [c for number in group for c in self.pattern.slots[number].calls if c is not None]

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
        )

    def _call_arguments(self, number: int, call: Call) -> tuple[Tree, dict[str, Tree]]:
        operands = iter(self.flow.operands[number])
        if not all(ref in self.values for ref in self.flow.operands[number]):
            return call.args, dict(call.kwargs)  # asked for too early: only whether it could be a module
        tree = map_tree(
            lambda leaf: self.values[next(operands)] if isinstance(leaf, Value) else leaf,
            (call.args, dict(call.kwargs)),
        )
        count = iter(range(10_000))

        def numbered(leaf: Any) -> Any:
            return self.solved.get((number, f"#{next(count)}"), leaf)

        args, kwargs = map_tree(numbered, tree)
        return args, kwargs

    def _emit(self, call: Call, number: int) -> None:
        call = replace(call, outputs=self._outputs(number, None), origin="")
        self.nodes.append(call)
        self.made.calls[call] = [c for c in self.pattern.slots[number].calls if c is not None]

    def _outputs(self, number: int, passed: Value | None) -> Tree:
        slot = self.pattern.slots[number]
        calls = [c for c in slot.calls if c is not None]
        each = [list(values(c.outputs)) for c in calls]
        made = []
        for k in range(len(each[0])):
            self.values[number, k] = self._value((number, k), [one[k] for one in each])
            made.append(self.values[number, k])
        rest = iter(made)
        return map_tree(lambda leaf: next(rest) if isinstance(leaf, Value) else leaf, calls[0].outputs)

    def _value(self, ref: Ref, found: list[Value]) -> Value:
        """A value of the class: sizes that differ between instances are open."""
        first = found[0]
        shape = tuple(
            size if all(v.rank == first.rank and v.sizes[axis] == size for v in found) else None
            for axis, size in enumerate(first.sizes)
        )
        return replace(first, name=f"b{ref[0]}_{ref[1]}", shape=shape, mask=None, tried=())


def _overwriting(before: Module, module: Module) -> Module:
    """An activation after a normalization may overwrite what that made."""
    if "BatchNorm" in before.constructor and f"F.{module.constructor.removeprefix('nn.').lower()}" in IN_PLACE:
        return replace(module, kwargs={**module.kwargs, "inplace": True})
    return module


def _numbers(call: Call) -> dict[str, Any]:
    """The literal leaves of a call, by position."""
    return {
        f"#{i}": leaf for i, leaf in enumerate(leaves((call.args, dict(call.kwargs)))) if not isinstance(leaf, Value)
    }


def _names(module: Module) -> list[str]:
    """The names of a constructor's arguments, in order."""
    return list(signature(module.constructor).parameters)


def _stateless(key: str, constructor: str, args: Any, kwargs: Mapping[str, Any], call: Call) -> Module:
    return Module(key, constructor, tuple(args), dict(kwargs), {}, call.origin)
