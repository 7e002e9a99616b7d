"""The PyTorch module that equals a recurrent cell, and how it is run over a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from converters.graph import Function, Value
from converters.layer import LayerHandle
from converters.layers.activation import SAME
from converters.layers.recurrent_cells import Arrays, Cell, Place, checked, plain_name
from converters.weights import Weight, concat, constant

TORCH = {"LSTM": "nn.LSTM", "GRU": "nn.GRU", "SimpleRNN": "nn.RNN"}
STEPWISE = {"LSTM": "LSTM", "GRU": "GRU", "SimpleRNN": "RNN"}
METHODS = {"tanh", "sigmoid", "exp"}  # targets of SAME that are methods of a tensor, and functions of torch too
OTHERS = {
    "linear": Function("local.linear"),
    "relu": Function("F.relu"),
    "elu": Function("F.elu"),
    "gelu": Function("F.gelu"),
    "leaky_relu": Function("F.leaky_relu", (("negative_slope", 0.2),)),
}
OVER_FEATURES = {"softmax": "F.softmax", "log_softmax": "F.log_softmax"}
DEFAULTS = {
    "bias": True, "activation": Function("torch.tanh"), "recurrent_activation": Function("torch.sigmoid"),
    "reset_after": True, "dropout": 0.0, "recurrent_dropout": 0.0,
}  # fmt: skip
ONE_BIAS = "Keras has one bias here, PyTorch two: bias_hh stays zero, or their sum would learn twice as fast."


class Run(NamedTuple):
    """What running a cell over a sequence gives: all outputs, the last one, the last states (if they are needed)."""

    sequence: Value
    last: Value
    states: tuple[Value, ...]


def is_standard(cell: Cell) -> bool:
    """Whether nn.LSTM, nn.GRU or nn.RNN computes the same."""
    return cell.has_torch_activations and not cell.drops_by_gate and (cell.kind != "GRU" or bool(cell.reset_after))


def torch_module(layer: LayerHandle, cell: Cell, directions: Sequence[Arrays], role: str) -> Any:
    """nn.LSTM, nn.GRU or nn.RNN, of one direction or two."""
    options = _options(cell) | {"batch_first": True} | ({"bidirectional": True} if len(directions) == 2 else {})
    module = layer.module(TORCH[cell.kind], directions[0].kernel.shape[0], cell.units, role=role, **options)
    for arrays, key in zip(directions, ("{}_l0", "{}_l0_reverse"), strict=False):
        _load(module, cell, arrays, key)
    return module


def masked_module(layer: LayerHandle, cell: Cell, directions: Sequence[Arrays]) -> Any:
    """A local class with a module for each direction, which is called with a mask."""
    kind = Function(TORCH[cell.kind], tuple(_options(cell).items()))
    module = layer.local("MaskedBidirectional", kind, directions[0].kernel.shape[0], cell.units)
    for arrays, key in zip(directions, ("forward_layer.{}_l0", "backward_layer.{}_l0"), strict=True):
        _load(module, cell, arrays, key)
    return module


def _options(cell: Cell) -> dict[str, Any]:
    """Those of nn.LSTM, nn.GRU and nn.RNN that have not their defaults."""
    options: dict[str, Any] = {"nonlinearity": "relu"} if cell.nonlinearity == "relu" else {}
    return options | ({} if cell.use_bias else {"bias": False})


def _load(module: Any, cell: Cell, arrays: Arrays, key: str) -> None:
    """One direction. `key`: where its tensors lie in the state dict of the module, `{}` for the name of each."""
    module.load(**{key.format(name): weight for name, weight in _torch_state(cell, arrays).items()})
    if arrays.bias is not None and arrays.bias.rank == 1:
        module.freeze(key.format("bias_hh")).comment(ONE_BIAS)


def _torch_state(cell: Cell, arrays: Arrays) -> dict[str, Weight]:
    """Keras' gates i, f, c, o are PyTorch's; z, r, h become r, z, n."""
    state = {
        "weight_ih": _in_torch_order(cell, arrays.kernel).T,
        "weight_hh": _in_torch_order(cell, arrays.recurrent_kernel).T,
    }
    if arrays.bias is None:
        return state
    if arrays.bias.rank == 1:
        return state | {"bias_ih": arrays.bias, "bias_hh": constant(0, arrays.bias.shape, arrays.bias.dtype)}
    first, second = (_in_torch_order(cell, row.reshape(-1)) for row in arrays.bias.split(2, axis=0))
    return state | {"bias_ih": first, "bias_hh": second}


def _in_torch_order(cell: Cell, weight: Weight) -> Weight:
    if cell.kind != "GRU":
        return weight
    z, r, h = weight.split(3)
    return concat([r, z, h], -1)


def stepwise_module(layer: LayerHandle, cell: Cell, arrays: Arrays, role: str) -> Any:
    """A local class, for any activations and dropouts. It keeps Keras' gates and its one bias."""
    options: dict[str, Any] = {"dropout": float(cell.dropout), "recurrent_dropout": float(cell.recurrent_dropout)}
    options = options if cell.drops_by_gate else {}
    options |= {"bias": cell.use_bias, "activation": function(layer, cell.activation)}
    if cell.kind != "SimpleRNN":
        options["recurrent_activation"] = function(layer, cell.recurrent_activation)
    if cell.kind == "GRU":
        options["reset_after"] = bool(cell.reset_after)
    options = {key: value for key, value in options.items() if value != DEFAULTS.get(key)}
    prefix = "Dropout" if cell.drops_by_gate else "Stepwise"
    module = layer.local(f"{prefix}{STEPWISE[cell.kind]}", arrays.kernel.shape[0], cell.units, role=role, **options)
    state = {"input.weight": arrays.kernel.T, "hidden.weight": arrays.recurrent_kernel.T}
    if arrays.bias is not None and arrays.bias.rank == 2:
        rows = [row.reshape(-1) for row in arrays.bias.split(2, axis=0)]
        return module.load(**state, **{"input.bias": rows[0], "hidden.bias": rows[1]})
    return module.load(**state, **{"input.bias": arrays.bias})


def function(layer: LayerHandle, activation: Any, *, features: int = -1) -> Function:
    """An activation as a function that a module can hold; `features` is the axis of the units."""
    name = plain_name(activation)
    if name in OVER_FEATURES:
        return Function(OVER_FEATURES[name], (("dim", features),))
    if name == "hard_sigmoid":
        return Function("F.hardsigmoid" if layer.version >= (3,) else "local.hard_sigmoid")
    if name in OTHERS:
        return OTHERS[name]
    if name not in SAME:
        layer.unsupported(
            f"the activation {activation!r:.80} within a recurrent layer", "use one that Keras knows by name"
        )
    return Function(f"torch.{SAME[name]}" if SAME[name] in METHODS else SAME[name])


# -- running ---------------------------------------------------------------------------------------------


def run(
    layer: LayerHandle, place: Place, arrays: Arrays, x: Value, mask: Value | None, start: Sequence[Value], role: str,
    *, needs_states: bool,
) -> Run:  # fmt: skip
    """One cell over x (N, T, F). An nn.LSTM does not tell its cell state before a masked end, hence `needs_states`."""
    cell, arrays = checked(layer, place, arrays, x)
    layer = layer.learning(place.trainable)
    if cell.dropout and not cell.drops_by_gate:
        x = dropped(layer, cell, x, role)
    if not is_standard(cell) or (mask is not None and needs_states and cell.kind == "LSTM"):
        module = stepwise_module(layer, cell, arrays, role)
        sequence, states = module(x, *([tuple(start)] if start else []), **({} if mask is None else {"mask": mask}))
        return Run(sequence, layer.index(sequence, slice(None), -1), tuple(states))
    module = torch_module(layer, cell, [arrays], role)
    before = [layer.method("unsqueeze", state, 0) for state in start]
    given = [tuple(before) if cell.kind == "LSTM" else before[0]] if before else []
    if mask is None:
        sequence, end = module(x, *given)
        states = tuple(layer.index(state, 0) for state in (end if cell.kind == "LSTM" else [end]))
        return Run(sequence, layer.index(sequence, slice(None), -1), states)
    outputs, _ = module(layer.function("local.valid_first", x, mask), *given)
    last = layer.function("local.last_valid", outputs, mask)
    state = layer.function("local.last_state", outputs, mask, start[0]) if start else last
    return Run(layer.function("local.carry_forward", outputs, mask), last, (state,))


def dropped(layer: LayerHandle, cell: Cell, x: Value, role: str) -> Value:
    """Dropout that hides a feature at all steps of a sequence, or at none."""
    module = layer.local("SharedDropout", float(cell.dropout), (1,), role=joined(role, "dropout"))
    return module(x)  # type: ignore[no-any-return]  # one value


def joined(*roles: str) -> str:
    return "_".join(filter(None, roles))
