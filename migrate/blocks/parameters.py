"""The numbers in which the members of a pattern differ -> parameters of a constructor, and formulas of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from converters.graph import Value
from migrate.blocks.expressions import FORMULAS, Choice, Condition, Either, Parameter, Product, Scaled, Test, evaluate

Column = Sequence[Any]  # what stands in one place of each member; ABSENT where the member lacks the place
FACTORS_AT_MOST = 64
DILATION = "dilation"  # of which a padding is a multiple
HIDDEN = "hidden_channels"  # the width of a block inside


class Absent:
    """Nothing: the place belongs to a part that a member does not have."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = Absent()


@dataclass
class Parameters:
    """Parameters of one block, found one after the other; each with its value in every member."""

    count: int
    columns: dict[str, list[Any]] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)  # names that come from the shapes at the block's border
    fixed: set[str] = field(default_factory=set)  # of these, that which is the same for all
    used: set[str] = field(default_factory=set)
    formulas: dict[Scaled, None] = field(default_factory=dict)  # what widths are in all members, in order
    window: bool = False

    def offer(self, name: str, column: Column) -> None:
        """A parameter that may be used, if anything varies with it."""
        if None not in column and (len(set(column)) > 1 or (self.count == 1 and name == "in_channels")):
            self.columns[name] = list(column)
            self.given.add(name)

    def fix(self, name: str, column: Column) -> None:
        """A parameter although it is the same for all: it stands wherever its number is a width."""
        if None not in column and len(set(column)) == 1:
            self.columns[name] = list(column)
            self.given.add(name)
            self.fixed.add(name)

    def solve(
        self,
        column: Column,
        name: Callable[[], str],
        *,
        choose: bool = True,
        border: bool = False,
        window: bool = False,
    ) -> Any:
        """A literal or formula that gives the column; a new parameter called `name()` where nothing known does.

        `choose`: whether it may be one of two literals, as a padding is. Two widths or kernels are two blocks.
        `border`: whether a part that few members have, all alike, is told by what the block is made with.
        `window`: whether it belongs to a window or padding, which no width says anything about.
        """
        self.window = window
        present = [i for i, value in enumerate(column) if value is not ABSENT]
        first = column[present[0]]
        if all(same(column[i], first) for i in present):
            return self._told(column, present, border) or first
        if isinstance(first, tuple) and all(
            isinstance(column[i], tuple) and len(column[i]) == len(first) for i in present
        ):
            parts = [
                self.known([c[k] if c is not ABSENT else ABSENT for c in column], choose) for k in range(len(first))
            ]
            if None not in parts:
                return tuple(parts)
        found = self._told(column, present, border) or self.known(column, choose)
        if found is not None:
            if isinstance(found, Scaled) and border and ABSENT not in column:
                self.formulas[found] = None
            return found
        return self.new(column, name())

    def widen(self, columns: Sequence[Column]) -> None:
        """`expansion`: how much wider a block is inside than where it begins, if it is not the same for all."""
        for column in columns:
            whole = ABSENT not in column and self._simple(column, range(self.count)) is None
            if whole and (ratio := self._ratio(column)) is not None:
                self.columns["expansion"] = ratio
                return

    def _told(self, column: Column, present: Sequence[int], border: bool) -> Any:
        """The parameter that a number of an optional part is, as the width of a shortcut; so too in a block alone."""
        few = len(present) < len(column) or self.count == 1
        if border and (few or self.fixed):
            known = ("in_channels", "out_channels", "channels", "previous_channels", "stride")
            for name in known if few else self.fixed:
                if name in self.columns and all(same(self.columns[name][i], column[i]) for i in present):
                    self.used.add(name)
                    return Parameter(name)
            for formula in self.formulas if few else ():
                if all(same(evaluate(formula, self.environment(i)), column[i]) for i in present):
                    return formula
        return None

    def known(self, column: Column, choose: bool = True) -> Any:
        """A literal or formula of the parameters found so far, or None."""
        everyone = [i for i, value in enumerate(column) if value is not ABSENT]
        if (found := self._simple(column, everyone)) is not None:
            return self._use(found)
        for test in sorted(self.tests(), key=lambda test: getattr(test, "left", "") != "stride"):
            yes = [i for i in everyone if test.evaluate(self.environment(i))]
            no = [i for i in everyone if i not in yes]
            if not yes or not no:
                continue
            then, other = self._simple(column, yes), self._simple(column, no)
            if then is None or other is None:
                continue
            if choose or isinstance(then, FORMULAS) or isinstance(other, FORMULAS):
                return self._use(Choice(test, then, other))
        return None

    def condition(
        self, present: Sequence[bool], name: Callable[[], str], *, strided: bool = False, shortcut: bool = False
    ) -> Condition:
        """When an optional part is there: a test of parameters, or a flag.

        `strided`: the stride is asked first. `shortcut`: the part has to do with whether what goes into the block can
        be added to what comes out; then stride and widths are both asked, though one may tell for the members at hand.
        """
        tests = list(self.tests(both=True))
        if shortcut:
            tests.sort(key=lambda test: not (isinstance(test, Either) and test.other.right == "out_channels"))
        for test in sorted(tests, key=lambda test: getattr(test, "left", "") != "stride") if strided else tests:
            if all(test.evaluate(self.environment(i)) == there for i, there in enumerate(present)):
                return self._use(test)  # type: ignore[no-any-return]  # what it was given
        return Test(self.new(list(present), name()).name)

    def tests(self, *, both: bool = False) -> Iterator[Condition]:
        """What a person would test, most telling first."""
        simple = list(self._simple_tests())
        yield from simple
        if both:
            for number, one in enumerate(simple):
                for other in simple[number + 1 :]:
                    if one.left != other.left and one.sign == other.sign:
                        first, second = (other, one) if other.left == "stride" else (one, other)
                        yield Either(first, "or" if one.sign == "!=" else "and", second)

    def _simple_tests(self) -> Iterator[Test]:
        if {"in_channels", "out_channels"} <= self.columns.keys():
            yield Test("in_channels", "!=", "out_channels")
            yield Test("in_channels", "==", "out_channels")
        if {"in_channels", HIDDEN} <= self.columns.keys():
            yield Test(HIDDEN, "!=", "in_channels")
        for name in self.columns:
            values = self.columns[name]
            if all(isinstance(v, bool) for v in values):
                yield Test(name)
            elif name == "stride" or name == "expansion":
                yield Test(name, "!=", 1)
                yield Test(name, "==", 1)

    def environment(self, member: int) -> dict[str, Any]:
        return {name: column[member] for name, column in self.columns.items()}

    def new(self, column: Column, name: str) -> Parameter:
        """A parameter for a column; members that lack the place get what is most common."""
        present = [value for value in column if value is not ABSENT]
        name = unused(name, self.columns)
        common = Counter(map(repr, present)).most_common(1)[0][0]
        none = 0.0 if name.startswith("drop") else 0 if name.startswith("squeeze") else None
        filler = none if none is not None else next(value for value in present if repr(value) == common)
        self.columns[name] = [filler if value is ABSENT else value for value in column]
        self.used.add(name)
        return Parameter(name)

    def _ratio(self, column: Column) -> list[int] | None:
        """How many times the block's own width it is, where that is a few small numbers."""
        widths = self.columns.get("in_channels", ())
        if (
            not widths
            or not all(type(c) is int for c in column)
            or any(c % w for c, w in zip(column, widths, strict=True))
        ):
            return None
        ratios = [c // w for c, w in zip(column, widths, strict=True)]
        return ratios if len(set(ratios)) == 2 and min(ratios) == 1 and max(ratios) <= 8 else None

    def _simple(self, column: Column, members: Sequence[int]) -> Any:
        """One literal, parameter or linear formula that holds for some members, or None."""
        first = column[members[0]]
        if all(same(column[i], first) for i in members):
            return first
        for name, known in self.columns.items():
            if all(same(known[i], column[i]) for i in members):
                return Parameter(name)
        if any(type(column[i]) is not int for i in members):
            return None
        for formula in self._formulas([column[i] for i in members], members[0]):
            if all(evaluate(formula, self.environment(i)) == column[i] for i in members):
                return formula
        return None

    def _formulas(self, wanted: list[int], member: int) -> Iterator[Any]:
        if {"in_channels", "expansion"} <= self.columns.keys():
            yield Product("in_channels", "expansion")
        for name, known in self.columns.items():
            base = known[member]
            if type(base) is not int or base <= 0 or wanted[0] < 0:
                continue
            if name.endswith(("channels", "features")) and not self.window:
                if wanted[0] and wanted[0] % base == 0 and wanted[0] // base <= FACTORS_AT_MOST:
                    yield Scaled(name, times=wanted[0] // base)
                if wanted[0] and base % wanted[0] == 0 and base // wanted[0] <= FACTORS_AT_MOST:
                    yield Scaled(name, over=base // wanted[0])
            elif name == DILATION and self.window and wanted[0] and wanted[0] % base == 0:
                yield Scaled(name, times=wanted[0] // base)
            elif name.startswith("kernel"):
                yield Scaled(name, over=2)
                yield Scaled(name, over=2, plus=-1)

    def _use(self, found: Any) -> Any:
        for name in names_in(found):
            self.used.add(name)
        return found


def names_in(tree: Any) -> Iterator[str]:
    """The parameters that a formula or condition reads."""
    match tree:
        case Parameter(name) | Scaled(name):
            yield name
        case Product(one, other):
            yield from (one, other)
        case Test(left, _, right):
            yield left
            if isinstance(right, str) and right:
                yield right
        case Either(one, _, other):
            yield from (*names_in(one), *names_in(other))
        case Choice(test, then, other):
            yield from (*names_in(test), *names_in(then), *names_in(other))
        case tuple() | list():
            for item in tree:
                yield from names_in(item)


def same(one: Any, other: Any) -> bool:
    """Equal, and of one type: 1, 1.0 and True differ."""
    return type(one) is type(other) and one == other


def unused(name: str, taken: Any) -> str:
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}{number}", number + 1
    return candidate


def width(value: Value) -> int | None:
    """The channels of an image, or the features of anything else."""
    order = getattr(value.arrangement, "axes", ())
    if not value.rank:
        return None
    axis = order.index(value.rank - 1) if len(order) == value.rank else value.rank - 1
    return value.sizes[axis]
