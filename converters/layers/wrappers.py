"""Bidirectional and TimeDistributed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from converters.arrangement import AS_WRITTEN, Arrangement, Flat, Perm, as_written
from converters.graph import Layer, Node, Value, map_tree, values
from converters.layer import LayerHandle
from converters.layers.recurrent import Flow, call_arguments, check, output, walk
from converters.layers.recurrent_cells import GATES, Arrays, Cell, Place, cell_of, cells_of, checked, take
from converters.layers.recurrent_modules import dropped, is_standard, masked_module, torch_module
from converters.registry import converts, lookup

MergeMode = Literal["concat", "sum", "ave", "mul"] | None


@dataclass(frozen=True)
class Direction:
    """One of the two layers that a Bidirectional wraps."""

    role: str
    flow: Flow
    places: list[Place]


@converts("layers.Bidirectional", layout=AS_WRITTEN, features=True)
def bidirectional(
    layer: LayerHandle,
    x: Any,
    initial_state: Any = None,
    mask: Value | None = None,
    *,
    merge_mode: MergeMode = "concat",
) -> Any:
    """Forward and backward results, merged; then the states of both, if they are asked for."""
    forward = direction(layer, "forward")
    backward = direction(layer, "backward")
    x, mask, start = call_arguments(layer, x, initial_state, mask)
    passed = x.mask if mask is None else mask
    if fits_one_module(layer, forward, backward, mask, start):
        y, states = fused(layer, forward, backward, x, mask, start, merge_mode)
    else:
        y, states = separate(layer, forward, backward, x, mask, start, merge_mode)
    if forward.flow.return_sequences:
        y = map_tree(lambda value: value.masked(passed), y)
    return (*values(y), *states) if forward.flow.return_state or merge_mode is None else y


def direction(layer: LayerHandle, role: str) -> Direction:
    """The wrapped layer of one direction. Keras 2 does not write the backward one down where it is like the other."""
    children = layer.children
    first = children.get("layer") or children["forward_layer"]
    child = children.get("backward_layer", first) if role == "backward" else first
    flow, places = parts(layer, child, f"{role}_layer/")
    if role == "backward" and child is first:
        flow = replace(flow, go_backwards=not flow.go_backwards)
    # Keras forces zeros at masked steps, so that the two directions can be merged.
    return Direction(role, replace(flow, zero_output_for_mask=flow.return_sequences), places)


def parts(layer: LayerHandle, child: Layer, prefix: str) -> tuple[Flow, list[Place]]:
    """How a wrapped recurrent layer walks, and its cells."""
    converter = lookup(f"layers.{child.class_name}")
    if converter is None or child.class_name not in (*GATES, "RNN"):
        layer.unsupported(f"it wraps a {child.class_name!r:.80}", "in Keras, wrap LSTM, GRU, SimpleRNN or RNN")
    known = {field.name for field in fields(Flow)}
    flow = Flow(**{key: value for key, value in converter.config(child.config).items() if key in known})
    if child.class_name == "RNN":
        return flow, cells_of(child.children["cell"], f"{prefix}cell/")
    return flow, [Place(cell_of(child.class_name, child.config), f"{prefix}cell/", child.trainable)]


def fits_one_module(
    layer: LayerHandle, forward: Direction, backward: Direction, mask: Value | None, start: Sequence[Value]
) -> bool:
    """Whether one nn.LSTM (GRU, RNN) with `bidirectional=True` does the same as both layers, or one masked module.

    That one starts from zero, and does not tell the cell states of an LSTM.
    """
    if len(forward.places) != 1 or replace(backward.flow, go_backwards=False) != forward.flow:
        return False
    one, other = forward.places[0], backward.places[0]
    if (one.cell, one.trainable) != (other.cell, other.trainable) or not backward.flow.go_backwards:
        return False
    if one.cell.drops_by_gate or not one.cell.has_torch_activations or one.cell.reset_after is False:
        return False
    if mask is not None and (start or (forward.flow.return_state and one.cell.kind == "LSTM")):
        return False
    return not one.cell.dropout or not layer.exactly(
        "dropout within a Bidirectional layer hides the same inputs from both directions; in Keras each has its own"
    )


def fused(
    layer: LayerHandle, forward: Direction, backward: Direction, x: Value, mask: Value | None, start: Sequence[Value],
    merge_mode: MergeMode,
) -> tuple[Any, list[Value]]:  # fmt: skip
    """One module for both directions."""
    check(layer, forward.flow, mask)
    check(layer, backward.flow, mask)
    places = [*forward.places, *backward.places]
    pairs = [checked(layer, place, own, x) for place, own in zip(places, take(layer, places), strict=True)]
    cell = pairs[0][0]
    own: list[Arrays] = [arrays for _, arrays in pairs]
    if not is_standard(cell):
        return separate(layer, forward, backward, x, mask, start, merge_mode)
    if cell.dropout:
        x = dropped(layer, cell, x, "")
    pen = layer.learning(places[0].trainable)
    sequence, last, states = both_ways(pen, cell, own, x, start) if mask is None else masked(pen, cell, own, x, mask)
    whole = sequence if forward.flow.return_sequences else last
    if merge_mode == "concat" and whole is not None:
        return whole, states
    ends = states[0], states[len(states) // 2]
    return merged(layer, merge_mode, *(halves(layer, cell, sequence) if whole is sequence else ends)), states


def both_ways(
    layer: LayerHandle, cell: Cell, arrays: Sequence[Arrays], x: Value, start: Sequence[Value]
) -> tuple[Value, None, list[Value]]:
    """(the sequence, None, the states) of PyTorch's own module for two directions."""
    half = len(start) // 2
    stacked = [layer.function("torch.stack", [a, b]) for a, b in zip(start[:half], start[half:], strict=True)]
    given = [tuple(stacked) if cell.kind == "LSTM" else stacked[0]] if start else []
    sequence, end = torch_module(layer, cell, arrays, "")(x, *given)
    ends = list(end) if cell.kind == "LSTM" else [end]
    return sequence, None, [layer.index(state, i) for i in (0, 1) for state in ends]


def masked(
    layer: LayerHandle, cell: Cell, arrays: Sequence[Arrays], x: Value, mask: Value
) -> tuple[Value, Value, list[Value]]:
    """(the sequence, the last outputs side by side, one by one) of the local module that goes by a mask."""
    sequence, last = masked_module(layer, cell, arrays)(x, mask)
    return sequence, last, list(halves(layer, cell, last))


def halves(layer: LayerHandle, cell: Cell, both: Value) -> tuple[Value, Value]:
    """Of features side by side, those of each direction."""
    return layer.index(both, ..., slice(None, cell.units)), layer.index(both, ..., slice(cell.units, None))


def separate(
    layer: LayerHandle, forward: Direction, backward: Direction, x: Value, mask: Value | None, start: Sequence[Value],
    merge_mode: MergeMode,
) -> tuple[Any, list[Value]]:  # fmt: skip
    """A module for each direction: under a mask, the backward one starts at the last step that counts."""
    half = len(start) // 2
    ends: list[Value] = []
    states: list[Value] = []
    for way, begin in ((forward, start[:half]), (backward, start[half:])):
        result, walked = walk(layer, way.flow, way.places, x, mask, begin, way.role)
        y = output(layer, way.flow, result, walked)
        if way is backward and way.flow.return_sequences:
            y = layer.method("flip", y, 1)
        ends.append(y)
        states += result.states
    return merged(layer, merge_mode, *ends), states


def merged(layer: LayerHandle, mode: MergeMode, forward: Value, backward: Value) -> Any:
    if mode is None:
        return forward, backward
    if mode == "concat":
        return layer.function("torch.cat", [forward, backward], dim=-1)
    if mode == "mul":
        return layer.operator("*", forward, backward)
    total = layer.operator("+", forward, backward)
    return layer.operator("/", total, 2) if mode == "ave" else total


# -- TimeDistributed -------------------------------------------------------------------------------------

# Layers that treat each element, or each vector of features, alone: for them steps are like rows.
BY_ELEMENT = {
    "Dense", "Embedding", "Activation", "ReLU", "LeakyReLU", "ELU", "Dropout", "GaussianNoise", "GaussianDropout",
}  # fmt: skip


def STEPS_SECOND(inputs: Sequence[Any], config: Mapping[str, Any]) -> list[Arrangement]:
    """Batch and steps in front, the rest as it comes."""
    return [
        Perm((0, 1, *(axis for axis in x.arrangement.axes if axis > 1)))
        if isinstance(x.arrangement, Perm) and x.rank > 1
        else x.arrangement
        for x in inputs
    ]


@converts("layers.TimeDistributed", layout=STEPS_SECOND, mask="pass")
def time_distributed(layer: LayerHandle, x: Any) -> Any:
    """The wrapped layer sees batch and steps as one axis; one that treats each element alone needs not even that."""
    child = layer.children["layer"]
    if not isinstance(x, Value) or x.rank < 3:
        layer.unsupported("its input is not one tensor of three axes or more", "give it one tensor (batch, steps, ...)")
    x = x.masked(layer.mask if layer.mask is not None and layer.mask.rank > 2 else None)
    if child.class_name in BY_ELEMENT and child.config.get("noise_shape") is None:
        return layer.convert(child, x)
    if layer.version >= (3,) and trains_batch_norm(child) and layer.exactly(BY_STEP):
        if x.sizes[1] is None:
            layer.unsupported(
                "it trains a BatchNormalization step by step, for any number of steps",
                "convert without --exact (statistics over all steps at once), or state the number of steps in Keras",
            )
        return step_by_step(layer, child, x)
    return map_tree(lambda y: unfolded(layer, y, x), layer.convert(child, folded(layer, x)))


def folded(layer: LayerHandle, x: Value) -> Value:
    """(N, T, ...) -> (N * T, ...), with the mask of each step."""
    inner = layer.method("flatten", x.mask, 0, 1) if x.mask is not None else None
    y: Value = layer.method("flatten", x, 0, 1).masked(inner)
    if isinstance(x.arrangement, Flat):
        return y.arranged(replace(x.arrangement, rank=y.rank))
    return y.arranged(Perm((0, *(axis - 1 for axis in x.arrangement.axes[2:]))))


def unfolded(layer: LayerHandle, y: Value, x: Value) -> Value:
    """(N * T, ...) -> (N, T, ...), as many steps as `x` has."""
    if isinstance(y.arrangement, Perm) and y.arrangement.axes[0] != 0:
        y = layer.coerce(y, as_written(y.rank))
    z: Value = layer.method("unflatten", y, 0, (-1, layer.size(x, 1))).masked(step_mask(layer, y, x))
    if isinstance(y.arrangement, Flat):
        return z.arranged(replace(y.arrangement, rank=z.rank))
    return z.arranged(Perm((0, 1, *(axis + 1 for axis in y.arrangement.axes[1:]))))


def step_mask(layer: LayerHandle, y: Value, x: Value) -> Value | None:
    """In Keras 2, the mask that the wrapped layer passes on, or one for whole steps; in Keras 3 that of the input."""
    if layer.version >= (3,):
        return None
    if y.mask is not None:
        return layer.method("unflatten", y.mask, 0, (-1, layer.size(x, 1)))  # type: ignore[no-any-return]  # one value
    return layer.method("any", layer.method("flatten", x.mask, 2), dim=-1) if x.mask is not None else None


BY_STEP = (
    "BatchNormalization within TimeDistributed takes its statistics over all steps at once, in Keras 3 step by step"
)


def trains_batch_norm(layer: Layer) -> bool:
    if layer.class_name == "BatchNormalization":
        return layer.trainable
    inside = [node.layer for node in layer.graph.nodes if isinstance(node, Node)] if layer.graph is not None else []
    return any(map(trains_batch_norm, [*inside, *layer.children.values()]))


def step_by_step(layer: LayerHandle, child: Layer, x: Value) -> Any:
    """One call for each step, as Keras 3 makes them."""
    layer.shared = True  # the one child sees every step
    steps = []
    for number in range(int(x.sizes[1] or 0)):
        step = layer.index(x, slice(None), number)
        assert isinstance(x.arrangement, Perm)
        step = step.arranged(Perm((0, *(axis - 1 for axis in x.arrangement.axes[2:]))))
        steps.append(layer.convert(child, step))
    y: Value = layer.function("torch.stack", steps, dim=1)
    return y.arranged(Perm((0, 1, *(axis + 1 for axis in steps[0].arrangement.axes[1:]))))
