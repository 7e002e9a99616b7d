"""Families of blocks among which other values are alive: a mask that each of them reads, a skip that goes past them.

Such a value is not counted among those alive, so that the graph falls into parts as if it were not there. Which
values these are is tried, the longest alive first: what finds most blocks is best.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from converters.graph import Call, Graph, Value, values
from migrate.blocks.families import CALLS_AT_LEAST, Families
from migrate.blocks.pattern import Pattern, Tokens

BESIDE_AT_MOST = 8
SPAN_AT_LEAST = 2 * CALLS_AT_LEAST  # calls: two blocks at least


def families(graph: Graph, tokens: Tokens) -> Iterator[Pattern]:
    """The patterns of a graph whose members branch and join, at least two members each."""
    found, most, parts = list[Pattern](), 0, (-1, 0)
    for beside in _choices(graph):
        tried = Families(graph, tokens, beside=beside)
        if (tried.seeds, len(tried.segments)) <= parts:
            continue  # it falls into no more of them than before
        parts = (tried.seeds, len(tried.segments))
        patterns = [pattern for pattern in tried.find() if _reads_alike(pattern)]
        calls = sum(len(member.calls) for pattern in patterns for member in pattern.members)
        if calls > most:
            found, most = patterns, calls
    yield from found


def _choices(graph: Graph) -> Iterator[frozenset[Value]]:
    """Nothing, then the values that are alive longest, one more each time."""
    calls = [call for call in graph.nodes if isinstance(call, Call)]
    made = dict.fromkeys(values(graph.inputs), 0) | {v: n for n, call in enumerate(calls) for v in values(call.outputs)}
    read = {v: n for n, call in enumerate(calls) for v in call.operands}
    spans = {v: read[v] - made[v] for v in made if v in read}
    longest = sorted((v for v in spans if spans[v] >= SPAN_AT_LEAST), key=lambda v: -spans[v])
    plain = _plain(graph, calls)
    masks = {value for value in plain if value.dtype == "bool"}
    yield frozenset()
    for count in range(1, min(BESIDE_AT_MOST, len(longest)) + 1):
        yield frozenset(masks).union(*(_with_origin(v, plain, calls) for v in longest[:count]))


def _plain(graph: Graph, calls: list[Call]) -> set[Value]:
    """Inputs, and what is made of them without any layer: masks of token ids."""
    plain = set(values(graph.inputs))
    for call in calls:
        if call.kind != "module" and plain.issuperset(call.operands):
            plain.update(values(call.outputs))
    return plain


def _with_origin(value: Value, plain: set[Value], calls: list[Call]) -> set[Value]:
    """A value, and what it is made of if no layer made it."""
    found = {value}
    for call in reversed(calls) if value in plain else ():
        if found.intersection(values(call.outputs)):
            found.update(call.operands)
    return found


def _reads_alike(pattern: Pattern) -> bool:
    """Whether what its members read beside the block before is the same for two of them at least, or is a mask."""
    read = Counter(
        tuple("mask" if value.dtype == "bool" else value for value in member.inputs[1:]) for member in pattern.members
    )
    return len({len(member.inputs) for member in pattern.members}) == 1 and all(
        not more or count > 1 for more, count in read.items()
    )
