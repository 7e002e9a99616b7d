"""Keras 1 -> Keras 3: the names of classes, of config keys and of their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from converters.errors import Unsupported

CLASSES = {
    "Convolution1D": "Conv1D", "Convolution2D": "Conv2D", "Convolution3D": "Conv3D", "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D", "AtrousConv1D": "Conv1D", "AtrousConv2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose", "Deconv2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D", "TimeDistributedDense": "Dense",
}  # fmt: skip
MERGES = {
    "sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "concat": "Concatenate", "dot": "Dot",
    "cos": "Dot",
}  # fmt: skip
REFUSED = {
    "MaxoutDense": "Dense layers of the same size and Maximum",
    "Highway": "Dense, Multiply and Add",
    "SReLU": "PReLU or ReLU",
    "ParametricSoftplus": "Activation('softplus')",
}
KEYS = {
    "init": "kernel_initializer", "inner_init": "recurrent_initializer", "forget_bias_init": "unit_forget_bias",
    "bias": "use_bias", "inner_activation": "recurrent_activation", "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout", "border_mode": "padding", "subsample": "strides", "subsample_length": "strides",
    "nb_filter": "filters", "filter_length": "kernel_size", "atrous_rate": "dilation_rate", "p": "rate",
    "sigma": "stddev", "pool_length": "pool_size", "stride": "strides", "length": "size", "concat_axis": "axis",
    "beta_init": "beta_initializer", "gamma_init": "gamma_initializer",
    **{f"{old}_{kind}": f"{new}_{kind}" for kind in ("regularizer", "constraint") for old, new in (
        ("W", "kernel"), ("U", "recurrent"), ("b", "bias"))},
}  # fmt: skip
KERNEL_SIZES = (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3"))
# What says nothing about what a layer computes: the shape of its input, how fast it ran, where its arrays came from.
SILENT = {"input_dim", "input_length", "input_dtype", "batch_input_shape", "consume_less", "weights"}
BY_IMAGES = {f"{kind}{n}D" for kind in ("ZeroPadding", "Cropping", "UpSampling", "SpatialDropout") for n in (2, 3)}
DATA_FORMATS = {"th": "channels_first", "tf": "channels_last"}


def modern1(class_name: str, config: Mapping[str, Any], ordering: str) -> tuple[str, dict[str, Any]]:
    """(class name, config) of a Keras 1 layer in later words.

    `ordering`: `th` or `tf`, where a layer does not say; '' if nothing in the file does.
    """
    if class_name in REFUSED:
        raise Unsupported(
            f"Keras 2 and later have no {class_name}", f"in Keras, replace it by {REFUSED[class_name]} and train again"
        )
    if class_name == "Merge":
        return _merge(config)
    if class_name == "BatchNormalization" and config.get("mode", 0) != 0:
        raise Unsupported(
            f"mode={config['mode']!r} normalizes in another way than any later BatchNormalization",
            "use mode=0 in Keras and train again",
        )
    if class_name == "Embedding" and config.get("dropout"):
        raise Unsupported(
            f"dropout={config['dropout']} drops whole words of the vocabulary, which later versions of Keras cannot",
            "set it to 0.0 in the architecture's json, and put a SpatialDropout1D behind it",
        )
    settings = {_key(class_name, key): value for key, value in config.items() if key not in _silent(class_name)}
    settings.pop("mode", None)
    for parts in KERNEL_SIZES:
        if all(part in settings for part in parts):
            settings["kernel_size"] = [settings.pop(part) for part in parts]
    if class_name in BY_IMAGES and "dim_ordering" not in settings:
        if not ordering:
            raise Unsupported(
                "neither it nor any other layer says whether channels come first or last",
                'write "dim_ordering": "tf" (channels last) or "th" into its config in the architecture\'s json',
            )
        settings["dim_ordering"] = ordering
    if "dim_ordering" in settings:
        settings["data_format"] = DATA_FORMATS.get(settings.pop("dim_ordering"), "channels_last")
    return CLASSES.get(class_name, class_name), {key: _value(key, value) for key, value in settings.items()}


def _silent(class_name: str) -> set[str]:
    if class_name == "Embedding":
        return (SILENT | {"dropout", "init"}) - {"input_dim"}
    return SILENT | ({"output_shape"} if class_name.startswith("Deconv") else set())


def _key(class_name: str, key: str) -> str:
    if key == "output_dim" and class_name != "Embedding":
        return "units"
    if class_name == "Embedding" and key.startswith("W_"):
        return key.replace("W_", "embeddings_")
    return KEYS.get(key, key)


def _value(key: str, value: Any) -> Any:
    if key == "padding" and isinstance(value, list) and len(value) == 4:
        return [value[:2], value[2:]]  # top, bottom, left, right
    if key == "padding" and isinstance(value, Mapping):
        sides = [value.get(f"{side}_pad", 0) for side in ("left", "right", "top", "bottom")]
        return [sides[2:], sides[:2]] if "top_pad" in value or "bottom_pad" in value else sides[:2]
    if key == "unit_forget_bias":
        return value == "one"
    if key.endswith(("_regularizer", "_constraint")) and isinstance(value, Mapping) and "name" in value:
        return {"class_name": value["name"], "config": {k: v for k, v in value.items() if k != "name"}}
    return value


def _merge(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    mode = config.get("mode")
    if mode not in MERGES:
        raise Unsupported(
            f"it merges by a function of its own ({mode!r:.60}), which is never run here",
            f"in Keras, merge by one of the modes {', '.join(MERGES)}",
        )
    settings: dict[str, Any] = {"name": config.get("name")}
    if mode == "concat":
        settings["axis"] = config.get("concat_axis", -1)
    if mode in ("dot", "cos"):
        settings |= {"axes": config.get("dot_axes", -1), "normalize": mode == "cos"}
    return MERGES[mode], settings


def ordering_of(tree: Any) -> str:
    """The one `dim_ordering` that the layers of a file agree on, or ''. Keras 1 forgot to write it for some classes."""
    found = set(_orderings(tree))
    return found.pop() if len(found) == 1 else ""


def _orderings(tree: Any) -> list[str]:
    if isinstance(tree, list):
        return [found for item in tree for found in _orderings(item)]
    if not isinstance(tree, Mapping):
        return []
    own = [tree["dim_ordering"]] if tree.get("dim_ordering") in DATA_FORMATS else []
    return own + [found for value in tree.values() for found in _orderings(value)]


def prepared(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A model of Keras 1 whose merges need no special treatment any more."""
    inner = config["config"]
    if config["class_name"] == "Sequential":
        first = inner[0] if isinstance(inner, list) and inner else {}
        return prepared(_unmerged(config)) if first.get("class_name") == "Merge" else config
    layers = [made for layer in inner["layers"] for made in _with_unit_axis(layer)]
    return {**config, "config": {**inner, "layers": layers}}


def _with_unit_axis(layer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Keras 1 gives the cosine of two vectors one axis more than their product."""
    if layer["class_name"] != "Merge" or layer["config"].get("mode") != "cos":
        return [layer]
    name, product = layer["name"], f"{layer['name']}_product"
    shape = {"name": name, "target_shape": [1, 1]}
    reshape = {"class_name": "Reshape", "name": name, "config": shape, "inbound_nodes": [[[product, 0, 0]]]}
    dot = {"class_name": "Dot", "name": product, "config": {**_merge(layer["config"])[1], "name": product}}
    return [{**dot, "inbound_nodes": layer["inbound_nodes"]}, reshape]


def _unmerged(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A Sequential that begins with a Merge of other models -> the Functional model that it is."""
    layers: list[Mapping[str, Any]] = []
    end = _chain(config["config"], layers)
    starts = [[layer["name"], 0, 0] for layer in layers if layer["class_name"] == "InputLayer"]
    inner = {"layers": layers, "input_layers": starts, "output_layers": [[end, 0, 0]]}
    return {**config, "class_name": "Model", "config": inner}


def _chain(configs: Sequence[Mapping[str, Any]], layers: list[Mapping[str, Any]]) -> str:
    """Adds the layers of a Sequential to a list; the name of the last one."""
    ends: list[str] = []
    for number, config in enumerate(configs):
        class_name, inner = config["class_name"], config["config"]
        if number == 0 and class_name == "Merge":
            ends = [_branch(branch, layers) for branch in inner["layers"]]
            inner = {key: value for key, value in inner.items() if key != "layers"}
        elif number == 0 and class_name != "InputLayer":
            ends = [_input(inner, layers)]
        calls = [[[end, 0, 0] for end in ends]] if ends else []
        layers.append({"class_name": class_name, "name": inner["name"], "config": inner, "inbound_nodes": calls})
        ends = [inner["name"]]
    return ends[0]


def _branch(config: Mapping[str, Any], layers: list[Mapping[str, Any]]) -> str:
    """Adds the layers of a model that is merged, or the one layer that it is."""
    if config["class_name"] == "Model":
        layers += config["config"]["layers"]
        return str(config["config"]["output_layers"][0][0])
    return _chain(config["config"] if config["class_name"] == "Sequential" else [config], layers)


def _input(first: Mapping[str, Any], layers: list[Mapping[str, Any]]) -> str:
    name = f"{first['name']}_input"
    shape, dtype = first.get("batch_input_shape"), first.get("input_dtype", "float32")
    config = {"name": name, "batch_input_shape": shape, "dtype": dtype}
    layers.append({"class_name": "InputLayer", "name": name, "config": config, "inbound_nodes": []})
    return name
