"""The layers of a block that lead around the rest of it."""

from __future__ import annotations

from migrate.blocks.pattern import Flow, Pattern


def shortcut(pattern: Pattern, flow: Flow) -> list[int]:
    """The slots of the layers that all members have from what goes in to a sum; none where that is one layer."""
    for slot, operands in zip(pattern.slots, flow.operands, strict=True):
        if slot.first.target != "+" or slot.optional or len(operands) != 2:
            continue
        ways = [_way(pattern, flow, place) for place, _ in operands]
        for one, other in (ways, ways[::-1]):
            if len(one) > 1 and 2 * len(one) < len(pattern.slots) and not set(one) & set(other):
                return one
    return []


def _way(pattern: Pattern, flow: Flow, number: int) -> list[int]:
    """The layers that lead from what goes into the block to a slot, in a chain; none where it is not one."""
    way: list[int] = []
    while number >= 0:
        slot, operands = pattern.slots[number], flow.operands[number]
        plain = slot.first.kind == "module" and not slot.optional and len(operands) == 1
        if not plain or flow.uses()[number] != 1 or (way and number != way[0] - 1):
            return []
        way.insert(0, number)
        number = operands[0][0]
    return way
