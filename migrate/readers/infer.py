"""The input of a Sequential model: from what the file states anywhere, else from the shapes of its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from converters.errors import UserError
from converters.graph import Layer, values
from migrate.readers.data import malformed
from migrate.readers.vocabulary import dtype_name, is_model

Shape = tuple[int | None, ...]
ELEMENTS_AT_MOST = 1 << 40  # of one sample
SIZES = range(1, 2049)  # of an image or sequence, where a Dense layer behind a Flatten tells it

# Layers that hand on the shape of their input.
PASSING = frozenset(
    """Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianNoise GaussianDropout AlphaDropout Activation
    ReLU LeakyReLU PReLU ELU Softmax BatchNormalization LayerNormalization Rescaling Masking Identity
    ActivityRegularization""".split()
)
RECURRENT = {"LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional"}
SEQUENCES = RECURRENT | {"TimeDistributed", "GlobalAveragePooling1D", "GlobalMaxPooling1D", "Conv1D", "MaxPooling1D"}


def stated_input(config: Mapping[str, Any], configs: Sequence[Any]) -> tuple[Shape | None, str]:
    """(shape with the batch, or None; dtype) as a model, its first layer or what that wraps states it."""
    first = configs[0].get("config") or {}
    if is_model(configs[0]):
        inner = first if isinstance(first, list) else first.get("layers") or []
        shape, dtype = stated_input(configs[0], inner) if inner else (None, "float32")
    else:
        shape, dtype = stated_of_layer(configs[0]["class_name"], first)
    own = config.get("config")
    built = own.get("build_input_shape") if isinstance(own, Mapping) else None
    for candidate in (built, *(_build_shape(thing) for thing in (config, configs[0]))):
        shape = _checked(candidate) if shape is None else shape
    return shape, dtype


def stated_of_layer(class_name: str, inner: Mapping[str, Any]) -> tuple[Shape | None, str]:
    """What one layer says about its input."""
    shape = _checked(inner.get("batch_shape") or inner.get("batch_input_shape"))
    default = "int32" if class_name == "Embedding" else inner.get("dtype")
    dtype = dtype_name(inner.get("input_dtype") or default)
    wrapped = inner.get("layer")
    if shape is None and class_name == "Bidirectional" and isinstance(wrapped, Mapping):
        return stated_of_layer(str(wrapped.get("class_name")), wrapped.get("config") or {})
    features, steps = inner.get("input_dim"), inner.get("input_length")
    if shape is None and class_name != "Embedding" and isinstance(features, int):
        shape = (None, features) if class_name == "Dense" else (None, steps, features)
    return shape, dtype


def _build_shape(config: Mapping[str, Any]) -> Any:
    build = config.get("build_config")
    return build.get("input_shape") if isinstance(build, Mapping) else None


def _checked(shape: Any) -> Shape | None:
    """A shape with a free batch; Keras 2.3 may have put the batch in front twice."""
    if shape is None:
        return None
    if not isinstance(shape, list) or not all(size is None or type(size) is int for size in shape) or not shape:
        raise malformed(f"an input of the shape {shape!r:.80}")
    sizes = [size for size in shape[1:] if size is not None]
    if any(size < 1 for size in sizes) or prod(sizes) > ELEMENTS_AT_MOST:
        raise malformed(f"an input of the shape {str(shape).replace('None', '?'):.80}, which no array can have")
    return (None, *shape[1:])


def inferred_input(name: str, layers: Sequence[Layer]) -> tuple[Shape, str]:
    """(shape, dtype) of the input of a chain of layers, from their weights. Raises UserError where they do not tell."""
    for number, layer in enumerate(layers):
        if layer.graph is not None:
            value = values(layer.graph.inputs)[0]
            return value.sizes, value.dtype
        if layer.class_name in PASSING:
            continue
        shape, dtype = of_layer(layer, layers[number + 1 :])
        if shape is None:
            break
        return _sized(name, shape, layers[number:]), dtype
    raise untold(name, "the layers in front do not tell it")


def of_layer(layer: Layer, others: Sequence[Layer] = ()) -> tuple[Shape | None, str]:
    """The input that the arrays of a layer ask for, sizes of images and sequences left open."""
    kind, config = layer.class_name, layer.config
    if kind == "Embedding":
        return (None, None), "int32"
    if kind == "TimeDistributed":
        inner, dtype = of_layer(layer.children["layer"])
        return inner and (None, *inner), dtype
    if kind in RECURRENT:
        child = layer.children.get("layer") or layer.children.get("forward_layer") or layer
        arrays = _arrays(layer)
        return ((None, None, arrays[0][0]) if arrays and child.class_name != "RNN" else None), "float32"
    arrays = _arrays(layer)
    if not arrays:
        return None, "float32"
    if kind == "Dense":
        sequence = next((o.class_name in SEQUENCES for o in others if o.class_name not in {*PASSING, "Dense"}), False)
        return ((None, None) if sequence else (None,)) + (arrays[0][0],), "float32"
    if kind.startswith(("Conv", "Depthwise", "Separable")) and len(arrays[0]) > 2:
        channels = arrays[0][-1] if kind.endswith("Transpose") else arrays[0][-2] * int(config.get("groups") or 1)
        room: Shape = (None,) * (len(arrays[0]) - 2)
        first = config.get("data_format") == "channels_first"
        return ((None, channels, *room) if first else (None, *room, channels)), "float32"
    return None, "float32"


def _arrays(layer: Layer) -> list[tuple[int, ...]]:
    """The shapes of the arrays that the file holds for a layer, whatever their names."""
    names = [str(number) for number in range(layer.weights.count)]
    if layer.class_name in RECURRENT:
        prefix = "forward_layer/cell/" if layer.class_name == "Bidirectional" else "cell/"
        half = names if layer.class_name != "Bidirectional" else names[: len(names) // 2]
        names = [prefix + n for n in half] + [f"backward_layer/cell/{n}" for n in names[len(half) :]]
    try:
        return [weight.shape for weight in layer.weights.take(names).values()]
    except UserError:
        return []


# -- the size of images and sequences ----------------------------------------------------------------------


def _sized(name: str, shape: Shape, layers: Sequence[Layer]) -> Shape:
    """Open sizes closed where a Dense layer behind a Flatten asks for a certain number of features."""
    free = [axis for axis, size in enumerate(shape) if axis and size is None]
    if not free or not (wanted := _features_behind_flatten(layers)) or _features(1024, len(free), layers) is None:
        return shape
    fitting = [size for size in SIZES if _features(size, len(free), layers) == wanted]
    if len(fitting) != 1:
        found = f"the sizes {', '.join(map(str, fitting[:5]))} fit" if fitting else "no square fits"
        raise untold(name, f"a Dense layer takes {wanted} features, and {found}")
    return tuple(fitting[0] if axis in free else size for axis, size in enumerate(shape))


def _features_behind_flatten(layers: Sequence[Layer]) -> int:
    kinds = [layer.class_name for layer in layers]
    if "Flatten" not in kinds:
        return 0
    rest = [layer for layer in layers[kinds.index("Flatten") :] if layer.class_name not in {*PASSING, "Flatten"}]
    arrays = _arrays(rest[0]) if rest and rest[0].class_name == "Dense" else []
    return arrays[0][0] if arrays else 0


def _features(size: int, rank: int, layers: Sequence[Layer]) -> int | None:
    """How many features a square of a size has become where it is flattened; None if its size does not matter there."""
    sizes, channels = [size] * rank, 0
    for layer in layers:
        if layer.class_name == "Flatten":
            return prod(sizes) * channels
        if layer.class_name in PASSING:
            continue
        made = _through(layer, sizes)
        if not made:
            return None
        if min(made) < 1:
            return 0
        sizes, channels = made, _channels(layer, channels)
    return None


def _channels(layer: Layer, before: int) -> int:
    config = layer.config
    if layer.class_name == "Bidirectional":
        both = 2 if config.get("merge_mode", "concat") == "concat" else 1
        return both * int(layer.children["layer"].config.get("units", 0))
    if layer.class_name.startswith("Depthwise"):
        return prod(_arrays(layer)[0][-2:])
    own = config.get("filters") or config.get("units") or config.get("output_dim")
    return int(own) if own else before


def _through(layer: Layer, sizes: list[int]) -> list[int]:
    """The sizes behind a layer; none if it ends them, or does what is not known here."""
    kind, config = layer.class_name, layer.config
    inner = layer.children.get("layer", layer).config if kind == "Bidirectional" else config

    def each(value: Any, default: int = 1) -> list[int]:
        value = default if value is None else value
        return [value] * len(sizes) if isinstance(value, int) else list(value)

    if kind in ("Embedding", "Dense") or (kind in RECURRENT and inner.get("return_sequences")):
        return sizes
    if kind.startswith(("ZeroPadding", "Cropping")):
        sides = each(config.get("padding", config.get("cropping")))
        sign = 1 if kind.startswith("Zero") else -1
        if len(sizes) == 1 and len(sides) == 2:
            return [sizes[0] + sign * sum(sides)]
        return [n + sign * (2 * s if isinstance(s, int) else sum(s)) for n, s in zip(sizes, sides, strict=True)]
    if kind.startswith("UpSampling"):
        return [n * s for n, s in zip(sizes, each(config.get("size"), 2), strict=True)]
    if kind.endswith("Transpose"):
        kernels, strides = each(config["kernel_size"]), each(config.get("strides"))
        same = config.get("padding") == "same"
        return [n * s if same else (n - 1) * s + max(k, s) for n, k, s in zip(sizes, kernels, strides, strict=True)]
    if not kind.startswith(("Conv", "Depthwise", "Separable", "MaxPooling", "AveragePooling")):
        return []
    kernels = each(config.get("kernel_size", config.get("pool_size")), 2)
    strides = each(config.get("strides"), 1) if "kernel_size" in config or config.get("strides") else kernels
    reach = [(k - 1) * d + 1 for k, d in zip(kernels, each(config.get("dilation_rate")), strict=True)]
    if config.get("padding") in ("same", "causal"):
        return [-(-n // s) for n, s in zip(sizes, strides, strict=True)]
    return [(n - r) // s + 1 for n, r, s in zip(sizes, reach, strides, strict=True)]


def untold(name: str, why: str) -> UserError:
    return UserError(
        f"the shape of the input of model {name!r} cannot be told",
        expected="a shape in the file, or weights that fix it",
        found=why,
        remedy="say it, without the batch: --input-shape 224,224,3 (? for an open size)",
    )
