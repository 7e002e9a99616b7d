"""Two patterns as one: their common super-sequence, if data flows through it as it does in each member."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from converters.graph import Call, Module
from migrate.blocks.pattern import Member, Pattern, Slot, Tokens, arguments, exact
from migrate.blocks.template import build

OPTIONAL_BELOW = 1 / 3  # of the parts of a pattern
ALIKE_AT_LEAST = 0.6  # of the slots of both
CELLS_AT_MOST = 60_000

Move = tuple[int, int]


def unify(members: Sequence[Member], tokens: Tokens) -> list[Pattern]:
    """Members sorted into as few patterns as can be proved, the first members' first."""
    shapes: dict[Hashable, list[Member]] = {}
    for member in members:
        shapes.setdefault(tokens.shape(member), []).append(member)
    patterns: list[Pattern] = []
    for group in sorted(shapes.values(), key=lambda group: -len(group[0].calls)):
        pattern = exact(group, tokens.modules)
        for number, known in enumerate(patterns):
            if (merged := merge(known, pattern, tokens)) is not None:
                patterns[number] = merged
                break
        else:
            patterns.append(pattern)
    return patterns


def merge(one: Pattern, other: Pattern, tokens: Tokens) -> Pattern | None:
    """One pattern for the members of both; None where they differ by too much or data would flow in another way."""
    if len(one.slots) * len(other.slots) > CELLS_AT_MOST:
        return None
    moves = _aligned(one, other, tokens)
    matched = sum(move == (1, 1) for move in moves)
    if 2 * matched < ALIKE_AT_LEAST * (len(one.slots) + len(other.slots)):
        return None
    slots, i, j = [], 0, 0
    for down, right in moves:
        left = one.slots[i].calls if down else (None,) * len(one.members)
        added = other.slots[j].calls if right else (None,) * len(other.members)
        slots.append(Slot((*left, *added)))
        i, j = i + down, j + right
    merged = Pattern((*one.members, *other.members), tuple(slots), one.modules)
    if _optional_parts(merged) >= OPTIONAL_BELOW * _parts(merged) or build(merged) is None:
        return None
    return merged


def _parts(pattern: Pattern) -> int:
    """How many parts a reader sees: no padding or sum is one, what comes and goes together is one."""
    return sum(not slot.optional for slot in pattern.slots) + _optional_parts(pattern)


def _optional_parts(pattern: Pattern) -> int:
    slots = [slot for slot in pattern.slots if slot.first.target not in ("F.pad", "+")]
    return sum(
        slot.optional and (number == 0 or slots[number - 1].present != slot.present)
        for number, slot in enumerate(slots)
    )


def _aligned(one: Pattern, other: Pattern, tokens: Tokens) -> list[Move]:
    """The best alignment, as steps (1, 1) for a match, (1, 0) and (0, 1) for what only one side has."""
    left, right = [_Traits(one, s, tokens) for s in one.slots], [_Traits(other, s, tokens) for s in other.slots]
    best = [[0.0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for i in range(len(left) - 1, -1, -1):
        for j in range(len(right) - 1, -1, -1):
            alike = left[i].likeness(right[j])
            best[i][j] = max(best[i + 1][j], best[i][j + 1], best[i + 1][j + 1] + alike if alike else 0.0)
    moves: list[Move] = []
    i = j = 0
    while i < len(left) or j < len(right):
        alike = left[i].likeness(right[j]) if i < len(left) and j < len(right) else 0.0
        if alike and best[i][j] == best[i + 1][j + 1] + alike:
            moves.append((1, 1))
        elif i < len(left) and best[i][j] == best[i + 1][j]:
            moves.append((1, 0))
        else:
            moves.append((0, 1))
        i, j = i + moves[-1][0], j + moves[-1][1]
    return moves


class _Traits:
    """What is compared of two slots."""

    def __init__(self, pattern: Pattern, slot: Slot, tokens: Tokens) -> None:
        call = slot.first
        member = pattern.members[slot.calls.index(call)]
        self.token, self.target = tokens.loosely(call), call.target
        self.numbers = _numbers(call, tokens.modules)
        self.joins = tuple(_near(member, call, ref[0]) for ref in (member.refs[v] for v in call.operands))
        self.leaves = any(value == member.output for value in _outputs(call))

    def likeness(self, other: _Traits) -> float:
        """0 for slots that must not be one; more the more they have in common."""
        if self.token != other.token:
            return 0.0
        same = sum(other.numbers.get(key) == value for key, value in self.numbers.items())
        ends = (self.joins == other.joins) + (self.leaves == other.leaves)
        exactly = 0.5 * (self.target == other.target or self.token != "activation")
        return 1.5 + exactly + ends + same / (len(self.numbers) + 1)


def _near(member: Member, call: Call, place: int) -> str:
    if place < 0:
        return "input"
    return "previous" if member.calls[place + 1] is call else "far"


def _outputs(call: Call) -> list[object]:
    return [call.outputs] if not isinstance(call.outputs, (tuple, list)) else list(call.outputs)


def _numbers(call: Call, modules: Mapping[str, Module]) -> dict[str, object]:
    if call.kind in ("module", "attribute"):
        return arguments(modules[call.target])
    return {str(i): a for i, a in enumerate(call.args) if isinstance(a, (int, float, tuple))}
