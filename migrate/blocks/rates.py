"""Dropout rates that Keras computed: by the rule, where they grow with the depth of a network, else as they were meant.

Stochastic depth leaves out block `i` of 16 with probability `0.2 * i / 16`. The text says so where that gives the very
floats of the file; one that no rule explains, such as 0.07500000000000001, is rounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from converters.graph import Graph, Module
from migrate.blocks.expressions import Share

DROPPING = ("Dropout", "StochasticDepth")
DIGITS = 12  # of a rate as a person means it
RULE_FROM = 3  # different rates, of which a rule is made
BEFORE_AT_MOST = 3  # blocks of other kinds before the first one that counts
SHORT = 4  # characters of a number that somebody typed: 0.2, 0.15


def rounded(graph: Graph) -> Graph:
    """The lowered graph with all dropout rates as they were meant; the same object where they are so already."""
    modules = tuple(_rounded(module) for module in graph.modules)
    return graph if modules == graph.modules else replace(graph, modules=modules)


def _rounded(module: Module) -> Module:
    if module.graph is not None:
        inner = rounded(module.graph)
        return module if inner is module.graph else replace(module, graph=inner)
    rate = _rate(module)
    if rate is None or round(rate, DIGITS) == rate:
        return module
    return replace(module, args=(round(rate, DIGITS), *module.args[1:]))


def _rate(module: Module) -> float | None:
    drops = any(word in module.constructor for word in DROPPING)
    return module.args[0] if drops and module.args and isinstance(module.args[0], float) else None


def _long(graph: Graph) -> set[float]:
    """The rates of a lowered graph that nobody typed."""
    found = set[float]()
    for module in graph.modules:
        rate = _rate(module)
        found |= _long(module.graph) if module.graph is not None else set()
        found |= {rate} if rate is not None and round(rate, DIGITS) != rate else set()
    return found


def with_rules(form: Graph, flat: Graph) -> Graph | None:
    """The form with rules for the rates of its blocks; None where one of the flat graph's would stay long."""
    told = set[float]()
    made = _with_rules(form, told)
    return made if _long(flat) <= told else None


def _with_rules(graph: Graph, told: set[float]) -> Graph:
    """`told`: the rates that a rule explains, to which those of this graph are added."""
    shares: dict[tuple[Graph, str], Share] = {}
    blocks = list(_blocks(graph))
    for name in dict.fromkeys(name for block in blocks for name in block.block.arguments):
        shares |= {(block, name): share for block, share in _shares(blocks, name).items()}
    told |= {share.value for share in shares.values()}

    def written(module: Module) -> Module:
        inner = module.graph
        if inner is None:
            return module
        if inner.block is not None:
            given = {name: shares.get((inner, name), value) for name, value in module.kwargs.items()}
            return replace(module, kwargs=given)
        if inner.sequential:
            return replace(module, graph=replace(inner, modules=tuple(map(written, inner.modules))))
        return replace(module, graph=_with_rules(inner, told))

    return replace(graph, modules=tuple(map(written, graph.modules)))


def _blocks(graph: Graph) -> Iterator[Graph]:
    """The blocks of a model in the order of the network, those of its stages too."""
    for module in graph.modules:
        if module.graph is not None and module.graph.block is not None:
            yield module.graph
        elif module.graph is not None and module.graph.sequential:
            yield from _blocks(module.graph)


def _shares(blocks: Iterable[Graph], name: str) -> Mapping[Graph, Share]:
    """What each block has of a rate that grows from block to block; nothing where no short rule gives these floats."""
    counted = [block for block in blocks if name in block.block.arguments]
    rates = {place: block.block.arguments[name] for place, block in enumerate(counted)}
    rates = {place: rate for place, rate in rates.items() if rate != 0}
    if any(type(rate) is not float for rate in rates.values()) or len(set(rates.values())) < RULE_FROM:
        return {}
    last = max(rates)
    for before in range(BEFORE_AT_MOST + 1):
        for of in (len(counted) + before, len(counted) + before - 1):
            total = round(rates[last] * of / (last + before), DIGITS) if last + before else 0.0
            shares = {place: Share(total, place + before, of) for place in rates}
            if len(repr(total)) <= SHORT and all(shares[place].value == rate for place, rate in rates.items()):
                return {counted[place]: share for place, share in shares.items()}
    return {}
