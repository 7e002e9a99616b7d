"""A Sequential model that Keras 2 saved, as Keras 1 would have saved it: its words, its arrays, in a bare list.

Written from the source and from files of Keras 1.0.8, 1.1.2 and 1.2.2, which were run for it; not with our reader.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from parity_tests.hdf5_files import Array, arrays_of, config_of, write_weights

CLASSES = {"Conv2D": "Convolution2D", "Conv1D": "Convolution1D"}
ORDERINGS = {"channels_first": "th", "channels_last": "tf"}
RENAMED = {
    "units": "output_dim", "filters": "nb_filter", "use_bias": "bias", "rate": "p", "padding": "border_mode",
    "recurrent_activation": "inner_activation", "kernel_initializer": "init", "recurrent_initializer": "inner_init",
    "kernel_regularizer": "W_regularizer", "bias_regularizer": "b_regularizer", "batch_input_shape": "batch_input_shape",
}  # fmt: skip
KEPT = set(
    "name trainable activation epsilon momentum axis input_dim return_sequences go_backwards stateful mask_zero pool_size padding".split()
)
GATES = {"LSTM": "ifco", "GRU": "zrh"}


def as_keras1(source: str | Path, target: Path, *, theano: bool = False, apart: Path | None = None) -> Path:
    """Writes the `.h5` of Keras 1 of a tf_keras one; with `apart`, only its architecture and there its weights."""
    config, arrays = config_of(source), arrays_of(source)
    layers = [layer for layer in config["config"]["layers"] if layer["class_name"] != "InputLayer"]
    start = config["config"]["layers"][0]["config"]["batch_input_shape"]
    old = [{"class_name": CLASSES.get(c["class_name"], c["class_name"]), "config": words(c)} for c in layers]
    old[0]["config"]["batch_input_shape"] = start
    text = json.dumps({"class_name": "Sequential", "config": old, "keras_version": "1.2.2"})
    held = {c["config"]["name"]: old_arrays(c, arrays[c["config"]["name"]], theano) for c in layers}
    with h5py.File(apart or target, "w") as file:
        if apart is None:
            file.attrs["keras_version"], file.attrs["model_config"] = b"1.2.2", text.encode()
        write_weights(file if apart else file.create_group("model_weights"), held)
    if apart is not None:
        target.write_text(text)
    return target


def words(layer: dict[str, Any]) -> dict[str, Any]:
    """The config of a layer of Keras 2 in the words of Keras 1."""
    kind, config = layer["class_name"], layer["config"]
    said = {
        key: value
        for key, value in config.items()
        if key in KEPT and not (key == "padding" and kind != "ZeroPadding2D")
    }
    said |= {
        new: config[old]
        for old, new in RENAMED.items()
        if old in config and not (old == "padding" and kind == "ZeroPadding2D")
    }
    said |= {key: "glorot_uniform" for key in ("init", "inner_init") if key in said}
    if "data_format" in config and kind != "Flatten":
        said["dim_ordering"] = ORDERINGS[config["data_format"]]
    if kind == "Conv2D":
        said["nb_row"], said["nb_col"] = config["kernel_size"]
        said["subsample"] = config["strides"]
    if kind == "Conv1D":
        said["filter_length"], said["subsample_length"] = config["kernel_size"][0], config["strides"][0]
    if kind in GATES:
        said |= {"forget_bias_init": "one", "consume_less": "cpu", "dropout_W": 0.0, "dropout_U": 0.0, "unroll": False}
    if kind == "Embedding":
        said |= {"output_dim": config["output_dim"], "init": "uniform", "dropout": 0.0}
    if kind == "BatchNormalization":
        said["mode"] = 0
    return said


def old_arrays(layer: dict[str, Any], arrays: list[Array], theano: bool) -> dict[str, Array]:
    """The arrays of a layer under the names and in the axes of Keras 1."""
    kind, name = layer["class_name"], layer["config"]["name"]
    end = "" if theano else ":0"
    if kind in GATES:
        gates = GATES[kind]
        parts = [
            dict(zip(gates if kind == "GRU" else "ifco", np.split(a, len(gates), -1), strict=True)) for a in arrays
        ]
        order = "zrh" if kind == "GRU" else "icfo"
        return {f"{name}_{v}_{g}{end}": parts[i][g] for g in order for i, v in enumerate("WUb")}
    if kind == "BatchNormalization":
        return {
            f"{name}_{n}{end}": a for n, a in zip(("gamma", "beta", "running_mean", "running_std"), arrays, strict=True)
        }
    kernels = [kernel(layer, a, theano) if i == 0 else a for i, a in enumerate(arrays)]
    return {f"{name}_{n}{end}": a for n, a in zip("WUb" if kind == "SimpleRNN" else "Wb", kernels, strict=False)}


def kernel(layer: dict[str, Any], array: Array, theano: bool) -> Array:
    if layer["class_name"] not in CLASSES:
        return array
    if layer["class_name"] == "Conv1D":
        array = array[:, None]
    array = array[::-1, ::-1] if theano else array
    return (
        array.transpose(3, 2, 0, 1)
        if layer["config"].get("data_format") == "channels_first" and layer["class_name"] == "Conv2D"
        else array
    )
