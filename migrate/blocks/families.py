"""Parts of a network that branch and join again, and that are there several times: the blocks of most architectures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from converters.graph import Call, Graph, Value, values
from migrate.blocks.activations import ACTIVATIONS
from migrate.blocks.merging import merge, unify
from migrate.blocks.pattern import Member, Pattern, Slot, Tokens, exact, heavy, shared_modules
from migrate.blocks.prefixes import layer_name, prefix_of
from migrate.blocks.segments import Segment, member, segments

CALLS_AT_LEAST = 4
CALLS_AT_MOST = 200
SMALL = 60
BEFORE_AT_MOST = 5
PADDING = "F.pad"  # belongs to the layer that reads it
Interval = tuple[int, int]


@dataclass(frozen=True)
class Run:
    """A chain that fits a pattern, and how well: what differs counts against it, a name of its own for it."""

    stop: int
    pattern: Pattern
    score: int


def in_cells(graph: Graph) -> bool:
    """Whether too much of a graph hangs together for one block: two values are alive between its blocks."""
    return any(len(segment.calls) > SMALL for segment in segments(graph))


def cells(graph: Graph, tokens: Tokens) -> Iterator[Pattern]:
    """Blocks that read the two before them, as the cells of NASNet: found where too much hangs together for one."""
    if in_cells(graph):
        yield from Families(graph, tokens, width=2).find()


class Families:
    """The families of one graph. `beside`: values that are not counted among those alive."""

    def __init__(self, graph: Graph, tokens: Tokens, width: int = 1, beside: frozenset[Value] = frozenset()) -> None:
        self.graph, self.tokens, self.width, self.beside = graph, tokens, width, beside
        self.segments = segments(graph, width, beside)
        self.shared = shared_modules(graph)
        self.shapes: list[Hashable] = [tokens.shape(member([s], beside)) for s in self.segments]
        self.taken: set[int] = set()
        self.readers = graph.readers()

    def find(self) -> Iterator[Pattern]:
        """Patterns with at least two members that do not overlap."""
        families = [self._intervals(pattern) for pattern in unify(self._seeds(), self.tokens)]
        for family in families:
            self.taken.update(start for start, _ in family)
        families = [sorted([*family, *filter(self._stands, self._chain_runs(family))]) for family in families]
        for family in sorted((f for f in families if len(f) > 1), key=lambda f: f[0]):
            for grown in self._grown(family) if self.width == 1 else [self._activated(family)]:
                for pattern in unify([self._member(*interval) for interval in grown], self.tokens):
                    if len(pattern.members) > 1:
                        yield pattern

    def alone(self) -> list[Interval]:
        """What could be a block but is like no other; of two values that it reads, one made for it belongs to it."""
        found = []
        for number, segment in enumerate(self.segments):
            start = number
            while len(self._member(start, number + 1).inputs) > 1 and number - start < BEFORE_AT_MOST and start > 0:
                start -= 1
            if self._is_seed(segment) and closed(self._member(start, number + 1), self.readers):
                found.append((start, number + 1))
        return found if self.width == 1 else [self._activated([interval])[0] for interval in found]

    def member_of(self, interval: Interval) -> Member:
        return self._member(*interval)

    @cached_property
    def seeds(self) -> int:
        """How many segments could be blocks."""
        return len(self._seeds())

    def _seeds(self) -> list[Member]:
        found = [number for number, segment in enumerate(self.segments) if self._is_seed(segment)]
        return [self._completed(number) for number in found if not self.beside or self._is_read_next(number)]

    def _is_read_next(self, number: int) -> bool:
        """Whether the next part goes on from this one; a branch beside others does not."""
        made, after = self.segments[number].output, self.segments[number + 1 : number + 2]
        return not after or any(made in call.operands for call in after[0].calls)

    def _completed(self, number: int) -> Member:
        """A segment, with what is cut off before it where that is no cut in others like it: before the last of some."""
        alone = self._member(number, number + 1)
        if self.width == 1:
            return alone
        longer = (self._member(start, number + 1) for start in range(number - 1, max(number - BEFORE_AT_MOST, 0), -1))
        parts = [alone, *(p for p in longer if len(p.inputs) == self.width and closed(p, self.readers))]
        others = [
            s.calls for n, s in enumerate(self.segments) if self._is_seed(s) and self.shapes[n] != self.shapes[number]
        ]
        return min(parts, key=lambda part: min((self._distance(part.calls, other) for other in others), default=0))

    def _distance(self, calls: Sequence[Call], others: Sequence[Call]) -> int:
        """In how many calls two parts differ, where layers with weights are all alike."""
        one, other = (Counter(map(self._coarsely, part)) for part in (calls, others))
        return ((one - other) + (other - one)).total()

    def _coarsely(self, call: Call) -> Hashable:
        return "layer" if heavy(call, self.tokens.modules) else self.tokens(call)

    def _is_seed(self, segment: Segment) -> bool:
        return (
            CALLS_AT_LEAST <= len(segment.calls) <= CALLS_AT_MOST
            and any(heavy(call, self.tokens.modules) for call in segment.calls)
            and self._is_free(segment)
            and closed(member([segment], self.beside), self.readers)
        )

    def _is_free(self, segment: Segment) -> bool:
        return not any(call.target in self.shared for call in segment.calls if call.kind in ("module", "attribute"))

    def _member(self, start: int, stop: int) -> Member:
        return member(self.segments[start:stop], self.beside)

    def _intervals(self, pattern: Pattern) -> list[Interval]:
        starts = {segment.calls[0]: number for number, segment in enumerate(self.segments)}
        stops = {segment.output: number + 1 for number, segment in enumerate(self.segments)}
        return [(starts[m.calls[0]], stops[m.output]) for m in pattern.members]

    # -- the same without its join -------------------------------------------------------------------------------

    def _chain_runs(self, family: Sequence[Interval]) -> list[Interval]:
        """Chains that are what the family's members are, but for a join with their own input."""
        patterns = unify([self._member(*interval) for interval in family], self.tokens)
        if len(patterns) != 1 or self.width > 1:
            return []
        pattern, found = patterns[0], list[Interval]()
        body = [slot for slot in pattern.slots if len(slot.first.operands) < 2 or slot.optional]
        if len(pattern.slots) - len(body) != 1 or len(body) < CALLS_AT_LEAST - 1:
            return []
        layers = [slot for slot in body if slot.first.target != PADDING]
        starts, ends = ({self.tokens(slot.first) for slot in part} for part in (layers[:4], layers[-2:]))
        start = 0
        while start < len(self.segments):
            best = max(self._runs_at(start, pattern, len(body), starts, ends), default=None, key=lambda run: run.score)
            later = (
                [run for s in range(start + 1, best.stop) for run in self._runs_at(s, pattern, len(body), starts, ends)]
                if best
                else []
            )
            if best is None or any(run.score > best.score for run in later):
                start += 1
                continue
            pattern = best.pattern
            found.append((start, best.stop))
            self.taken.update(range(start, best.stop))
            start = best.stop
        return found

    def _runs_at(
        self, start: int, pattern: Pattern, length: int, starts: set[Hashable], ends: set[Hashable]
    ) -> Iterator[Run]:
        """The runs from `start` that fit the pattern."""
        if not self._is_single(start):
            return
        padded = self.segments[start].calls[0].target == PADDING and start + 1 < len(self.segments)
        first = self.segments[start + padded].calls[0]
        if self.tokens(first) not in starts:
            return
        modules = self.tokens.modules
        if heavy(pattern.slots[0].first, modules) and not heavy(first, modules):
            return
        stop = start
        while stop < min(start + length + 3, len(self.segments)) and self._is_single(stop):
            stop += 1
            if (
                stop - start > max(CALLS_AT_LEAST - 2, length // 2)
                and self.tokens(self.segments[stop - 1].calls[-1]) in ends
            ):
                run = self._member(start, stop)
                merged = merge(pattern, exact([run], modules), self.tokens)
                if merged is not None:
                    # What only the run has, and what it lacks.
                    alone = _without_paddings(merged.slots) - _without_paddings(pattern.slots)
                    lacking = sum(slot.calls[-1] is None for slot in merged.slots)
                    yield Run(stop, merged, (3 if prefix_of(run, modules) else 0) - alone - lacking)

    def _is_single(self, number: int) -> bool:
        segment = self.segments[number]
        return len(segment.calls) == 1 and number not in self.taken and self._is_free(segment)

    # -- growth --------------------------------------------------------------------------------------------------

    def _grown(self, family: list[Interval]) -> list[list[Interval]]:
        """The family with the neighbours that all of its members share; where two kinds do, as two families."""
        while True:
            sides = (False, True) if self._activated_after(family) else (True, False)
            wider = next((grown for left in sides if (grown := self._wider(family, left=left))), [])
            if not wider:
                parts = self._parted(family)
                return [grown for part in parts for grown in self._grown(part)] if parts else [family]
            family = wider

    def _parted(self, family: list[Interval]) -> list[list[Interval]]:
        """The members by what they read, if that is a layer for all, of two kinds: in an encoder and in a decoder."""
        parts: dict[Hashable, list[Interval]] = {}
        for start, stop in family:
            before = self.segments[start - 1] if start and start - 1 not in self.taken else None
            if before is None or not any(heavy(call, self.tokens.modules) for call in before.calls):
                return []
            parts.setdefault(self.shapes[start - 1], []).append((start, stop))
        return list(parts.values()) if len(parts) > 1 and all(len(part) > 1 for part in parts.values()) else []

    def _activated(self, family: list[Interval]) -> list[Interval]:
        """The family with the activation after each member, where all have one and nobody reads what is before it."""
        wider = [(start, stop + 1) for start, stop in family]
        if any(stop > len(self.segments) or self._is_output(stop - 1) for _, stop in wider):
            return family
        after = [self.segments[stop].calls for _, stop in family]
        alike = {self.tokens(calls[0]) for calls in after if len(calls) == 1 and calls[0].target in ACTIVATIONS}
        if len(alike) != 1 or any(len(calls) > 1 or calls[0].target not in ACTIVATIONS for calls in after):
            return family
        return wider if all(closed(self._member(*interval), self.readers) for interval in wider) else family

    def _activated_after(self, family: list[Interval]) -> bool:
        """Whether an activation follows the sum at each end, and no name says that it is the next member's."""
        for start, stop in family:
            after = self.segments[stop].calls[0] if stop < len(self.segments) else None
            part = self._member(start, stop)
            if after is None or part.calls[-1].target != "+" or after.target not in ACTIVATIONS:
                return False
            prefix = prefix_of(part, self.tokens.modules)
            if prefix and not layer_name(after.origin).startswith(prefix):
                return False
        return True

    def _wider(self, family: list[Interval], *, left: bool) -> list[Interval]:
        added = [start - 1 if left else stop for start, stop in family]
        if min(added) < 0 or max(added) >= len(self.segments) or len(set(added)) != len(added):
            return []
        if self.taken.intersection(added) or len({self.shapes[number] for number in added}) != 1:
            return []
        if not self._is_free(self.segments[added[0]]) or self._is_output(added[-1]):
            return []
        wider = [(start - 1, stop) if left else (start, stop + 1) for start, stop in family]
        if not all(map(self._stands, wider)):
            return []
        self.taken.update(added)
        return wider

    def _stands(self, interval: Interval) -> bool:
        """Whether nobody else reads what is within it: what is alive beside the blocks may be made in one."""
        return not self.beside or closed(self._member(*interval), self.readers)

    def _is_output(self, number: int) -> bool:
        return self.segments[number].output in values(self.graph.outputs)


def _without_paddings(slots: Sequence[Slot]) -> int:
    return sum(slot.first.target != PADDING for slot in slots)


def closed(part: Member, readers: Mapping[Value, Sequence[Call]]) -> bool:
    """Whether nothing but a member's output is read outside of it."""
    own = set(part.calls)
    made = (v for call in part.calls for v in values(call.outputs) if v != part.output)
    return all(reader in own for v in made for reader in readers.get(v, ()))
