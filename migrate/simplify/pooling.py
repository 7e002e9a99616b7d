"""Maximum poolings under Keras' `same` whose padding differs with the size of the image."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from converters.graph import Call, Graph
from converters.layer import compact
from converters.padding import same_of
from migrate.simplify.calls import calls_of

Window = tuple[int, int]  # kernel and stride


def pool_any_size(graph: Graph) -> Graph:
    """Poolings of one window that pad even sizes in one way and odd sizes in another are written for all sizes."""
    windows = {call: window for call in calls_of(graph) if (window := _window_of_same(call)) is not None}
    ways: dict[Window, list[object]] = defaultdict(list)
    for call, window in windows.items():
        if call.kwargs not in ways[window]:
            ways[window].append(call.kwargs)
    new = {
        call: replace(call, target="local.max_pool_same", args=(call.args[0], window[0]), kwargs={"stride": window[1]})
        for call, window in windows.items()
        if len(ways[window]) > 1
    }
    return replace(graph, nodes=tuple(new.get(call, call) for call in calls_of(graph)))


def _window_of_same(call: Call) -> Window | None:
    """The square window of a pooling of images that pads as `same` does: it begins there and makes as many cells.

    A stride as large as the window leaves open which padding was meant where no cell is left over.
    """
    kernel, stride = call.args[1] if len(call.args) == 2 else None, call.kwargs.get("stride")
    if call.target != "F.max_pool2d" or type(kernel) is not int or type(stride) is not int or kernel <= stride:
        return None
    sizes, made = call.args[0].sizes[2:], call.outputs.sizes[2:]
    pairs = same_of(sizes, (kernel, kernel), (stride, stride), (1, 1)) if None not in sizes else None
    if pairs is None or call.kwargs.get("padding", 0) != compact(tuple(before for before, _ in pairs)):
        return None
    return (kernel, stride) if all(m == -(-size // stride) for size, m in zip(sizes, made, strict=True)) else None
