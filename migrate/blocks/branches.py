"""The branches of a block whose results are put side by side: which of its layers are which branch.

A branch that is a chain of layers becomes one attribute, `branch1` for the first of what is put side by side; one
that splits again has its parts called after it, `branch2a` and `branch2b`.
"""

from __future__ import annotations

from collections.abc import Callable
from string import ascii_lowercase

from converters.graph import Call
from migrate.blocks.pattern import Flow, Pattern, Ref, heavy

BRANCHES_AT_LEAST = 3
NAMED_AT_LEAST = 2


def is_wide(call: Call) -> bool:
    """Whether a call puts branches side by side."""
    return call.target == "torch.cat" and len(call.operands) >= BRANCHES_AT_LEAST


class Branches:
    """The branches of one pattern: `chains`, the slots of each by its name. `is_layer`: whether a slot can be one."""

    def __init__(self, pattern: Pattern, flow: Flow, is_layer: Callable[[int], object]) -> None:
        self.pattern, self.flow, self.is_layer = pattern, flow, is_layer
        self.readers = flow.uses()
        self.chains: dict[str, list[int]] = {}
        starts: list[Ref | None] = []
        for operands in (BRANCHES_AT_LEAST, NAMED_AT_LEAST):
            joins = [n for n in range(len(pattern.slots)) if self._is_join(n, operands)]
            if joins and not starts:
                starts = [self._follow(ref, f"branch{n}") for n, ref in enumerate(flow.operands[joins[-1]], 1)]
        if len(self.chains) < NAMED_AT_LEAST or (len(starts) < BRANCHES_AT_LEAST and len(set(starts)) > 1):
            self.chains = {}

    def _is_join(self, number: int, operands: int) -> bool:
        slot = self.pattern.slots[number]
        return not slot.optional and slot.first.target == "torch.cat" and len(self.flow.operands[number]) >= operands

    def _follow(self, ref: Ref, name: str, readers: int = 1) -> Ref | None:
        """Names what leads to a value that only its branch reads; the value where the branch begins."""
        number = ref[0]
        if number < 0 or self.readers[number] != readers:
            return ref
        if self._is_join(number, 2):
            starts = {self._follow(r, f"{name}{letter}") for r, letter in self._lettered(number)}
            start = starts.pop() if len(starts) == 1 else None
            return self._follow(start, name, len(self.flow.operands[number])) if start is not None else None
        chain: list[int] = []
        while number >= 0 and self._is_link(number) and (self.readers[number] == 1 or not chain):
            chain.insert(0, number)
            ref = self.flow.operands[number][0]
            number = ref[0]
        if any(heavy(self.pattern.slots[n].first, self.pattern.modules) for n in chain):
            self.chains[name] = chain
        return ref

    def _lettered(self, number: int) -> list[tuple[Ref, str]]:
        return list(zip(self.flow.operands[number], ascii_lowercase, strict=False))

    def _is_link(self, number: int) -> bool:
        return not self.pattern.slots[number].optional and bool(self.is_layer(number))
