"""Calls that become an argument of their neighbour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from converters.graph import Call, Graph, Value
from converters.layer import compact
from migrate.simplify.calls import calls_of, makers_of

REDUCTIONS = {"mean", "sum", "amax", "amin"}
POOLINGS = {"F.max_pool1d": 1, "F.max_pool2d": 2, "F.max_pool3d": 3}
NEVER_NEGATIVE = {"F.relu", "F.relu6"}
CONVOLUTIONS = {"nn.Conv1d", "nn.Conv2d", "nn.Conv3d"}


def fold_padding(graph: Graph) -> Graph:
    """Zeros of the same width on both sides, read by one convolution only, become its `padding`."""
    calls, uses = calls_of(graph), graph.uses()
    called = Counter(call.target for call in calls if call.kind == "module")
    makers = makers_of(calls)
    modules = {module.key: module for module in graph.modules}
    new: dict[Call, Call] = {}
    for call in calls:
        module = modules.get(call.target) if call.kind == "module" else None
        if module is None or module.constructor not in CONVOLUTIONS or called[call.target] != 1:
            continue
        pad = makers.get(call.args[0])
        widths = _symmetric(pad, int(module.constructor[-2]))
        if pad is None or widths is None or uses[call.args[0]] != 1 or "padding" in module.kwargs:
            continue
        modules[module.key] = replace(module, kwargs=_with_padding(module.kwargs, compact(widths)))
        new[call] = replace(call, args=(pad.args[0],))
    return replace(
        graph, nodes=tuple(new.get(call, call) for call in calls), modules=tuple(modules[m.key] for m in graph.modules)
    )


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
    calls, uses = calls_of(graph), graph.uses()
    makers = {call.outputs: call for call in calls if isinstance(call.outputs, Value) and uses[call.outputs] == 1}
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
    calls, uses = calls_of(graph), graph.uses()
    makers = {call.outputs: call for call in calls if isinstance(call.outputs, Value) and uses[call.outputs] == 1}
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
    return replace(graph, nodes=tuple(new.get(call, call) for call in calls_of(graph)))


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
