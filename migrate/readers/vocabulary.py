"""What old files say, in the words of Keras 3, so that converters see one vocabulary.

Semantics that changed under one name are no business of this file: a converter asks for the file's version.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from converters.errors import Unsupported
from converters.layers.refused import REFUSED as REFUSED_LAYERS
from converters.registry import lookup
from migrate.readers.data import plain
from migrate.readers.vocabulary1 import modern1

MODELS = {"Functional", "Sequential", "Model", "Container"}
FLOAT_POLICIES = {"DTypePolicy", "FloatDTypePolicy", "Policy", "PolicyV1"}

CLASSES2 = {
    "BatchNormalizationV1": "BatchNormalization", "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization", "UnifiedLSTM": "LSTM", "UnifiedGRU": "GRU", "CuDNNLSTM": "LSTM",
    "CuDNNGRU": "GRU", "ThresholdedReLU": "ReLU",
}  # fmt: skip
KEYS2 = {"LeakyReLU": {"alpha": "negative_slope"}, "ThresholdedReLU": {"theta": "threshold"}}
# Keys that say nothing about what a layer computes.
SILENT2 = {
    "batch_input_shape", "batch_shape", "input_shape", "input_dtype", "sparse", "ragged", "dynamic", "fused",
    "adjustment", "experimental_autocast", "input_length", "query_shape", "key_shape", "value_shape",
}  # fmt: skip
# Keys that no later layer has, with the one value that changes nothing.
NEUTRAL2 = {"virtual_batch_size": None, "causal": False, "groups": 1}
GROUPED = {"Conv1D", "Conv2D", "Conv3D", "GroupNormalization"}
NORMALIZATIONS = {"BatchNormalization", "LayerNormalization"}


# Layers that stand for a call of a TensorFlow function, which their config names; its arguments are those of the call.
FUNCTIONS2 = {"TFOpLambda", "SlicingOpLambda"}


# Classes whose name in a config is not that of the source of Keras, which names paths and layers.
PYTHON_NAMES = {"GroupQueryAttention": "GroupedQueryAttention"}


def snake_case(class_name: str) -> str:
    """Keras' own way from a class name to a path: `Conv2DTranspose` -> `conv2d_transpose`, `ReLU` -> `re_lu`."""
    name = re.sub(r"\W+", "", PYTHON_NAMES.get(class_name, class_name))
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def is_model(config: Mapping[str, Any]) -> bool:
    """Whether a config object is a built-in model class (and not somebody's own class of that name)."""
    return config.get("class_name") in MODELS and not _is_custom(config)


def _is_custom(config: Mapping[str, Any]) -> bool:
    module, registered = config.get("module"), config.get("registered_name")
    if any(isinstance(name, str) and ">" in name for name in (registered, config.get("class_name"))):
        return True
    return isinstance(module, str) and module.partition(".")[0] not in {"keras", "tf_keras", "tensorflow", "builtins"}


def operation(config: Mapping[str, Any], class_name: str) -> str:
    """The registry's key for a config object: `layers.Dense`, `ops.Add`, `model`, or `custom.MyLayer`.

    `class_name`: the class in the words of Keras 3.
    """
    module = config.get("module")
    if is_model(config):
        return "model"
    if _is_custom(config):
        return f"custom.{class_name}"
    if config.get("class_name") in FUNCTIONS2:
        return f"tf.{class_name}"
    is_op = ".ops" in module if isinstance(module, str) else _is_bare_op(config, class_name)
    return f"{'ops' if is_op else 'layers'}.{class_name}"


def _is_bare_op(config: Mapping[str, Any], class_name: str) -> bool:
    """An op in an HDF5 file of Keras 3, which leaves out the module: no layer has its name, or this is none.

    A layer says whether it trains, but for inputs and a few classes (SpatialDropout) whose names no op has.
    """
    inner, nodes = config.get("config"), config.get("inbound_nodes")
    called = (
        isinstance(nodes, list)
        and bool(nodes)
        and isinstance(nodes[0], Mapping)
        and {"args", "kwargs"} <= set(nodes[0])
    )
    return called and isinstance(inner, Mapping) and "trainable" not in inner and not _is_only_a_layer(class_name)


def _is_only_a_layer(class_name: str) -> bool:
    layer = f"layers.{class_name}"
    return (lookup(layer) is not None or layer in REFUSED_LAYERS) and lookup(f"ops.{class_name}") is None


def modern(
    class_name: str, config: Mapping[str, Any], version: tuple[int, ...], ordering: str = "tf"
) -> tuple[str, dict[str, Any]]:
    """(class name, config) in the vocabulary of Keras 3. Raises Unsupported for what it has no word for.

    `ordering`: the order of axes that holds in a Keras 1 file where a layer states none.
    """
    check_policy(config.get("dtype"))
    if class_name in FUNCTIONS2:
        return str(config.get("function")), {}
    settings = plain(dict(config))
    if version < (2,):
        class_name, settings = modern1(class_name, settings, ordering)
    if version < (3,):
        class_name, settings = _modern2(class_name, settings)
    settings.pop("batch_shape", None)
    if isinstance(activation := settings.get("activation"), Mapping):
        settings["activation"] = modern_object(activation, version, ordering)
    if isinstance(cells := settings.get("cells"), list):
        settings["cells"] = [modern_object(cell, version, ordering) for cell in cells]
    return class_name, settings


def modern_object(thing: Any, version: tuple[int, ...], ordering: str = "tf") -> Any:
    """A layer within a config (an activation, a cell of a stack) in the vocabulary of Keras 3."""
    if not isinstance(thing, Mapping) or not isinstance(thing.get("config"), Mapping):
        return thing
    class_name, settings = modern(str(thing.get("class_name")), thing["config"], version, ordering)
    return {**thing, "class_name": class_name, "config": settings}


def _modern2(class_name: str, config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    for key, value in NEUTRAL2.items():
        if key in config and not (key == "groups" and class_name in GROUPED) and config.pop(key) != value:
            raise Unsupported(f"{key} is not {value!r}, which no later {class_name} has", "leave it out in Keras")
    silent = SILENT2 | (set() if class_name == "Embedding" else {"input_dim"})
    silent |= {"implementation"} if class_name.startswith("ConvLSTM") else set()
    words = KEYS2.get(class_name, {})
    settings = {words.get(key, key): value for key, value in config.items() if key not in silent}
    flags = {"center", "scale"} if class_name in NORMALIZATIONS else {"use_bias"}
    settings |= {key: bool(settings[key]) for key in flags & settings.keys() if settings[key] in (0, 1)}
    if class_name == "CuDNNGRU":
        settings["reset_after"] = True
    if class_name in ("GRU", "GRUCell") and "reset_after" not in settings:
        settings["reset_after"] = None  # the shape of the bias tells
    return CLASSES2.get(class_name, class_name), settings


def check_policy(dtype: Any) -> None:
    """A layer whose numbers are not all floats is refused."""
    kind = dtype.get("class_name") if isinstance(dtype, Mapping) else None
    inner = dtype.get("config") if isinstance(dtype, Mapping) else dtype
    name = inner.get("mode") or inner.get("name") if isinstance(inner, Mapping) else inner
    if (kind is not None and kind not in FLOAT_POLICIES) or (isinstance(name, str) and "_from_" in name):
        raise Unsupported(
            f"it is quantized ({name or kind})",
            "convert the model as it was before quantize() was called, and quantize it in PyTorch",
        )


def dtype_name(dtype: Any) -> str:
    """The dtype of an input: a string, or the object of a dtype policy."""
    if isinstance(dtype, Mapping):
        inner = dtype.get("config")
        dtype = inner.get("name") if isinstance(inner, Mapping) else None
    return dtype if isinstance(dtype, str) else "float32"
