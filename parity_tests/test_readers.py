"""Every kind of model file: containers, generations, weights apart, storage. Each gives what the original gives."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors import safe_open

import migrate
from converters.layers.refused import REFUSED as REFUSED_LAYERS
from converters.registry import supported
from migrate.pipeline import Conversion, convert_file
from migrate.readers import read
from migrate.readers.vocabulary import operation
from parity_tests.archives import edited
from parity_tests.case import Case, case
from parity_tests.cases.legacy import TIED
from parity_tests.conftest import Bench
from parity_tests.hdf5_files import Array, config_of, edited_h5, stored_again
from parity_tests.keras1_files import as_keras1
from parity_tests.parity import judge

Built = Mapping[str, Any]
BOTH = ("keras", "h5")
IMAGES = "Conv2D(4, (3, 2), strides=(2, 1), name='stem'), BatchNormalization(name='norm'), MaxPooling2D(2, name='pool'), Flatten(name='flat'), Dense(5, activation='relu', name='wide'), Dense(3, name='head')"
THREE = case("three", IMAGES, (9, 8, 3), formats=BOTH)
TWO = case("two", IMAGES, (9, 8, 3), formats=BOTH, generation=2)
CHAIN = "model: (lambda m: (m.build((None, {0})), m)[1])(keras.Sequential([{1}]))"
SEQUENTIAL = case(
    "sequential", "model: keras.Sequential([layers.Input((9, 8, 3)), " + IMAGES + "])", formats=BOTH, generation=2
)
FIRST = case(
    "channels first",
    "model: keras.Sequential([layers.Input((3, 9, 8)), Conv2D(4, (3, 2), data_format='channels_first'), ZeroPadding2D((1, 2), data_format='channels_first'), BatchNormalization(axis=1), Flatten(), Dense(3)])",
    formats=("h5",),
    generation=2,
)
STEPS = case(
    "steps",
    "model: keras.Sequential([layers.Input((7, 4)), Conv1D(5, 3, name='conv'), LSTM(3, recurrent_activation='hard_sigmoid', return_sequences=True, name='long'), GRU(4, recurrent_activation='hard_sigmoid', reset_after=False, go_backwards=True, return_sequences=True, name='gated'), SimpleRNN(3, name='simple'), Dense(2, name='head')])",
    formats=("h5",),
    generation=2,
)
TOKENS = case(
    "tokens",
    "model: keras.Sequential([Embedding(30, 4, mask_zero=True, input_length=6, name='words'), LSTM(3, recurrent_activation='hard_sigmoid', name='long'), Dense(2, name='head')])",
    ("int32", 6),
    formats=("h5",),
    generation=2,
    options={"high": 30},
)
GATED = case(
    "gated",
    "model: keras.Sequential([layers.Input((6, 3)), GRU(4, reset_after=True, return_sequences=True), GRU(3, reset_after=False)])",
    formats=("h5",),
    generation=2,
)


def agrees(path: Path, folder: Path, built: Built, **reading: Any) -> Conversion:
    """Converts, and compares with what the original gave."""
    done = convert_file(path, folder, **reading)
    for what, verdict in judge(folder, dict(np.load(built["reference"]))):
        assert verdict.passed, f"{path.name}, {what}: {verdict}\n{(folder / 'model.py').read_text()}"
    assert done.parameters == {"total": built["total"], "trainable": built["trainable"]}
    return done


def paths(built: Built) -> tuple[Path, Path]:
    """The `.keras` and the `.h5` of a model."""
    found = {path.suffix: path for path in map(Path, built["paths"])}
    return found[".keras"], found[".h5"]


# -- containers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "compression"), [(THREE, zipfile.ZIP_DEFLATED), (TWO, zipfile.ZIP_BZIP2)])
def test_compressed_members(bench: Bench, tmp_path: Path, model: Case, compression: int) -> None:
    built = bench.ask(model)
    with zipfile.ZipFile(paths(built)[0]) as old, zipfile.ZipFile(tmp_path / "m.keras", "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    agrees(tmp_path / "m.keras", tmp_path / "out", built)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.keras", "out"]


@pytest.mark.parametrize(
    ("model", "kind", "name"),
    [(THREE, 0, "m.h5"), (TWO, 0, "m"), (TWO, 1, "m.keras"), (THREE, 1, "best_weights.h5"), (TWO, 1, "m.json")],
)
def test_the_content_decides(bench: Bench, tmp_path: Path, model: Case, kind: int, name: str) -> None:
    built = bench.ask(model)
    shutil.copyfile(paths(built)[kind], tmp_path / name)
    agrees(tmp_path / name, tmp_path / "out", built)


def test_layers_and_ops_of_hdf5(bench: Bench, tmp_path: Path) -> None:
    """It names no modules: a SpatialDropout, whose config says as little as that of an op, is a layer."""
    steps = (
        "SpatialDropout1D(0.2), Reshape((4, 4, 3)), SpatialDropout2D(0.2), Reshape((2, 2, 4, 3)), SpatialDropout3D(0.2)"
    )
    built = bench.ask(case("spatial", steps, (16, 3), formats=("h5",)))
    agrees(Path(built["paths"][0]), tmp_path / "out", built)
    bare = {"config": {"name": "a"}, "inbound_nodes": [{"args": [], "kwargs": {}}]}
    for key in (*supported(), *REFUSED_LAYERS):
        kind, _, name = key.partition(".")
        if kind == "ops" or (kind == "layers" and f"ops.{name}" not in supported()):
            assert operation({"class_name": name, **bare}, name) == key


def test_modules_of_keras_2(bench: Bench, tmp_path: Path) -> None:
    """Keras 2.12 to 2.15 name classes by where they lay in their own source."""

    def change(config: dict[str, Any]) -> None:
        config["module"] = "keras.src.engine.functional"
        for layer in config["config"]["layers"]:
            layer["module"] = "keras.src.layers.core.dense" if layer["class_name"] == "Dense" else "keras.layers"

    built = bench.ask(TWO)
    agrees(edited(paths(built)[0], tmp_path / "m.keras", change), tmp_path / "out", built)


def test_the_tree_of_keras_2_12(bench: Bench, tmp_path: Path) -> None:
    """It listed every layer with weights twice, so that the second of a class has the number 2."""
    built = bench.ask(TWO)
    with zipfile.ZipFile(paths(built)[0]) as old, zipfile.ZipFile(tmp_path / "m.keras", "w") as new:
        (tmp_path / "w.h5").write_bytes(old.read("model.weights.h5"))
        with h5py.File(tmp_path / "w.h5", "r+") as file:
            file.move("layers", "_layer_checkpoint_dependencies")
            file.move("_layer_checkpoint_dependencies/dense_1", "_layer_checkpoint_dependencies/dense_2")
        new.write(tmp_path / "w.h5", "model.weights.h5")
        new.writestr("config.json", old.read("config.json"))
        new.writestr("metadata.json", '{"keras_version": "2.12.0"}')
    agrees(tmp_path / "m.keras", tmp_path / "out", built)


@pytest.mark.parametrize(
    ("version", "listed", "kind"),
    [("3.6.0", True, "Tensor"), ("3.10.0", True, "Tensor"), ("3.15.1", True, "tuple"), ("3.15.1", False, "Tensor")],
)
def test_a_list_of_one_output(bench: Bench, tmp_path: Path, version: str, listed: bool, kind: str) -> None:
    """Before Keras 3.11, one output stood in a list even if it was none."""

    def change(config: dict[str, Any]) -> None:
        ends = config["config"]
        for key in ("input_layers", "output_layers") if listed else ():
            ends[key] = [ends[key]]

    edited(bench.ask(THREE)["paths"][0], tmp_path / "old.keras", change)
    with zipfile.ZipFile(tmp_path / "old.keras") as old, zipfile.ZipFile(tmp_path / "m.keras", "w") as new:
        for name in old.namelist():
            new.writestr(name, json.dumps({"keras_version": version}) if name == "metadata.json" else old.read(name))
    migrate.convert(tmp_path / "m.keras", tmp_path / "out")
    assert type(migrate.load(tmp_path / "out")(torch.rand(2, 3, 9, 8))).__name__ == kind


# -- architecture and weights apart ----------------------------------------------------------------------


def architecture(config: Any, path: Path, **more: Any) -> Path:
    path.write_text(json.dumps({**config, **more}))
    return path


@pytest.mark.parametrize("model", [TWO, THREE, SEQUENTIAL], ids=lambda model: model.name)
def test_json_and_weights(bench: Bench, tmp_path: Path, model: Case) -> None:
    """Weights: a full model, a weights-only file of the old kind, one of the new kind, an archive."""
    built = bench.ask(model)
    archive, full = paths(built)
    stated = {"keras_version": "2.15.0"} if model.generation == 2 else {}
    json_file = architecture(config_of(full), tmp_path / "m.json", **stated)
    with h5py.File(full) as file, h5py.File(tmp_path / "old.h5", "w") as weights:
        for name in file["model_weights"]:
            file.copy(f"model_weights/{name}", weights)
        weights.attrs.update(file["model_weights"].attrs)
    with zipfile.ZipFile(archive) as file:
        (tmp_path / "new.weights.h5").write_bytes(file.read("model.weights.h5"))
    for number, path in enumerate((full, tmp_path / "old.h5", tmp_path / "new.weights.h5", archive)):
        agrees(json_file, tmp_path / f"out{number}", built, weights=path)


def test_json_within_json(bench: Bench, tmp_path: Path) -> None:
    """`json.dump(model.to_json())` quotes it twice; `get_config()` leaves out the class."""
    built = bench.ask(TWO)
    full = paths(built)[1]
    (tmp_path / "twice.json").write_text(json.dumps(json.dumps(config_of(full))))
    (tmp_path / "inner.json").write_text(json.dumps(config_of(full)["config"]))
    for name in ("twice", "inner"):
        agrees(tmp_path / f"{name}.json", tmp_path / name, built, weights=full)


def test_keras_3_json_states_no_version(bench: Bench, tmp_path: Path) -> None:
    archive = paths(bench.ask(SEQUENTIAL))[0]
    with zipfile.ZipFile(archive) as file:
        config = json.loads(file.read("config.json"))
    for layer in config["config"]["layers"]:
        layer["config"].pop("batch_input_shape", None)
    config["config"]["layers"][0]["config"]["batch_shape"] = [None, 9, 8, 3]
    with read(architecture(config, tmp_path / "m.json"), weights=archive) as source:
        assert source.keras_version == "3.x"


# -- words of old files ----------------------------------------------------------------------------------


def layers_in(config: dict[str, Any], *kinds: str) -> list[dict[str, Any]]:
    return [layer for layer in config["config"]["layers"] if layer["class_name"] in kinds]


def bare_list(config: dict[str, Any]) -> dict[str, Any]:
    """The Sequential of Keras 2.0 to 2.2."""
    first, *rest = config["config"]["layers"]
    rest[0]["config"]["batch_input_shape"] = first["config"]["batch_input_shape"]
    return {"class_name": "Sequential", "config": rest}


def keras_2_3(config: dict[str, Any]) -> dict[str, Any]:
    """States the shape at the first layer and once more with the batch, which Keras 3 adds a second time."""
    layers = bare_list(config)["config"]
    inner = {"name": "sequential_1", "layers": layers, "build_input_shape": layers[0]["config"]["batch_input_shape"]}
    return {"class_name": "Sequential", "config": inner}


def policies(config: dict[str, Any]) -> None:
    kinds = [
        "float32",
        {"class_name": "Policy", "config": {"name": "float32"}},
        {"class_name": "DTypePolicy", "config": {"name": "float32"}, "module": "keras", "registered_name": None},
    ]
    for number, layer in enumerate(config["config"]["layers"]):
        layer["config"]["dtype"] = kinds[number % 3]


OLD_WORDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "bare list": bare_list,
    "keras 2.3": keras_2_3,
    "policies": policies,
    "groups": lambda config: (
        [layer["config"].update(groups=1) for layer in layers_in(config, "Conv2D", "Dense")] and None
    ),
    "batch normalization v1": lambda config: (
        [layer.update(class_name="BatchNormalizationV1") for layer in layers_in(config, "BatchNormalization")] and None
    ),
}


@pytest.mark.parametrize("words", OLD_WORDS)
def test_words_of_keras_2(bench: Bench, tmp_path: Path, words: str) -> None:
    built = bench.ask(SEQUENTIAL)
    agrees(edited_h5(paths(built)[1], tmp_path / "m.h5", OLD_WORDS[words]), tmp_path / "out", built)


@pytest.mark.parametrize(("theano", "apart"), [(False, False), (True, True)], ids=["tensorflow", "theano"])
@pytest.mark.parametrize("model", [FIRST, SEQUENTIAL, STEPS, TOKENS], ids=lambda model: model.name)
def test_keras_1(bench: Bench, tmp_path: Path, model: Case, theano: bool, apart: bool) -> None:
    built = bench.ask(model)
    full = next(path for path in map(Path, built["paths"]) if path.suffix == ".h5")
    weights = tmp_path / "w.h5" if apart else None
    old = as_keras1(full, tmp_path / ("m.json" if apart else "m.h5"), theano=theano, apart=weights)
    agrees(old, tmp_path / "out", built, weights=weights)


def test_theano_turns_kernels_around(bench: Bench, tmp_path: Path) -> None:
    """The negative control: the same arrays, said to be TensorFlow's."""
    old = as_keras1(paths(bench.ask(SEQUENTIAL))[1], tmp_path / "m.h5", theano=True)
    with h5py.File(old, "r+") as file:
        file.attrs["backend"] = "tensorflow"
    with pytest.raises(AssertionError, match="float64 set 0"):
        agrees(old, tmp_path / "out", bench.ask(SEQUENTIAL))


def test_theano_pads_both_sides_alike(bench: Bench, tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        layers_in(config, "Conv2D")[0]["config"]["padding"] = "same"
        layers_in(config, "MaxPooling2D")[0]["config"]["padding"] = "same"

    source = edited_h5(paths(bench.ask(SEQUENTIAL))[1], tmp_path / "m.h5", change)
    with h5py.File(source, "r+") as file:
        file["model_weights"].attrs["backend"] = "theano"
    with pytest.raises(migrate.UserError, match=r"Conv2D 'stem', MaxPooling2D 'pool': Theano wrote"):
        migrate.convert(source, tmp_path / "out")


def test_a_gru_without_reset_after(bench: Bench, tmp_path: Path) -> None:
    """The shape of its bias says which it is."""
    built = bench.ask(GATED)

    def change(config: dict[str, Any]) -> None:
        for layer in layers_in(config, "GRU"):
            del layer["config"]["reset_after"]

    agrees(edited_h5(built["paths"][0], tmp_path / "m.h5", change), tmp_path / "out", built)


# A model of cuDNN layers cannot run here: tf_keras itself reads its arrays into plain layers, which can. It adds up
# biases in float32: these numbers leave nothing to round.
CUDNN = """model: (lambda old, new, path: (
    old.set_weights([np.random.default_rng(i).integers(-600, 600, w.shape) / 1024 for i, w in enumerate(old.get_weights())]),
    old.save(path), new.load_weights(path), new)[-1])(
    keras.Sequential([layers.Input((6, 3)), {0}]), keras.Sequential([layers.Input((6, 3)), {1}]), {2!r})"""


@pytest.mark.parametrize("wrapper", ["{}", "Bidirectional({}, name='both')"], ids=["plain", "bidirectional"])
def test_cudnn(bench: Bench, tmp_path: Path, wrapper: str) -> None:
    fast = [
        wrapper.format(
            f"__import__('tf_keras').src.layers.CuDNN{kind}(4, return_sequences={more}, name='{kind.lower()}{more}')"
        ).replace("both", kind)
        for kind, more in (("LSTM", True), ("GRU", False))
    ]
    slow = [
        wrapper.format(f"{kind}(4, return_sequences={more}, name='{kind.lower()}{more}')").replace("both", kind)
        for kind, more in (("LSTM", True), ("GRU", False))
    ]
    path = tmp_path / "cudnn.h5"
    built = bench.ask(
        case(
            f"cudnn {wrapper}",
            CUDNN.format(", ".join(fast), ", ".join(slow), str(path)),
            (6, 3),
            formats=("h5",),
            generation=2,
        )
    )
    convert_file(path, tmp_path / "out")
    for what, verdict in judge(tmp_path / "out", dict(np.load(built["reference"]))):
        assert verdict.passed, f"{what}: {verdict}"
    with h5py.File(path) as file:
        assert "CuDNN" in file.attrs["model_config"]


# -- the shape of the input ------------------------------------------------------------------------------


def shapeless(config: dict[str, Any]) -> dict[str, Any]:
    """A Sequential that was built by its first call."""
    layers = config["config"]["layers"][1:]
    for layer in layers:
        layer["config"].pop("batch_input_shape", None)
        layer.pop("build_config", None)
    return {"class_name": "Sequential", "config": {"name": "sequential", "layers": layers}}


UNSTATED = {
    (None, 7): case("rows", "model: keras.Sequential([layers.Input((7,)), Dense(5), BatchNormalization(), Dense(2)])", formats=("h5",), generation=2),
    (None, None, 4): case("series", "model: keras.Sequential([layers.Input((7, 4)), Conv1D(5, 3), LSTM(3), Dense(2)])", formats=("h5",), generation=2),
    (None, 8, 8, 2): case("square", "model: keras.Sequential([layers.Input((8, 8, 2)), Conv2D(3, 3), Flatten(), Dense(2)])", formats=("h5",), generation=2),
}  # fmt: skip


@pytest.mark.parametrize("shape", UNSTATED)
def test_inferred_from_the_weights(bench: Bench, tmp_path: Path, shape: tuple[int | None, ...]) -> None:
    """The size of an image is what Dense behind Flatten takes; other sizes are left open."""
    built = bench.ask(UNSTATED[shape])
    source = edited_h5(built["paths"][0], tmp_path / "m.h5", shapeless)
    agrees(source, tmp_path / "out", built)
    with read(source) as opened:
        assert opened.graph.inputs.sizes == shape


def test_said_by_the_user(bench: Bench, tmp_path: Path) -> None:
    built = bench.ask(SEQUENTIAL)
    source = edited_h5(paths(built)[1], tmp_path / "m.h5", shapeless)
    with pytest.raises(migrate.UserError, match="--input-shape"):
        migrate.convert(source, tmp_path / "out")
    agrees(source, tmp_path / "out", built, input_shape=(9, 8, 3))
    with pytest.raises(migrate.UserError, match="--input-shape contradicts the file"):
        convert_file(paths(built)[1], tmp_path / "other", input_shape=(9, 9, 3))
    with pytest.raises(migrate.UserError):
        convert_file(source, tmp_path / "wrong", input_shape=(4, 4, 3))
    assert not (tmp_path / "other").exists() and not (tmp_path / "wrong").exists()


# -- how arrays are stored -------------------------------------------------------------------------------

STORAGES: dict[str, Callable[[h5py.Group, str, Array], Any]] = {
    "chunked": lambda group, name, array: group.create_dataset(name, data=array, chunks=array.shape or None),
    "compressed": lambda group, name, array: group.create_dataset(
        name, data=array, **({"compression": "gzip", "shuffle": True} if array.shape else {})
    ),
    "big endian": lambda group, name, array: group.create_dataset(
        name, data=array.astype(array.dtype.newbyteorder(">"))
    ),
    "never written to": lambda group, name, array: (
        group.create_dataset(name, data=array) if array.any() else group.create_dataset(name, array.shape, array.dtype)
    ),
}


@pytest.mark.parametrize("storage", STORAGES)
def test_storage(bench: Bench, tmp_path: Path, storage: str) -> None:
    built = bench.ask(TWO)
    agrees(stored_again(paths(built)[1], tmp_path / "m.h5", STORAGES[storage]), tmp_path / "out", built)


@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
def test_the_dtype_of_the_file_is_kept(bench: Bench, tmp_path: Path, dtype: str) -> None:
    def store(group: h5py.Group, name: str, array: Array) -> None:
        if dtype == "bfloat16":  # as Keras writes it: two opaque bytes and a note
            bits = (np.ascontiguousarray(array, "float32").view(np.uint32) >> 16).astype(np.uint16)
            group.create_dataset(name, data=bits.view("V2")).attrs["dtype"] = "bfloat16"
        else:
            group.create_dataset(name, data=array.astype(dtype))

    source = stored_again(paths(bench.ask(TWO))[1], tmp_path / "m.h5", store)
    migrate.convert(source, tmp_path / "out")
    with safe_open(tmp_path / "out" / "weights.safetensors", "pt") as file:
        found = {str(file.get_tensor(key).dtype) for key in file.keys()}  # noqa: SIM118  # no mapping
    assert found <= {f"torch.{dtype}", "torch.int64"} and f"torch.{dtype}" in found


def test_half_precision_is_stored_and_told(bench: Bench, tmp_path: Path) -> None:
    source = bench.saved(case("half", "Dense(4, dtype='float16'), Dense(2, dtype='float16')", ("float16", 5)))
    migrate.convert(source, tmp_path / "out")
    with safe_open(tmp_path / "out" / "weights.safetensors", "pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118  # no mapping
    assert migrate.load(tmp_path / "out")(torch.zeros(2, 5)).dtype == torch.float32
    assert "compute in `float16`, here in float32" in (tmp_path / "out" / "README.md").read_text()


def test_a_file_written_behind_another(bench: Bench, tmp_path: Path) -> None:
    """HDF5 allows a block in front, and offsets count from behind it."""
    built = bench.ask(TWO)
    with h5py.File(paths(built)[1]) as old, h5py.File(tmp_path / "m.h5", "w", userblock_size=512) as new:
        for name in old:
            old.copy(name, new)
        new.attrs.update(old.attrs)
    try:
        agrees(tmp_path / "m.h5", tmp_path / "out", built)
    except migrate.UserError as error:
        assert "not a Keras model" in str(error)


# -- weights by the file's rules -------------------------------------------------------------------------


def test_paths_count_classes_not_names(bench: Bench, tmp_path: Path) -> None:
    """What the config calls dense_1 lies under dense, and the other way round."""
    swapped = {"wide": "dense_1", "head": "dense"}
    for number, model in enumerate((TWO, THREE)):
        built = bench.ask(model)

        def rename(tree: Any) -> Any:
            if isinstance(tree, dict):
                return {key: rename(value) for key, value in tree.items()}
            return (
                [rename(item) for item in tree]
                if isinstance(tree, list)
                else swapped.get(tree, tree)
                if isinstance(tree, str)
                else tree
            )

        agrees(edited(paths(built)[0], tmp_path / f"{number}.keras", rename), tmp_path / f"{number}", built)


def test_tied_in_two_models(bench: Bench, tmp_path: Path) -> None:
    """Keras 3 writes the weights once, and cannot read them itself; its HDF5 file holds two layers, as it reads them."""
    built = bench.ask(case("tied", TIED, (6,), formats=("h5", "keras")))
    agrees(paths(built)[0], tmp_path / "once", built)
    assert convert_file(paths(built)[1], tmp_path / "twice").parameters["total"] == built["total"] + 35


def test_the_order_in_the_file_means_nothing(bench: Bench, tmp_path: Path) -> None:
    """Groups of a legacy file are found by name: turned around, all is as before."""
    built = bench.ask(TWO)
    shutil.copyfile(paths(built)[1], tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        root = file["model_weights"]
        root.attrs["layer_names"] = root.attrs["layer_names"][::-1]
    agrees(tmp_path / "m.h5", tmp_path / "out", built)


# -- files that others wrote -----------------------------------------------------------------------------

MODELS = Path(__file__).parents[2] / "shared" / "models"
theirs = pytest.mark.skipif(not MODELS.exists(), reason="the shared models are not here")
RECORDED = ["simple_lstm_tf_keras_1", "simple_rnn_tf_keras_2", "simple_flatten_lstm_tf_keras_2"]
COUNTS = {
    "cnn_batch_norm.h5": (79, 77), "gru_model.keras": (5811, 5811), "lstm_functional_tf_keras_2.h5": (461, 461),
    "masking_zero_lstm.h5": (9600, 9600), "reshape_model.h5": (16961, 16961), "str_ww_ref_model.h5": (47707, 46875),
    "tfscope_model_keras122.h5": (18690, 18690), "tiny_XCEPTION_KDEF.hdf5": (18314, 17574),
    "mnist_cnn_keras1/config.json": (600810, 600810),
}  # fmt: skip
REFUSED = {
    "model_lambda.h5": "(?s)Lambda 'lambda_3', 'lambda_4'.*way out: in Keras",
    "model12.h5": "(?s)weights without an architecture.*--weights model12.h5",
    "pre_pr22362_nested_container.keras": "(?s)NestedDenseModel.*in Keras, rebuild it",
}


@theirs
@pytest.mark.parametrize("name", RECORDED)
def test_what_their_keras_recorded(tmp_path: Path, name: str) -> None:
    migrate.convert(MODELS / f"{name}_model.h5", tmp_path / "out")
    with h5py.File(MODELS / f"{name}_inputs_and_outputs.h5") as file:
        (given,), (expected,) = ([group[key][()] for key in group] for group in (file["inputs"], file["predictions"]))
    found = migrate.load(tmp_path / "out", dtype=torch.float64)(torch.from_numpy(given).double()).detach().numpy()
    scale = np.abs(expected).max()
    assert np.abs(found - expected).max() <= 2e-6 * scale
    assert not np.allclose(found[::-1], expected, atol=1e-4 * scale, rtol=0) or len(np.unique(expected)) == 1


@theirs
@pytest.mark.parametrize("name", COUNTS)
def test_their_models(tmp_path: Path, name: str) -> None:
    weights = MODELS / name.replace("config.json", "weights.h5") if name.endswith("json") else None
    done = convert_file(MODELS / name, tmp_path / "out", weights=weights)
    assert done.parameters == dict(zip(("total", "trainable"), COUNTS[name], strict=True))


@theirs
@pytest.mark.parametrize("name", REFUSED)
def test_their_refused_models(tmp_path: Path, name: str) -> None:
    with pytest.raises(migrate.UserError, match=REFUSED[name]):
        migrate.convert(MODELS / name, tmp_path / "out")
    assert not list(tmp_path.iterdir())


@theirs
def test_their_list_is_complete() -> None:
    there = {
        str(path.relative_to(MODELS))
        for path in MODELS.rglob("*.*")
        if not re.search("_inputs_and_outputs|weights.h5|INDEX", path.name)
    }
    assert there == {*COUNTS, *REFUSED, *(f"{name}_model.h5" for name in RECORDED)}


DICT = case(
    "keys of outputs",
    "model: (lambda a: keras.Model(a, {'score': Dense(2)(a), 'cl\"ass': Dense(1)(a)}))(keras.Input((4,), name='a'))",
    (4,),
)


def test_keys_of_a_dict_are_in_the_docstring(bench: Bench, tmp_path: Path) -> None:
    agrees(Path(bench.ask(DICT)["paths"][0]), tmp_path / "out", bench.ask(DICT))
    text = (tmp_path / "out" / "model.py").read_text()
    assert '"""(N, 4) -> cl?ass (N, 1), score (N, 2)."""' in text, text
