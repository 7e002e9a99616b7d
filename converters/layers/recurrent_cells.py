"""What a recurrent layer computes at each step: its cells, as configs state them, and the arrays that they own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from converters.arrangement import Flat
from converters.errors import Unsupported
from converters.graph import Layer, Value
from converters.layer import LayerHandle, activation_name
from converters.registry import lookup
from converters.weights import Weight

GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}


@dataclass(frozen=True)
class Cell:
    """One recurrent layer without what it does with its outputs; the fields are keys of its config."""

    kind: str
    units: int
    activation: Any = "tanh"
    recurrent_activation: Any = "sigmoid"
    use_bias: bool = True
    reset_after: bool | None = None
    dropout: float = 0.0
    recurrent_dropout: float = 0.0
    implementation: int = 2

    @property
    def names(self) -> tuple[str, ...]:
        """The arrays that it owns, in Keras' order."""
        return ("kernel", "recurrent_kernel", "bias")[: 2 + self.use_bias]

    @property
    def state_count(self) -> int:
        return 2 if self.kind == "LSTM" else 1

    @property
    def nonlinearity(self) -> str:
        return plain_name(self.activation)

    @property
    def has_torch_activations(self) -> bool:
        """Whether its activations are those that PyTorch's own module has."""
        if self.kind == "SimpleRNN":
            return self.nonlinearity in ("tanh", "relu")
        return self.nonlinearity == "tanh" and plain_name(self.recurrent_activation) == "sigmoid"

    @property
    def drops_by_gate(self) -> bool:
        """Whether each gate has dropouts of its own; else one dropout before the layer is the same."""
        if self.recurrent_dropout:
            return True
        return bool(self.dropout) and self.implementation == 1 and not self.has_torch_activations


@dataclass(frozen=True)
class Place:
    """Where the arrays of a cell lie within its layer, whether they learn, and whether it sees the layer's input."""

    cell: Cell
    prefix: str
    trainable: bool
    first: bool = True


class Arrays(NamedTuple):
    """What the file holds for a cell."""

    kernel: Weight
    recurrent_kernel: Weight
    bias: Weight | None


def plain_name(activation: Any) -> str:
    """The name of an activation that has no settings, else ''."""
    name, config = activation_name(activation)
    return "linear" if name is None else name if not config else ""


def cell_of(class_name: str, config: Mapping[str, Any]) -> Cell:
    """The cell of a config: of `LSTM` or of `LSTMCell`."""
    kind = class_name.removesuffix("Cell")
    converter = lookup("layers.LSTM")  # whose signature is the schema of all of them
    if kind not in GATES or converter is None:
        raise Unsupported(
            f"the recurrent cell {class_name!r:.80} has no converter", "use LSTM, GRU or SimpleRNN in Keras"
        )
    known = {field.name for field in fields(Cell)}
    return Cell(kind, **{key: value for key, value in converter.config(config).items() if key in known})


def cells_of(child: Layer, prefix: str) -> list[Place]:
    """The cell that an RNN wraps, or the cells of a stack; Keras stores those under class names, counted."""
    if child.class_name != "StackedRNNCells":
        return [Place(cell_of(child.class_name, child.config), prefix, child.trainable)]
    places: list[Place] = []
    counts: dict[str, int] = {}
    for entry in child.config["cells"]:
        class_name, config = entry["class_name"], entry["config"]
        if ">" in str(entry.get("registered_name")):
            class_name = str(entry["registered_name"])  # somebody's own, whatever it is called
        snake = {"LSTMCell": "lstm_cell", "GRUCell": "gru_cell", "SimpleRNNCell": "simple_rnn_cell"}.get(class_name, "")
        counts[snake] = counts.get(snake, -1) + 1
        number = f"_{counts[snake]}" if counts[snake] else ""
        trainable = child.trainable and bool(config.get("trainable", True))
        cell = cell_of(class_name, config)
        places.append(Place(cell, f"{prefix}cells/{snake}{number}/", trainable, first=not places))
    return places


def take(layer: LayerHandle, places: Sequence[Place]) -> list[Arrays]:
    """The arrays of all cells of a layer, in the order in which Keras creates them."""
    names = [f"{place.prefix}{name}" for place in places for name in place.cell.names]
    found = iter(vars(layer.weights(*names)).values())
    return [
        Arrays(*(next(found) for _ in place.cell.names), *(() if place.cell.use_bias else (None,))) for place in places
    ]


def checked(layer: LayerHandle, place: Place, arrays: Arrays, x: Value) -> tuple[Cell, Arrays]:
    """The cell and its arrays, which must be of the shapes that the config asks for.

    Old configs of a GRU do not say whether the reset gate comes after the matrix product; the shape of its bias does.
    So does that of an LSTM which was a CuDNNLSTM and has two biases, as PyTorch's has.
    """
    cell, (kernel, recurrent, bias) = place.cell, arrays
    width = GATES[cell.kind] * cell.units
    layer.expect(kernel, (x.sizes[-1], width), "kernel")
    layer.expect(recurrent, (cell.units, width), "recurrent kernel")
    after = cell.kind == "GRU" and bool(cell.reset_after if cell.reset_after is not None else bias and bias.rank == 2)
    if bias is not None:
        two = after or (cell.kind == "LSTM" and bias.rank == 2 and layer.version < (3,))
        layer.expect(bias, (2, width) if two else (width,), "bias")
    if place.first and isinstance(layer.order, Flat):
        kernel = kernel.reorder(0, layer.order)
    settled = Cell(**{**vars(cell), "reset_after": after})
    return settled, Arrays(kernel, recurrent, bias)
