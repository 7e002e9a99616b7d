"""LSTM, GRU, SimpleRNN, and RNN over their cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from converters.arrangement import AS_WRITTEN
from converters.graph import Value, values
from converters.layer import LayerHandle
from converters.layers.recurrent_cells import Cell, Place, cells_of, take
from converters.layers.recurrent_modules import Run, joined, run
from converters.registry import converts


@dataclass(frozen=True)
class Flow:
    """How a recurrent layer walks along its sequence and what it returns; the fields are keys of its config."""

    return_sequences: bool = False
    return_state: bool = False
    go_backwards: bool = False
    stateful: bool = False
    unroll: bool = False
    zero_output_for_mask: bool = False
    time_major: bool = False


@converts("layers.LSTM", "layers.GRU", "layers.SimpleRNN", layout=AS_WRITTEN, features=True)
def recurrent(
    layer: LayerHandle,
    x: Any,
    initial_state: Any = None,
    mask: Value | None = None,
    *,
    units: int,
    activation: Any = "tanh",
    recurrent_activation: Any = "sigmoid",
    use_bias: bool = True,
    reset_after: bool | None = None,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    implementation: int = 2,
    return_sequences: bool = False,
    return_state: bool = False,
    go_backwards: bool = False,
    stateful: bool = False,
    unroll: bool = False,
    zero_output_for_mask: bool = False,
    time_major: bool = False,
) -> Any:
    """kernel (in, gates * units), recurrent_kernel (units, gates * units): nn.LSTM, nn.GRU, nn.RNN or a local class."""
    cell = Cell(
        layer.class_name, units, activation, recurrent_activation, use_bias, reset_after, dropout, recurrent_dropout,
        implementation,
    )  # fmt: skip
    flow = Flow(return_sequences, return_state, go_backwards, stateful, unroll, zero_output_for_mask, time_major)
    x, mask, start = call_arguments(layer, x, initial_state, mask)
    return outputs(layer, flow, [Place(cell, "cell/", layer.trainable)], x, mask, start)


@converts("layers.RNN", layout=AS_WRITTEN, features=True)
def rnn(
    layer: LayerHandle,
    x: Any,
    initial_state: Any = None,
    mask: Value | None = None,
    *,
    return_sequences: bool = False,
    return_state: bool = False,
    go_backwards: bool = False,
    stateful: bool = False,
    unroll: bool = False,
    zero_output_for_mask: bool = False,
    time_major: bool = False,
) -> Any:
    """A stack of cells is the same as one layer after the other."""
    flow = Flow(return_sequences, return_state, go_backwards, stateful, unroll, zero_output_for_mask, time_major)
    x, mask, start = call_arguments(layer, x, initial_state, mask)
    return outputs(layer, flow, cells_of(layer.children["cell"], "cell/"), x, mask, start)


def call_arguments(
    layer: LayerHandle, x: Any, initial_state: Any, mask: Value | None, *, rank: int = 3
) -> tuple[Value, Value | None, list[Value]]:
    """(sequence, the mask that counts, initial states). Keras 2 has the states in one list with the sequence.

    Keras 3 looks for the mask of its input only if that is the one tensor that the layer is called with.
    """
    x, *start = x if isinstance(x, (list, tuple)) else [x]
    start += values(initial_state)
    if x.rank != rank:
        layer.unsupported(f"its input has {x.rank} axes, expected {rank}: batch, steps and features", "check the file")
    if mask is None and (not start or layer.version < (3,)):
        mask = x.mask
    if mask is not None and mask.rank != 2:
        layer.unsupported(
            f"its mask has {mask.rank} axes, expected (batch, steps)", "give it one value a step in Keras"
        )
    if mask is not None and mask.dtype != "bool":
        mask = layer.method("bool", mask)
    return x, mask, start


def check(layer: LayerHandle, flow: Flow, mask: Value | None) -> None:
    """Refuses what cannot be run."""
    if flow.stateful:
        layer.unsupported(
            "stateful=True keeps states from one call to the next",
            "in Keras, set stateful=False and return_state=True, and hand the states on as initial_state yourself",
        )
    if flow.time_major:
        layer.unsupported("time_major=True", "in Keras, set it to False and transpose the input")
    if flow.unroll and flow.go_backwards and flow.zero_output_for_mask and flow.return_sequences and mask is not None:
        layer.unsupported(
            "unrolled backwards under a mask, Keras itself sets the outputs of other steps to zero than those masked",
            "in Keras, set unroll=False, which computes the same otherwise",
        )


def outputs(
    layer: LayerHandle, flow: Flow, places: Sequence[Place], x: Value, mask: Value | None, start: Sequence[Value]
) -> Any:
    """What the layer returns: the output, and the states if they are asked for."""
    passed = x.mask if mask is None else mask
    result, walked = walk(layer, flow, places, x, mask, start)
    y = output(layer, flow, result, walked)
    y = y.masked(passed) if flow.return_sequences else y
    return (y, *result.states) if flow.return_state else y


def walk(
    layer: LayerHandle, flow: Flow, places: Sequence[Place], x: Value, mask: Value | None, start: Sequence[Value],
    role: str = "",
) -> tuple[Run, Value | None]:  # fmt: skip
    """The cells one after the other, all states in a row, and the mask in the order in which they saw the steps."""
    check(layer, flow, mask)
    arrays = take(layer, places)
    if flow.go_backwards:
        x, mask = layer.method("flip", x, 1), mask and layer.method("flip", mask, 1)
    expected = sum(place.cell.state_count for place in places)
    if start and len(start) != expected:
        layer.unsupported(f"it is called with {len(start)} initial states, expected {expected}", "check the file")
    states: list[Value] = []
    rest, result = list(start), Run(x, x, ())
    for number, (place, own) in enumerate(zip(places, arrays, strict=True), 1):
        part = joined(role, f"cell{number}" if len(places) > 1 else "")
        begin, rest = rest[: place.cell.state_count], rest[place.cell.state_count :]
        result = run(layer, place, own, result.sequence, mask, begin, part, needs_states=flow.return_state)
        states += result.states
    return result._replace(states=tuple(states)), mask


def output(layer: LayerHandle, flow: Flow, result: Run, mask: Value | None) -> Value:
    """The sequence or its end; zero at masked steps if so asked."""
    y = result.sequence if flow.return_sequences else result.last
    if mask is None or not flow.zero_output_for_mask:
        return y
    hidden = mask if flow.return_sequences else layer.index(mask, slice(None), -1)
    return layer.method("masked_fill", y, layer.operator("~", layer.index(hidden, ..., None)), 0)  # type: ignore[no-any-return]
