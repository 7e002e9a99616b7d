"""Calls that become an argument of their neighbour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from converters.graph import Call, Graph, Module, Value, values
from converters.layer import compact
from migrate.simplify.calls import calls_of, makers_of

REDUCTIONS = {"mean", "sum", "amax", "amin"}
POOLINGS = {"F.max_pool1d": 1, "F.max_pool2d": 2, "F.max_pool3d": 3}
NEVER_NEGATIVE = {"F.relu", "F.relu6"}
STRIDED = {"F.avg_pool1d": 1, "F.avg_pool2d": 2, "F.avg_pool3d": 3}
CONVOLUTIONS = {"nn.Conv1d", "nn.Conv2d", "nn.Conv3d"}


def fold_padding(graph: Graph) -> Graph:
    """Zeros of the same width on both sides, read by convolutions only, become their `padding`."""
    calls, outputs = calls_of(graph), set(values(graph.outputs))
    called = Counter(call.target for call in calls if call.kind == "module")
    modules = {module.key: module for module in graph.modules}
    readers = graph.readers()
    new: dict[Call, Call] = {}
    for pad in calls:
        if pad.target != "F.pad" or pad.outputs in outputs:
            continue
        reading = readers.get(pad.outputs, [])
        own = [modules[call.target] for call in reading if call.kind == "module" and called[call.target] == 1]
        widths = {_symmetric(pad, _rank(module)) for module in own}
        if len(own) < len(reading) or len(widths) != 1 or any("padding" in module.kwargs for module in own):
            continue
        if (width := widths.pop()) is None:
            continue
        for call, module in zip(reading, own, strict=True):
            modules[module.key] = replace(module, kwargs=_with_padding(module.kwargs, compact(width)))
            new[call] = replace(call, args=(pad.args[0],))
    return replace(
        graph, nodes=tuple(new.get(call, call) for call in calls), modules=tuple(modules[m.key] for m in graph.modules)
    )


def _rank(module: Module) -> int:
    """Over how many axes a convolution slides; 0 for other modules."""
    return int(module.constructor[-2]) if module.constructor in CONVOLUTIONS else 0


def fold_strides(graph: Graph) -> Graph:
    """An average of windows of one is a slice with steps, a slice of a slice one slice, `x + x` is `2 * x`."""
    calls = calls_of(graph)
    uses, makers = graph.uses(), dict[Value, Call]()
    new: list[Call] = []
    for call in calls:
        call = _doubled(_joined_slices(_strided(call), makers, uses))
        if isinstance(call.outputs, Value):
            makers[call.outputs] = call
        new.append(call)
    return replace(graph, nodes=tuple(new))


def _strided(call: Call) -> Call:
    """`x[..., ::2, ::2]` for a pooling that looks at every second pixel only."""
    rank = STRIDED.get(call.target) if call.kind == "function" else None
    if not rank or set(call.kwargs) != {"stride"} or set(_each(call.args[1], rank)) != {1}:
        return call
    key = (Ellipsis, *(slice(None, None, step) for step in _each(call.kwargs["stride"], rank)))
    return replace(call, kind="operator", target="[]", args=(call.args[0], key), kwargs={})


def _each(sizes: Any, rank: int) -> tuple[int, ...]:
    return (sizes,) * rank if isinstance(sizes, int) else tuple(sizes)


def _joined_slices(call: Call, makers: Mapping[Value, Call], uses: Mapping[Value, int]) -> Call:
    before = makers.get(call.args[0]) if call.target == "[]" else None
    if before is None or before.target != "[]" or uses[call.args[0]] != 1:
        return call
    outer, inner = (_open_slices(c.args[1]) for c in (call, before))
    if not outer or len(outer) != len(inner):
        return call
    key = (
        Ellipsis,
        *(slice(i + o * step or None, None, step * by) for (i, step), (o, by) in zip(inner, outer, strict=True)),
    )
    return replace(call, args=(before.args[0], key))


def _open_slices(key: Any) -> list[tuple[int, int]]:
    """(start, step) of the last axes, if a key cuts only those, and only at their beginning."""
    if not isinstance(key, tuple) or key[0] is not Ellipsis or not all(isinstance(part, slice) for part in key[1:]):
        return []
    found = [(part.start or 0, part.step or 1) for part in key[1:]]
    return found if all(part.stop is None for part in key[1:]) and all(a >= 0 and s > 0 for a, s in found) else []


def _doubled(call: Call) -> Call:
    """`2 * x` for `x + x`, which is the same to the bit."""
    twice = call.kind == "operator" and call.target == "+" and len(call.operands) == 2
    if twice and call.args[0] == call.args[1] and call.args[0].dtype.startswith("float"):
        return replace(call, target="*", args=(2, call.args[0]))
    return call


def fold_pooling(graph: Graph) -> Graph:
    """Zeros around what is never negative become the `padding` of a maximum pooling, which pads with -inf.

    Each window reaches at least one value of the image: the maximum is the same, and so is the gradient, since an
    activation that is zero hands none on.
    """
    calls, uses = calls_of(graph), graph.uses()
    makers = makers_of(calls)
    new: dict[Call, Call] = {}
    for call in calls:
        rank = POOLINGS.get(call.target) if call.kind == "function" else None
        pad = makers.get(call.args[0]) if rank else None
        widths = _symmetric(pad, rank or 0)
        if pad is None or widths is None or uses[call.args[0]] != 1 or not {"stride"}.issuperset(call.kwargs):
            continue
        before, window = makers.get(pad.args[0]), call.args[1]
        if before is not None and before.target in NEVER_NEGATIVE and np.all(2 * np.array(widths) <= window):
            kwargs = _with_padding(call.kwargs, compact(widths))
            new[call] = replace(call, args=(pad.args[0], window), kwargs=kwargs)
    return replace(graph, nodes=tuple(new.get(call, call) for call in calls))


def fold_hard_sigmoid(graph: Graph) -> Graph:
    """relu6(x + 3) / 6, as models that are older than the function spell it, is F.hardsigmoid(x)."""
    calls, makers = calls_of(graph), _read_once(graph)
    new: dict[Call, Call] = {}
    for call in calls:
        clipped = makers.get(call.args[0]) if _is(call, "*", 1 / 6) or _is(call, "/", 6) else None
        moved = makers.get(clipped.args[0]) if clipped is not None and clipped.target == "F.relu6" else None
        if moved is not None and _is(moved, "+", 3):
            new[call] = replace(call, kind="function", target="F.hardsigmoid", args=moved.args[:1])
    return replace(graph, nodes=tuple(new.get(call, call) for call in calls))


def _is(call: Call, sign: str, number: float) -> bool:
    """Whether a call is an operator on a tensor and this number."""
    return call.kind == "operator" and call.target == sign and len(call.args) == 2 and (
        isinstance(call.args[0], Value) and not isinstance(call.args[1], Value) and call.args[1] == number
    )  # fmt: skip


def keep_dims(graph: Graph) -> Graph:
    """A reduction whose axes are put back with size 1 keeps them in the first place."""
    calls, makers = calls_of(graph), _read_once(graph)
    new: dict[Call, Call] = {}
    for call in calls:
        before = makers.get(call.args[0]) if call.kind == "method" and call.target in ("reshape", "unsqueeze") else None
        if (
            before is None
            or before.kind != "method"
            or before.target not in REDUCTIONS
            or set(before.kwargs) != {"dim"}
        ):
            continue
        dims = before.kwargs["dim"] if isinstance(before.kwargs["dim"], tuple) else (before.kwargs["dim"],)
        kept = tuple(1 if axis in dims else size for axis, size in enumerate(before.args[0].shape))
        if kept == call.outputs.shape:
            new[call] = replace(before, kwargs={**before.kwargs, "keepdim": True}, outputs=call.outputs)
    return replace(graph, nodes=tuple(new.get(call, call) for call in calls))


def _read_once(graph: Graph) -> dict[Value, Call]:
    """Which call makes each value that is read once and no more."""
    uses = graph.uses()
    return {
        value: call for value, call in makers_of(calls_of(graph)).items() if call.outputs == value and uses[value] == 1
    }


def _with_padding(kwargs: Mapping[str, Any], padding: Any) -> dict[str, Any]:
    """`padding` where people write it: after the stride."""
    before = {key: value for key, value in kwargs.items() if key == "stride"}
    return {**before, "padding": padding, **{k: v for k, v in kwargs.items() if k not in before}}


def _symmetric(pad: Call | None, rank: int) -> tuple[int, ...] | None:
    """The padding of each spatial axis, if a call pads all of them, each alike on both sides, with zeros."""
    if pad is None or pad.kind != "function" or pad.target != "F.pad" or pad.kwargs or len(pad.args) != 2:
        return None
    widths = pad.args[1]
    if len(widths) != 2 * rank or any(not isinstance(w, int) or w < 0 for w in widths):
        return None
    if any(widths[i] != widths[i + 1] for i in range(0, len(widths), 2)):
        return None
    return tuple(reversed(widths[::2]))
