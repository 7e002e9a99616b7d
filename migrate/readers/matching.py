"""Which arrays of a legacy file belong to which layer of a model: by exact names, else in the order of Keras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from converters.errors import UserError, number_of
from converters.weights import Weight
from migrate.readers.keras1 import SUFFIXES

# Layers that own arrays. Others own none: what is unknown has no converter either.
OWNERS = frozenset(
    """Dense EinsumDense Conv1D Conv2D Conv3D Conv1DTranspose Conv2DTranspose Conv3DTranspose DepthwiseConv1D
    DepthwiseConv2D SeparableConv1D SeparableConv2D Embedding BatchNormalization LayerNormalization GroupNormalization
    RMSNormalization SpectralNormalization Normalization PReLU SimpleRNN LSTM GRU CuDNNLSTM CuDNNGRU ConvLSTM1D
    ConvLSTM2D ConvLSTM3D RNN Bidirectional MultiHeadAttention GroupQueryAttention""".split()
)


@dataclass(frozen=True)
class Entry:
    """One layer of a model, as far as its arrays are concerned.

    `names`: every name under which its variables may stand in a file: its own, those of layers that it wraps or holds.
    `base`: its class in snake case, or '' if it is an op, which has no place in a weight file. `repeated`: a layer
    like it, its name included, stands in another model further up; it may be the same.
    """

    name: str
    base: str
    names: frozenset[str]
    has_weights: bool
    trainable: bool = True
    repeated: bool = False


@dataclass(frozen=True)
class Named:
    """One array, and the components of its name in the file. `numbered`: TensorFlow's `:0` stood behind it."""

    parts: tuple[str, ...]
    weight: Weight
    numbered: bool = False

    @property
    def stem(self) -> tuple[str, ...]:
        """What stands in front of the name of the variable: `a/dense_1` of `a/dense_1/kernel` or `a/dense_1_W`."""
        for suffix in SUFFIXES:
            if self.parts[-1].endswith(suffix):
                return (*self.parts[:-1], self.parts[-1].removesuffix(suffix))
        return self.parts[:-1]


def named(name: str, weight: Weight) -> Named:
    stem, _, number = name.rpartition(":")
    numbered = bool(stem) and number.isdigit()
    parts = (stem if numbered else name).split("/")
    return Named(tuple(filter(None, parts)) or (name,), weight, numbered)


def distributed(layers: Sequence[Entry], arrays: Sequence[Named], where: str) -> list[list[Named]]:
    """The arrays of each layer of a nested model, out of those of the whole of it."""
    found: dict[int, list[Named]] = {index: [] for index in range(len(layers))}
    left: list[Named] = []
    for array in arrays:
        owner = _owner(layers, array)
        (left if owner is None else found[owner]).append(array)
    if left:
        _by_order(layers, found, left, where)
    return [found[index] for index in range(len(layers))]


def _owner(layers: Sequence[Entry], array: Named) -> int | None:
    """The layer whose name stands in the array's, nearest to the front; None where that is not one alone."""
    stem = array.stem
    places = {}
    for index, layer in enumerate(layers):
        matches = [depth for depth, part in enumerate(stem) if part in layer.names]
        if matches and layer.has_weights:
            places[index] = min(matches)
    first = [index for index, depth in places.items() if depth == min(places.values())]
    own = [index for index in first if stem[places[index]] == layers[index].name]
    return next(iter(own if len(own) == 1 else first), None) if len(first) == 1 or len(own) == 1 else None


def _by_order(layers: Sequence[Entry], found: dict[int, list[Named]], left: Sequence[Named], where: str) -> None:
    """Layers that were renamed after they were built: what is left over, one after the other, frozen ones last."""
    groups: dict[tuple[str, ...], list[Named]] = {}
    for array in left:
        groups.setdefault(array.stem, []).append(array)
    empty = [index for index, layer in enumerate(layers) if layer.has_weights and not found[index]]
    empty.sort(key=lambda index: not layers[index].trainable)
    if len(groups) != len(empty):
        raise UserError(
            f"it cannot be told which arrays of {where} belong to which of its layers",
            expected=f"names that hold those of the layers {_listed([layers[index].name for index in empty])}",
            found=_listed(["/".join(array.parts) for array in left]),
            remedy="load it in the Keras that wrote it and save it again: the weights get the names of their layers",
        )
    for index, arrays in zip(empty, groups.values(), strict=True):
        found[index] = arrays


def paired(layers: Sequence[Entry], groups: Mapping[str, Sequence[Named]]) -> dict[str, str]:
    """{layer: group} of a whole file. By name; where a name is unknown, in order, as Keras loads them."""
    known = {layer.name for layer in layers}
    holding = [name for name, arrays in groups.items() if arrays]
    if all(name in known for name in holding):
        return {name: name for name in groups if name in known}
    owners = [layer.name for layer in layers if layer.has_weights]
    if len(owners) != len(holding):
        raise UserError(
            "the weights do not belong to this architecture",
            expected=f"weights of {number_of(len(owners), 'layer')}: {_listed(owners)}",
            found=f"weights of {number_of(len(holding), 'layer')}: {_listed(holding)}",
            remedy="give the weights that were saved from this model",
        )
    return dict(zip(owners, holding, strict=True))


def _listed(names: Sequence[str]) -> str:
    return (", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")) or "none"
