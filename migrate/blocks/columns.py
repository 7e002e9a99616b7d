"""The places of a block where numbers stand -> parameters, formulas of them, and conditions of optional parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from converters.graph import Function, Value
from migrate.blocks.activations import ACTIVATIONS, MODULES, is_interchangeable
from migrate.blocks.expressions import Condition, Parameter, Test
from migrate.blocks.parameters import ABSENT, Parameters, same, width
from migrate.blocks.pattern import Pattern, Ref, Slot, arguments, heavy, numbers

WORDS = {
    "p": "drop",
    "rate": "drop",
    "num_features": "channels",
    "normalized_shape": "features",
    "negative_slope": "slope",
}
WIDTHS = {"in_channels", "out_channels", "num_features", "in_features", "out_features", "channels", "hidden_size"}
AS_IN_TORCH = {"padding": 0, "stride": 1, "dilation": 1}
PADDINGS = {"F.pad", "local.pad_image", "local.pad_same"}
DEPTH = "depth"  # how many layers of one kind follow each other in a block
WINDOW = ("padding", "kernel_size", "stride", "dilation")  # no formula of a width gives them
INNER_WIDTHS = ("hidden", "squeeze")
PREVIOUS = "previous_channels"  # the width of what the block before the one before made
ACTIVATION = "activation"  # the class of an activation of which members have one or another
EARLY = 3  # the last priority of what is solved before the conditions, which ask for it
FIRST = {"stride": 1, "kernel_size": 2, "dilation": 3, "p": 3, "dropout": 3, "rate": 3}


def usual(name: str, column: Sequence[Any]) -> Any:
    """The default of a parameter: what most members have; None for a width, and where none is usual."""
    if name in WIDTHS | {DEPTH} or (name.startswith(INNER_WIDTHS) and 0 not in column):
        return None
    common = max(column, key=lambda value: sum(same(value, other) for other in column))
    most = sum(same(common, value) for value in column)
    if name.startswith("drop") and 0.0 in column:
        return 0.0
    if name.startswith("squeeze") and 0 in column:
        return 0
    if name in AS_IN_TORCH and AS_IN_TORCH[name] in column:
        return AS_IN_TORCH[name]
    return common if 3 * most >= 2 * len(column) or isinstance(common, bool) or name == ACTIVATION else None


def _place(name: str, column: Sequence[Any]) -> int:
    """Where people write a parameter, of those with a default and of those without."""
    if isinstance(column[0], bool):
        return 4
    if name == ACTIVATION or (name.startswith("squeeze") and 0 in column):
        return 3
    return 0 if name.startswith(INNER_WIDTHS) else 1 if name.startswith("kernel") else 2


class Columns:
    """The numbers of one pattern: a column holds what stands in one place of each member.

    `solved`: (slot, name of the place) -> the literal or formula that stands there in the class.
    """

    def __init__(self, pattern: Pattern) -> None:
        self.pattern = pattern
        self.parameters = Parameters(len(pattern.members))
        self.solved: dict[tuple[int, str], Any] = {}
        self._border()

    def _border(self) -> None:
        """The widths of what goes in and comes out."""
        for member_side, name in (("in", "in_channels"), ("out", "out_channels")):
            column = [width(m.inputs[0] if member_side == "in" else m.output) for m in self.pattern.members]
            if name == "out_channels" and column == self.parameters.columns.get("in_channels"):
                self.parameters.columns["channels"] = self.parameters.columns.pop("in_channels")
                self.parameters.given.add("channels")
            else:
                self.parameters.offer(name, column)
            if name == "out_channels" and self._is_told_by(column):
                self.parameters.fix(name, column)
        if len(self.pattern.members[0].inputs) == 2:
            self.parameters.offer(PREVIOUS, [width(m.inputs[1]) for m in self.pattern.members])
        if self.pattern.copies is not None:
            self.parameters.columns[DEPTH] = list(self.pattern.depths)
            self.parameters.used.add(DEPTH)

    def _is_told_by(self, made: Sequence[int | None]) -> bool:
        """Whether what all make alike tells which of them have a layer around the rest: those that read another width.

        A person names both widths then, though one of them is the same for all.
        """
        read = self.parameters.columns.get("in_channels", [])
        differs = tuple(one != other for one, other in zip(read, made, strict=False))
        layers = [s for s in self.pattern.slots if s.optional and heavy(s.first, self.pattern.modules)]
        return any(s.present == differs and len(s.first.operands) == 1 for s in layers)

    @property
    def _written(self) -> list[tuple[int, Slot]]:
        """The slots that the class writes: of copies, the first, and the second where it reads another width."""
        copies = self.pattern.copies
        later = set(copies.slots[copies.size * copies.differing :]) if copies is not None else set()
        return [(number, slot) for number, slot in enumerate(self.pattern.slots) if number not in later]

    def conditions(self) -> dict[int, Condition]:
        """Solves every place, the most telling first; the conditions of optional slots."""
        places = sorted(self._places(), key=lambda place: (place[0], ABSENT in place[3]))
        early, late = ([place for place in places if (place[0] <= EARLY) == first] for first in (True, False))
        self.parameters.widen([column for priority, _, _, column in early if priority == 0])
        for _, number, key, column in early:
            self._solve(number, key, column)
        copied = self.pattern.copies.slots if self.pattern.copies is not None else ()
        choices = self.pattern.choices
        chosen = {
            n: Test(self.parameters.new(list(self.pattern.slots[self.lead(n)].present), self._choice(n)).name)
            for n in choices
        }
        done = {*copied, *choices, *choices.values()}
        optional = [(n, slot) for n, slot in enumerate(self.pattern.slots) if slot.optional and n not in done]
        conditions = chosen | {
            number: self._own(number, slot)
            or self.parameters.condition(
                slot.present,
                lambda n=number, s=slot: self._flag(n, s),  # type: ignore[misc]
                strided=slot.first.target in PADDINGS,
                shortcut=any(self._is_shortcut(n, s) for n, s in optional if s.present == slot.present),
            )
            for number, slot in optional
        }
        for _, number, key, column in late:
            self._solve(number, key, column)
        return conditions

    def _own(self, number: int, slot: Slot) -> Test | None:
        """The parameter of an optional part that is 0 for those who lack it: it says so by itself."""
        for (place, _), told in self.solved.items():
            column = self.parameters.columns[told.name] if isinstance(told, Parameter) else []
            if place == number and 0 in column and tuple(map(bool, column)) == slot.present:
                return Test(told.name)
        return None

    def _is_shortcut(self, number: int, slot: Slot) -> bool:
        """A sum of what goes in and what comes out, or what brings one to the size of the other."""
        if len(slot.first.operands) > 1:
            return slot.first.target == "+"
        stride = self.solved.get((number, "stride"))
        return stride == Parameter("stride")

    def _solve(self, number: int, key: str, column: list[Any]) -> None:
        if (told := self._of_input(number, key, column)) is not None:
            self.solved[number, key] = told
            return
        chosen = key not in WIDTHS | {"stride", ACTIVATION} and not key.startswith(("kernel", *INNER_WIDTHS))
        self.solved[number, key] = self.parameters.solve(
            column,
            lambda: self._name(number, key),
            choose=chosen,
            border=key in WIDTHS | {"stride"} or (key == "normalized_shape" and bool(self.parameters.fixed)),
            window=key.startswith("#") or key in WINDOW,
        )

    def _of_input(self, number: int, key: str, column: list[Any]) -> Parameter | None:
        """The width of what goes into a block, where a part that not all members have reads just that."""
        flow = self.pattern.flow
        if key != "in_channels" or ABSENT not in column or flow is None or len(flow.operands[number]) != 1:
            return None
        names = {(-1, 0): "in_channels", (-1, 1): PREVIOUS}
        known = self.parameters.columns.get(name := names.get(self._start(flow.operands[number][0]), ""))
        if known is None or any(not same(value, known[m]) for m, value in enumerate(column) if value is not ABSENT):
            return None
        self.parameters.used.add(name)
        return Parameter(name)

    def _start(self, ref: Ref) -> Ref:
        """Where a value comes from, past the first of two layers of which each member has one."""
        flow = self.pattern.flow
        while flow is not None and ref[0] in self.pattern.choices:
            ref = flow.operands[ref[0]][0]
        return ref

    def _places(self) -> Iterator[tuple[int, int, str, list[Any]]]:
        """(priority, slot, key, column)"""
        for number, slot in self._written:
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
            if is_interchangeable(slot.first) and len({call.target for call in slot.calls if call is not None}) > 1:
                classes = [Function(MODULES[call.target]) if call is not None else ABSENT for call in slot.calls]
                yield EARLY, number, ACTIVATION, classes
            each = [numbers(call) if call is not None else {} for call in slot.calls]
            for key, first in each[slot.calls.index(slot.first)].items():
                if not isinstance(first, Value):
                    yield 4 if key == "ceil_mode" else 5, number, key, [one.get(key, ABSENT) for one in each]

    def _name(self, number: int, key: str) -> str:
        """What a new parameter is called."""
        if key in ("in_channels", "out_channels", "in_features", "out_features") or WORDS.get(key) in (
            "channels",
            "features",
        ):
            if self.pattern.is_gate:
                return "squeeze_channels"  # of the image, though its layers be linear
            inner = "pool" if self._after_pooling(number) else "hidden"
            return f"{inner}_{'features' if 'features' in key else 'channels'}"
        return WORDS.get(key, key if key.isidentifier() else "padding")

    def _after_pooling(self, number: int) -> bool:
        refs = self.pattern.flow.operands[number] if self.pattern.flow is not None else ()
        return any(ref[0] >= 0 and "_pool" in self.pattern.slots[ref[0]].first.target for ref in refs)

    def lead(self, number: int) -> int:
        """Of two layers of which each member has one, that which the flag asks for: what makes images smaller."""
        other = self.pattern.choices[number]
        return other if self._shrinks(other) and not self._shrinks(number) else number

    def _shrinks(self, number: int) -> bool:
        graph = self.pattern.modules[self.pattern.slots[number].first.target].graph
        return graph is not None and graph.block is not None and bool(graph.block.template.shrinking)

    def _choice(self, number: int) -> str:
        """The flag that says which of two layers a block has: nothing else of it tells."""
        flow = self.pattern.flow
        assert flow is not None
        verb = "reduce" if self._shrinks(self.lead(number)) else "project"
        return f"{verb}_previous" if flow.operands[number][0] == (-1, 1) else verb

    def _flag(self, number: int, slot: Slot) -> str:
        if len(slot.first.operands) > 1:
            return "residual"
        if slot.first.kind == "module":
            constructor = self.pattern.modules[slot.first.target].constructor
            return {"nn.Conv2d": "project", "nn.BatchNorm2d": "norm"}.get(constructor, "extended")
        if slot.first.target not in ACTIVATIONS:
            return "extended"
        return "activation" if number else f"start_with_{slot.first.target.removeprefix('F.')}"

    def ordered(self) -> Iterator[tuple[str, list[Any]]]:
        order = ["in_channels", PREVIOUS, "out_channels", "channels"]
        columns = self.parameters.columns
        rest = [name for name in columns if name not in order]
        rest.sort(key=lambda name: (usual(name, columns[name]) is not None, _place(name, columns[name])))
        return ((name, columns[name]) for name in (*order, *rest) if name in self.parameters.used)
