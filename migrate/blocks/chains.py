"""Chains of calls that repeat: the units of which some networks are made, such as convolution-normalization-activation.

A chain is worth a class where that saves lines: what its members took, less what the class and its calls take.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from converters.graph import Call, Graph, Value
from migrate.blocks.merging import merge, unify
from migrate.blocks.pattern import (
    Copies,
    Member,
    Pattern,
    Slot,
    Tokens,
    arguments,
    exact,
    heavy,
    shared_modules,
    signature,
)
from migrate.blocks.prefixes import block_of
from migrate.blocks.template import build

LENGTH_AT_MOST = 24
CLASS_LINES = 9  # what a class takes beside one line a layer with weights
REPEATS_AT_LEAST = 3
TALL = 8  # so many single layers in a row are a stack


@dataclass(frozen=True)
class Word:
    """A chain that repeats: where its members start, and how many lines it saves."""

    starts: tuple[tuple[int, int], ...]  # (chain, position)
    length: int
    saved: int
    starts_heavy: bool  # with a layer that has weights, as people cut a chain


def units(graph: Graph, tokens: Tokens) -> Iterator[Pattern]:
    """The pattern of the chain that saves most lines, if one does."""
    tokens = Tokens(graph.modules, coarse=True)
    chains = straight_chains(graph, tokens)
    members = _members(chains, tokens)
    if named := _as_named(members, chains, tokens):
        yield named
        return
    for pattern in unify(members, tokens):
        if len(pattern.members) >= REPEATS_AT_LEAST:
            yield pattern


def _as_named(members: list[Member], chains: Sequence[Sequence[Call]], tokens: Tokens) -> Pattern | None:
    """The members made as long as the user's names say, where each lies in a block of its own."""
    homes = {call: (chain, at) for chain in chains for at, call in enumerate(chain)}
    wider = []
    for member in members:
        chain, start = homes[member.calls[0]]
        stop, name = start + len(member.calls), block_of(member.calls[0])
        if not name or any(block_of(call) != name for call in member.calls):
            return None
        while start and block_of(chain[start - 1]) == name:
            start -= 1
        while stop < len(chain) and block_of(chain[stop]) == name:
            stop += 1
        wider.append(_member(chain[start:stop]))
    calls = [call for member in wider for call in member.calls]
    if len(calls) > len(set(calls)) or len({len(member.calls) for member in wider}) < 2:
        return None
    return _of_copies(wider, tokens)


def _of_copies(members: list[Member], tokens: Tokens) -> Pattern | None:
    """The pattern of chains that are the same but for how often a unit stands in them, if there is one."""
    short = min((member.calls for member in members), key=len)
    for start in range(len(short)):
        for size in range(1, len(short) - start + 1):
            if heavy(short[start], tokens.modules):
                pattern = _copied(members, tokens, start, size)
                if pattern is not None and build(pattern) is not None:
                    return pattern
    return None


def _copied(members: list[Member], tokens: Tokens, start: int, size: int) -> Pattern | None:
    """The pattern whose unit is `size` calls of the shortest member from `start` on."""
    texts = [[tokens(call) for call in member.calls] for member in members]
    short = min(texts, key=len)
    head, unit, tail = short[:start], short[start : start + size], short[start + size :]
    counts = [1 + (len(text) - len(short)) // size for text in texts]
    if any(text != head + unit * count + tail for text, count in zip(texts, counts, strict=True)):
        return None
    rows = []
    for member, count in zip(members, counts, strict=True):
        stop = start + size * count
        copies = [member.calls[at : at + size] for at in range(start, stop, size)]
        if any(_numbers(copy, tokens) != _numbers(copies[0], tokens) for copy in copies):
            return None
        lacking = (None,) * (size * (max(counts) - count))
        rows.append((*member.calls[:stop], *lacking, *member.calls[stop:]))
    slots = tuple(Slot(calls) for calls in zip(*rows, strict=True))
    found = Copies(start, size, max(counts), head.count(unit[0]))
    if head[-size:] == unit and all(_only_widens(member.calls, found, tokens) for member in members):
        found = Copies(start - size, size, found.count + 1, found.before - 1, widens=True)
    return Pattern(tuple(members), slots, tokens.modules, found)


def _only_widens(calls: Sequence[Call], copies: Copies, tokens: Tokens) -> bool:
    """Whether what stands before the copies is one more of them, but for the width that it reads."""
    start, size = copies.start, copies.size
    before, copy = calls[start - size : start], calls[start : start + size]
    first, second = (tokens.modules[unit[0].target] for unit in (before, copy))
    if first.graph is not None or not next(iter(signature(first.constructor).parameters)).startswith("in_"):
        return False
    widened = replace(first, args=(*second.args[:1], *first.args[1:]))
    same = arguments(widened) == arguments(second)
    return same and _numbers(before[1:], tokens) == _numbers(copy[1:], tokens)


def _numbers(calls: Sequence[Call], tokens: Tokens) -> list[dict[str, object]]:
    """The arguments of the modules that are called."""
    return [arguments(tokens.modules[call.target]) for call in calls if call.kind == "module"]


def _members(chains: Sequence[Sequence[Call]], tokens: Tokens) -> list[Member]:
    best = max(words(chains, tokens), key=lambda word: (word.saved, word.starts_heavy, word.length), default=None)
    if best is None or best.saved <= 0:
        return []
    found = [_member(chains[chain][start : start + best.length]) for chain, start in best.starts]
    return [*found, *_similar(chains, found, tokens)]


def _similar(chains: Sequence[Sequence[Call]], found: list[Member], tokens: Tokens) -> list[Member]:
    """Other chains that fit the same pattern, with a part more or less."""
    taken = {call for member in found for call in member.calls}
    length, more = len(found[0].calls), list[Member]()
    pattern = exact(found, tokens.modules)
    for chain in chains:
        start = 0
        while start < len(chain):
            for size in range(length + 2, max(1, length - 2), -1):
                window = chain[start : start + size]
                if (
                    len(window) < size
                    or taken.intersection(window)
                    or not any(heavy(c, tokens.modules) for c in window)
                ):
                    continue
                merged = merge(pattern, exact([_member(window)], tokens.modules), tokens)
                if merged is not None and not any(s.optional and heavy(s.first, tokens.modules) for s in merged.slots):
                    pattern = merged
                    more.append(_member(window))
                    taken.update(window)
                    break
            start += 1
    return more


def _member(calls: Sequence[Call]) -> Member:
    return Member(tuple(calls), calls[-1].outputs)


def straight_chains(graph: Graph, tokens: Tokens) -> list[list[Call]]:
    """The longest runs of calls of which each is the only reader of the one before."""
    uses = graph.uses()
    shared = shared_modules(graph)
    blocks = {module.key for module in graph.modules if module.graph is not None}
    open_ends: dict[Value, list[Call]] = {}
    chains: list[list[Call]] = []
    for call in graph.nodes:
        assert isinstance(call, Call)
        if (
            len(call.operands) != 1
            or not isinstance(call.outputs, Value)
            or call.target in shared
            or call.kind == "size"
            or call.target in blocks
        ):
            continue
        chain = open_ends.pop(call.operands[0], None) if uses[call.operands[0]] == 1 else None
        if chain is None:
            chain = []
            chains.append(chain)
        chain.append(call)
        open_ends[call.outputs] = chain
    return chains


def words(chains: Sequence[Sequence[Call]], tokens: Tokens) -> list[Word]:
    """Every chain of calls that repeats often enough."""
    numbers: dict[Hashable, int] = {}
    texts = [[numbers.setdefault(tokens(call), len(numbers)) for call in chain] for chain in chains]
    weights = [[heavy(call, tokens.modules) for call in chain] for chain in chains]
    places: dict[tuple[Hashable, ...], list[tuple[int, int]]] = {}
    for number, text in enumerate(texts):
        for start in range(len(text)):
            for length in range(2, min(LENGTH_AT_MOST, len(text) - start) + 1):
                places.setdefault(tuple(text[start : start + length]), []).append((number, start))
    found = []
    for word, starts in places.items():
        if len(starts) < REPEATS_AT_LEAST:
            continue
        kept = _apart(starts, len(word))
        first = kept[0]
        layers = sum(weights[first[0]][first[1] : first[1] + len(word)])
        lines = layers + sum(_has_module(call) for call in chains[first[0]][first[1] : first[1] + len(word)])
        runs = sum(place[1] - len(word) != before[1] or place[0] != before[0] for before, place in pairwise(kept)) + 1
        if runs < len(kept) and _is_power(word):
            continue  # a longer run of the same, cut anywhere
        cost = CLASS_LINES + lines + (runs if layers == 1 else len(kept))
        if len(kept) >= REPEATS_AT_LEAST and layers and (lines > 2 or len(kept) >= TALL * runs):
            heavy_first = weights[first[0]][first[1]]
            found.append(Word(tuple(kept), len(word), len(kept) * lines - cost, heavy_first))
    return found


def _has_module(call: Call) -> bool:
    return call.kind == "module"


def _apart(starts: Sequence[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """Those that do not overlap, from the left."""
    kept: list[tuple[int, int]] = []
    for chain, start in starts:
        if not kept or kept[-1][0] != chain or start >= kept[-1][1] + length:
            kept.append((chain, start))
    return kept


def _is_power(word: tuple[Hashable, ...]) -> bool:
    """Whether it is a shorter word, several times."""
    size = len(word)
    return any(size % part == 0 and word[:part] * (size // part) == word for part in range(1, size // 2 + 1))
