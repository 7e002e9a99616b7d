"""Normalizations: over the batch, over features, over groups, to unit length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from converters.arrangement import AXIS, Arrangement, Flat, Perm, physical_shape, positive, second
from converters.graph import Value
from converters.layer import LayerHandle, ModuleHandle
from converters.registry import converts
from converters.weights import Weight, constant

Axis = int | tuple[int, ...]
BIASED_VARIANCE = (
    "BatchNorm: running_var takes the variance of a batch of n values as sum / (n - 1), where Keras takes sum / n"
)


MASKED_STEPS = "BatchNorm: masked steps count in the statistics of a batch, Keras 3 leaves them out"


def one_axis(axis: Axis) -> int:
    """Keras 2 wrote the axis of a BatchNormalization as a list of one."""
    return axis if isinstance(axis, int) else axis[0]


def FEATURES_SECOND(inputs: Sequence[Any], config: Mapping[str, Any]) -> list[Arrangement]:
    """The normalized axis where PyTorch keeps channels; flattened features as they come."""
    return [second(one_axis(config["axis"]), x.rank) for x in inputs]


FEATURES_SECOND.follows = True  # type: ignore[attr-defined]  # an image before it may be channels first


def FEATURES_LAST(inputs: Sequence[Any], config: Mapping[str, Any]) -> list[Arrangement]:
    """The normalized axes last, or the data as it is where every axis but the batch is normalized."""
    x = inputs[0]
    axes = _axes(config["axis"], x.rank)
    if axes == tuple(range(1, x.rank)) and isinstance(x.arrangement, Perm):
        return [x.arrangement]
    return [Perm((*(a for a in range(x.rank) if a not in axes), *axes))]


FEATURES_LAST.follows = True  # type: ignore[attr-defined]  # an image before it may be channels first


def _axes(axis: Axis, rank: int) -> tuple[int, ...]:
    return tuple(sorted(positive(a, rank) for a in ((axis,) if isinstance(axis, int) else axis)))


@converts("layers.BatchNormalization", layout=FEATURES_SECOND, mask="pass", features=True)
def batch_normalization(
    layer: LayerHandle,
    x: Value,
    *,
    axis: Axis = -1,
    momentum: float = 0.99,
    epsilon: float = 1e-3,
    center: bool = True,
    scale: bool = True,
    renorm: bool = False,
    renorm_clipping: Any = None,
    renorm_momentum: float = 0.99,
    synchronized: bool = False,
) -> Value:
    """Keras' momentum is the share of the old value, PyTorch's that of the new one.

    A layer with trainable=False stays in inference mode while the model trains. Keras 3 keeps the biased
    variance of the batch, PyTorch the unbiased one.
    """
    if renorm:
        layer.unsupported("renorm=True changes what it computes in training", "train it in Keras without renorm first")
    if not isinstance(axis, int) and len(axis) > 1:
        layer.unsupported(f"it normalizes several axes at once ({axis})", "use one axis")
    if layer.mask is not None and layer.version[0] >= 3 and layer.trainable and layer.exactly(MASKED_STEPS):
        layer.unsupported(MASKED_STEPS, "convert without --exact, or take the mask off it in Keras")
    names = ["gamma" if scale else None, "beta" if center else None, "moving_mean", "moving_variance"]
    w = layer.weights(*names)
    rank = {2: "1d", 3: "1d", 4: "2d", 5: "3d"}.get(x.rank)
    if rank is None:
        layer.unsupported(f"it normalizes a tensor of rank {x.rank}", "reshape the tensor to a rank of 2 to 5")
    kind, more = _batch_norm_class(layer, rank, center, scale)
    features = w.moving_mean.shape[0]
    module = layer.module(kind, features, eps=epsilon, momentum=round(1 - momentum, 12), **more)
    module.load(running_mean=_ordered(layer, w.moving_mean), running_var=_ordered(layer, w.moving_variance))
    module.load(weight=_ordered(layer, w.gamma), bias=_ordered(layer, w.beta))
    if kind != "local.BatchNorm":
        _complete(module, w.moving_mean, center, scale)
    if not layer.trainable:
        module.keep_in_inference()
    y: Value = module(x)
    return y.arranged(layer.order) if isinstance(layer.order, Flat) else y


def _batch_norm_class(layer: LayerHandle, rank: str, center: bool, scale: bool) -> tuple[str, dict[str, Any]]:
    # Keras 2 ran images through TensorFlow's fused kernel, which keeps the unbiased variance as PyTorch does.
    if not (layer.version < (3,) and rank == "2d") and layer.exactly(BIASED_VARIANCE):
        return "local.BatchNorm", {"scale": scale, "offset": center}
    if center and not scale:
        return f"local.UnscaledBatchNorm{rank}", {}
    return f"nn.BatchNorm{rank}", {} if center or scale else {"affine": False}


def _complete(module: ModuleHandle, like: Weight, center: bool, scale: bool) -> None:
    """What nn.BatchNorm holds and Keras does not: the affine part that is not learned, a count of batches."""
    module.load(num_batches_tracked=constant(0, (), "int64"))
    if center and not scale:
        module.load(weight=constant(1, like.shape, like.dtype))
    if scale and not center:
        module.load(bias=constant(0, like.shape, like.dtype)).freeze("bias")


def _ordered(layer: LayerHandle, weight: Weight | None) -> Weight | None:
    return weight.reorder(0, layer.order) if weight is not None else None


@converts("layers.LayerNormalization", layout=FEATURES_LAST, mask="pass", features=True)
def layer_normalization(
    layer: LayerHandle,
    x: Value,
    *,
    axis: Axis = -1,
    epsilon: float = 1e-3,
    center: bool = True,
    scale: bool = True,
    rms_scaling: bool = False,
) -> Value:
    """gamma and beta have the normalized axes in the order of Keras; they follow the data."""
    if rms_scaling:
        return _rms_scaled(layer, x, epsilon)
    w = layer.weights("gamma" if scale else None, "beta" if center else None)
    axes = _axes(axis, x.rank)
    assert isinstance(x.arrangement, Perm)
    order = [axes.index(a) for a in x.arrangement.axes[-len(axes) :]]
    shape = tuple(s for s in x.sizes[-len(axes) :])
    if None in shape:
        layer.unsupported("it normalizes an axis whose size is not known", "give the model's input a fixed size there")
    sizes = tuple(int(s or 0) for s in shape)
    weight = w.gamma or (constant(1, sizes) if center else None)
    absent: dict[str, Any] = {}
    if not center:
        absent = {"bias": False} if scale else {"elementwise_affine": False}
    module = layer.module("nn.LayerNorm", sizes[0] if len(sizes) == 1 else sizes, eps=epsilon, **absent)
    module.load(weight=_transposed(layer, weight, order), bias=_transposed(layer, w.beta, order))
    if not scale and center:
        module.freeze("weight")
    y: Value = module(x)
    return y.arranged(layer.order) if isinstance(layer.order, Flat) else y


def _transposed(layer: LayerHandle, weight: Weight | None, order: list[int]) -> Weight | None:
    if weight is None:
        return None
    return weight.reorder(0, layer.order) if weight.rank == 1 else weight.transpose(*order)


def _rms_scaled(layer: LayerHandle, x: Value, epsilon: float) -> Value:
    layer.unsupported(
        "rms_scaling=True, which Keras 3.15 no longer has", "use RMSNormalization in Keras, or report the model"
    )


@converts("layers.GroupNormalization", layout=FEATURES_SECOND, mask="pass")
def group_normalization(
    layer: LayerHandle,
    x: Value,
    *,
    groups: int = 32,
    axis: Axis = -1,
    epsilon: float = 1e-3,
    center: bool = True,
    scale: bool = True,
) -> Value:
    """Groups of neighbouring channels, all places of a sample together; -1: each channel alone."""
    channels = x.sizes[1]
    if channels is None or one_axis(axis) < -1:
        layer.unsupported("its channels cannot be told", "give its axis as -1 or counted from the front, of known size")
    count = channels if groups == -1 else groups
    if count < 1 or channels % count:
        layer.unsupported(f"{channels} channels cannot be put in {count} groups", "check that the file is not damaged")
    w = layer.weights("gamma" if scale else None, "beta" if center else None)
    affine: dict[str, Any] = {} if scale or center else {"affine": False}
    module = layer.module("nn.GroupNorm", count, channels, eps=epsilon, **affine).load(weight=w.gamma, bias=w.beta)
    if center and not scale:
        module.load(weight=constant(1, (channels,), w.beta.dtype)).freeze("weight")
    if scale and not center:
        module.load(bias=constant(0, (channels,), w.gamma.dtype)).freeze("bias")
    return module(x)  # type: ignore[no-any-return]  # one value


@converts("layers.UnitNormalization", layout=AXIS, mask="pass")
def unit_normalization(layer: LayerHandle, x: Value, *, axis: Axis = -1) -> Value:
    axes = layer.axes(x, axis)
    dim = axes[0] if len(axes) == 1 else axes
    return layer.function("F.normalize", x, dim=dim)  # type: ignore[no-any-return]  # one value


@converts("layers.Normalization", layout=AXIS, mask="pass")
def normalization(
    layer: LayerHandle,
    x: Value,
    *,
    axis: Axis | None = -1,
    mean: Any = None,
    variance: Any = None,
    invert: bool = False,
) -> Value:
    """(x - mean) / max(sqrt(variance), 1e-7), by what it was adapted to or by numbers of its config."""
    axes = _axes(axis, x.rank) if axis is not None else ()
    assert isinstance(x.arrangement, Perm)
    kept = [int(size or 0) if a in axes else 1 for a, size in enumerate(x.keras_shape)]
    shape = without_leading_ones(physical_shape(x.arrangement, tuple(kept)))
    if mean is None:
        w = layer.weights("mean", "variance", "count")
        mean, variance = (v.reshape(*kept).transpose(*x.arrangement.axes).reshape(*shape) for v in (w.mean, w.variance))
        module = layer.local("Denormalization" if invert else "Normalization", shape)
        return module.load(mean=mean, variance=variance, count=w.count)(x)  # type: ignore[no-any-return]  # one value
    sizes = [kept[a] for a in axes]
    means = np.broadcast_to(np.asarray(mean, np.float64), sizes) if np.ndim(mean) else np.float64(mean)
    spread = np.broadcast_to(np.asarray(variance, np.float64), sizes) if np.ndim(variance) else np.float64(variance)
    deviations = np.vectorize(_as_written)(np.maximum(np.sqrt(spread), 1e-7))
    m, d = (
        layer.constant(role, np.reshape(array, kept).transpose(x.arrangement.axes).reshape(shape))
        if array.ndim
        else float(array)
        for role, array in (("mean", means), ("std", deviations))
    )
    if invert:
        return layer.operator("+", m, layer.operator("*", x, d))  # type: ignore[no-any-return]  # one value
    return layer.operator("/", layer.operator("-", x, m), d)  # type: ignore[no-any-return]  # one value


def _as_written(root: float) -> float:
    """57.12 for the root of its square, 57.120000000000005."""
    return float(f"{root:.15g}")


@converts("layers.Rescaling", layout=AXIS, mask="pass")
def rescaling(layer: LayerHandle, x: Value, *, scale: Any, offset: Any = 0.0) -> Value:
    """x * scale + offset; lists go along the last axis of Keras."""
    y: Value = layer.operator("*", x, along_last(layer, "scale", x, scale))
    if isinstance(offset, (int, float)) and offset == 0:
        return y
    return layer.operator("+", y, along_last(layer, "offset", x, offset))  # type: ignore[no-any-return]  # one value


def along_last(layer: LayerHandle, role: str, x: Value, numbers: Any) -> Any:
    """A number, or a buffer that broadcasts along Keras' last axis."""
    if isinstance(numbers, (int, float)):
        return float(numbers)
    array = np.asarray(numbers, np.float64)
    return layer.constant(role, array.reshape(*array.shape, *[1] * (x.rank - 1 - layer.axis(x, -1))))


def without_leading_ones(shape: Sequence[int | None]) -> tuple[int, ...]:
    """Broadcasting puts them back."""
    sizes = [int(size or 0) for size in shape]
    while sizes and sizes[0] == 1:
        sizes.pop(0)
    return tuple(sizes)
