"""Arrays as Keras 1, Theano and cuDNN kept them -> those of Keras 3, as weight expressions, which have an inverse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from converters.errors import Unsupported
from converters.graph import Layer
from converters.weights import Weight, concat

# What Keras 1 put behind a layer's name to name a variable (`lstm_1_W_i`), longest first.
SUFFIXES = tuple(
    sorted(
        (
            *(f"_{kind}_{gate}" for kind in "WUb" for gate in "ifcozrh"),
            "_W", "_U", "_b", "_gamma", "_beta", "_running_mean", "_running_std", "_alphas", "_depthwise_kernel",
            "_pointwise_kernel",
        ),
        key=len, reverse=True,
    )
)  # fmt: skip
CONVOLUTIONS = {"Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose"}


def modern_arrays(
    class_name: str, config: Mapping[str, Any], children: Mapping[str, Layer], arrays: list[Weight], *, flipped: bool
) -> list[Weight]:
    """The arrays of one Keras 1 layer in the number, order and axes of Keras 3. `flipped`: Theano wrote them."""
    if class_name == "Bidirectional":
        child, half = children["layer"], len(arrays) // 2
        parts = (arrays[:half], arrays[half:])
        return [w for part in parts for w in modern_arrays(child.class_name, child.config, {}, part, flipped=flipped)]
    first = config.get("data_format") == "channels_first"
    if class_name == "ConvLSTM2D" and first:
        arrays = [_filters_last(array) if array.rank == 4 else array for array in arrays]
    if class_name in ("LSTM", "GRU", "ConvLSTM2D"):
        arrays = joined_gates(class_name, arrays)
    match class_name:
        case "Conv1D":
            arrays = [_conv1d(config, arrays[0]), *arrays[1:]] if arrays and arrays[0].rank == 4 else arrays
        case "Conv2D" | "Conv3D" if first:
            arrays = [_filters_last(arrays[0]), *arrays[1:]]
        case "Conv2DTranspose":
            arrays = [_transposed(arrays[0], first), *arrays[1:]]
        case "SeparableConv2D" if first:
            arrays = [*map(_filters_last, arrays[:2]), *arrays[2:]]
    return unflipped(class_name, arrays) if flipped else arrays


def unflipped(class_name: str, arrays: list[Weight]) -> list[Weight]:
    """Theano turns kernels around before it slides them along."""
    if class_name in CONVOLUTIONS:
        return [arrays[0].flip(*range(arrays[0].rank - 2)), *arrays[1:]]
    if class_name in ("SeparableConv2D", "DepthwiseConv2D", "ConvLSTM2D"):
        raise Unsupported(
            f"Theano wrote this {class_name}, and how it lays out its kernels is not known",
            "load the model in Keras on TensorFlow, check its predictions there, and save it again",
        )
    return arrays


def check_padding(class_name: str, config: Mapping[str, Any]) -> None:
    """Theano's `same` pads both sides alike, which is what Keras means only for odd kernels at stride 1."""
    if config.get("padding") != "same" or not class_name.startswith(("Conv", "MaxPooling", "AveragePooling")):
        return
    pool = "pool_size" in config
    kernels, strides = (_sizes(config.get(key)) for key in ("pool_size" if pool else "kernel_size", "strides"))
    if any(stride != 1 for stride in (strides or (kernels if pool else []))) or any(
        size not in (1, 3) if pool else size % 2 == 0 for size in kernels
    ):
        raise Unsupported(
            "Theano wrote this model, and its padding='same' pads both sides alike, which no later Keras does",
            "in its own Keras, put a ZeroPadding layer in front, set padding='valid', and save it again",
        )


def _sizes(value: Any) -> list[int]:
    return [size for size in (value if isinstance(value, list) else [value]) if isinstance(size, int)]


def joined_gates(class_name: str, arrays: Sequence[Weight]) -> list[Weight]:
    """One array for each gate -> the gates side by side: i, c, f, o of Keras 1 -> i, f, c, o; z, r, h stay."""
    order = (0, 1, 2) if class_name == "GRU" else (0, 2, 1, 3)
    if len(arrays) != 3 * len(order):
        return list(arrays)  # `consume_less="gpu"` kept them joined already, in the order of today
    return [concat([arrays[3 * gate + kind] for gate in order], -1) for kind in range(3)]


def _conv1d(config: Mapping[str, Any], kernel: Weight) -> Weight:
    """(length, 1, in, out), or (out, in, length, 1) before Keras 1.2 -> (length, in, out)."""
    size = config["kernel_size"]
    length = size if isinstance(size, int) else size[0]
    if kernel.shape[:2] != (length, 1) or kernel.shape[3] != config["filters"]:
        kernel = _filters_last(kernel)
    return kernel.reshape(kernel.shape[0], *kernel.shape[2:])


def _filters_last(kernel: Weight) -> Weight:
    """(out, in, rows, columns ...) -> (rows, columns ..., in, out)."""
    return kernel.transpose(*range(2, kernel.rank), 1, 0)


def _transposed(kernel: Weight, first: bool) -> Weight:
    """(rows, columns, in, out), or (out, in, rows, columns) if channels come first -> (rows, columns, out, in)."""
    return kernel.transpose(2, 3, 0, 1) if first else kernel.transpose(0, 1, 3, 2)


def from_cudnn(class_name: str, arrays: list[Weight]) -> list[Weight]:
    """The arrays of a CuDNNLSTM or CuDNNGRU -> those of the plain layer; any other layer's as they are.

    Their kernels lie by column and have two biases in a row, as a GRU with `reset_after` has.
    """
    gates = {"LSTM": 4, "GRU": 3}.get(class_name, 0)
    if not gates or len(arrays) != 3 or arrays[2].shape != (2 * gates * arrays[1].shape[0],):
        return arrays
    kernel, recurrent, bias = arrays
    return [
        concat([_by_column(gate) for gate in kernel.split(gates)], -1),
        concat([gate.T for gate in recurrent.split(gates)], -1),
        bias.reshape(2, -1),
    ]


def _by_column(kernel: Weight) -> Weight:
    """What cuDNN fills column by column, read row by row."""
    rows, columns = kernel.shape
    return kernel.reshape(columns, rows).T
