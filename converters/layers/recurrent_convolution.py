"""ConvLSTM1D, ConvLSTM2D, ConvLSTM3D."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from converters import padding as pad
from converters.arrangement import Arrangement, Perm, as_written, channels_first
from converters.graph import Function, Value
from converters.layer import LayerHandle, ModuleHandle, compact
from converters.layers.convolution import DataFormat, Padding, Sizes, output_first, spread
from converters.layers.recurrent import Flow, call_arguments, check
from converters.layers.recurrent_modules import DEFAULTS, function
from converters.registry import converts


def CHANNELS_THIRD(inputs: Sequence[Any], config: Mapping[str, Any]) -> list[Arrangement]:
    """(batch, steps, channels, ...), and states (batch, channels, ...)."""
    if config.get("data_format") == "channels_first":
        return [as_written(x.rank) for x in inputs]
    rank = max(x.rank for x in inputs)
    third = Perm((0, 1, rank - 1, *range(2, rank - 1)))
    return [third if x.rank == rank else channels_first(x.rank) for x in inputs]


@converts("layers.ConvLSTM1D", "layers.ConvLSTM2D", "layers.ConvLSTM3D", layout=CHANNELS_THIRD)
def conv_lstm(
    layer: LayerHandle,
    x: Any,
    initial_state: Any = None,
    mask: Value | None = None,
    *,
    filters: int,
    kernel_size: Sizes,
    strides: Sizes = 1,
    padding: Padding = "valid",
    data_format: DataFormat = "channels_last",
    dilation_rate: Sizes = 1,
    activation: Any = "tanh",
    recurrent_activation: Any = "sigmoid",
    use_bias: bool = True,
    dropout: float = 0.0,
    recurrent_dropout: float = 0.0,
    return_sequences: bool = False,
    return_state: bool = False,
    go_backwards: bool = False,
    stateful: bool = False,
    unroll: bool = False,
    zero_output_for_mask: bool = False,
    time_major: bool = False,
) -> Any:
    """kernel (k..., in, 4 * filters), recurrent_kernel (k..., filters, 4 * filters), the gates in PyTorch's order."""
    flow = Flow(return_sequences, return_state, go_backwards, stateful, unroll, zero_output_for_mask, time_major)
    x, mask, start = call_arguments(layer, x, initial_state, mask, rank=int(layer.class_name[-2]) + 3)
    check(layer, flow, mask)
    if mask is not None:
        layer.unsupported("a mask on a convolutional LSTM", "in Keras, cut the steps off that are padding")
    w = layer.weights("cell/kernel", "cell/recurrent_kernel", "cell/bias" if use_bias else None)
    rank = x.rank - 3
    kernel, stride, dilation = (spread(sizes, rank) for sizes in (kernel_size, strides, dilation_rate))
    layer.expect(w.kernel, (*kernel, x.sizes[2], 4 * filters), "kernel")
    layer.expect(w.recurrent_kernel, (*kernel, filters, 4 * filters), "recurrent kernel")
    if go_backwards:
        x = layer.method("flip", x, 1)
    x, width = padded(layer, x, kernel, stride, dilation, padding)
    options = {
        "stride": compact(stride),
        "padding": width,
        "dilation": compact(dilation),
        "bias": use_bias,
        "activation": function(layer, activation, features=1),
        "recurrent_activation": function(layer, recurrent_activation, features=1),
        "dropout": float(dropout),
        "recurrent_dropout": float(recurrent_dropout),
    }
    module = _module(layer, (w.kernel.shape[-2], filters, compact(kernel)), options, rank)
    module.load(**{"input.weight": output_first(w.kernel), "input.bias": w.bias})
    module.load(**{"hidden.weight": output_first(w.recurrent_kernel)})
    sequence, states = module(x, *([tuple(start)] if start else []))
    arrangement = channels_first(rank + 2) if data_format == "channels_last" else as_written(rank + 2)
    y = sequence if return_sequences else layer.index(sequence, slice(None), -1)
    y = y.arranged(x.arrangement if return_sequences else arrangement)
    return (y, *(state.arranged(arrangement) for state in states)) if return_state else y


def padded(
    layer: LayerHandle, x: Value, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], padding: str
) -> tuple[Value, Any]:
    """(x, the `padding` of the convolution): cells are added before it where `same` is not alike on both sides."""
    if padding == "valid":
        return x, 0
    pairs = pad.same_of(x.sizes[3:], kernel, stride, dilation)
    if pairs is None:
        layer.unsupported("padding='same' with strides over images of any size", "give the model's input a fixed size")
    widths = pad.symmetric(pairs)
    if widths is not None:
        return x, compact(widths)
    if max(stride) == 1:
        return x, "same"
    return layer.function("F.pad", x, pad.for_pad(pairs)), 0


def _module(layer: LayerHandle, sizes: tuple[Any, ...], options: dict[str, Any], rank: int) -> ModuleHandle:
    name = "DropoutConvLSTM" if options["dropout"] or options["recurrent_dropout"] else "ConvLSTM"
    defaults = {**DEFAULTS, "stride": 1, "padding": 0, "dilation": 1}
    told = {key: value for key, value in options.items() if value != defaults[key]}
    return layer.local(name, Function(f"nn.Conv{rank}d"), *sizes, **told)
