"""Numbers in arithmetic on tensors, as a person writes them: `x / 255`, not `x * (1 / 255)`; `x - 1`, not `x - 1.0`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from converters.graph import Call, Graph, Value
from migrate.simplify.calls import calls_of

LONG = 12  # characters of a number that nobody typed
WHOLE_BELOW = 1e6
ARITHMETIC = {"+", "-", "*", "/", "**"}


def plain_numbers(graph: Graph) -> Graph:
    """The same arithmetic with numbers of few digits. Another way to round, nothing else."""
    return replace(graph, nodes=tuple(_plain(call) for call in calls_of(graph)))


def _plain(call: Call) -> Call:
    tensors = [leaf for leaf in call.args if isinstance(leaf, Value)]
    if call.kind != "operator" or call.target not in ARITHMETIC or len(call.args) != 2 or len(tensors) != 1:
        return call
    if not tensors[0].dtype.startswith("float"):
        return call  # a float would change the dtype of integers
    (number,) = (leaf for leaf in call.args if not isinstance(leaf, Value))
    if call.target == "*" and (divisor := short_reciprocal(number)) is not None:
        call = replace(call, target="/", args=(tensors[0], divisor))
    return replace(call, args=tuple(map(_whole, call.args)))


def short_reciprocal(number: Any) -> float | None:
    """127.5 for what is 1 / 127.5 and has many digits itself."""
    if not isinstance(number, float) or len(repr(number)) <= LONG or not abs(number) > 1 / WHOLE_BELOW:
        return None  # not a NaN either
    doubled = round(2 / number)
    return doubled / 2 if doubled and 2 / doubled == number else None


def _whole(leaf: Any) -> Any:
    """A float that is an integer, as one. Not a zero, which has a sign."""
    return int(leaf) if isinstance(leaf, float) and 0 < abs(leaf) < WHOLE_BELOW and leaf.is_integer() else leaf
