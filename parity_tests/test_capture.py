"""Reference bundles: what is in them is right, told by numpy alone; the same seed gives the same; damage is named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import migrate
from migrate.readers import read
from migrate.reference.capture import Options, capture_file
from migrate.reference.client import Client
from migrate.verify.bundle import Bundle
from migrate.verify.records import LayerCall

Array = np.ndarray[Any, Any]
Make = Callable[..., Bundle]

COMPILED = "model: (lambda m: (m.compile({compile}), m)[1])({model})"
CNN = "keras.Sequential([layers.Input((8, 8, 3)), Rescaling(1 / 255), Conv2D(4, 3, kernel_regularizer='l2'), BatchNormalization(), ReLU(), Dropout(0.5), Flatten(), Dense(3, activation='softmax')])"
LSTM = "model: (lambda t: keras.Model(t, Dense(1)(LSTM(3, dropout=0.3)(Bidirectional(LSTM(4, return_sequences=True))(Embedding(20, 5, mask_zero=True)(t))))))(keras.Input((None,), dtype='int32', name='tokens'))"
NESTED = "(lambda tower, shared, a, b, v: keras.Model({'b': b, 'a': a, 'v': v}, [Dense(3, activation='softmax', name='kind')(Add()([shared(tower(a)), Dense(4)(v)])), Subtract(name='far')([shared(tower(a)), shared(tower(b))])]))(keras.Sequential([layers.Input((6,)), Dense(5, name='inner'), BatchNormalization(name='norm')], name='tower'), Dense(4, activation='tanh', name='shared'), keras.Input((6,), name='a'), keras.Input((6,), name='b'), keras.Input((5,), name='v'))"
MODELS = {
    "cnn": (3, "keras", COMPILED.format(model=CNN, compile="'adam', 'categorical_crossentropy', metrics=['accuracy']")),
    "lstm": (3, "keras", LSTM),
    "nested": (3, "keras", COMPILED.format(model=NESTED, compile="keras.optimizers.SGD(0.05, momentum=0.9), {'kind': 'sparse_categorical_crossentropy', 'far': keras.losses.Huber()}, loss_weights={'kind': 1.0, 'far': 0.3}")),
    "old": (2, "h5", COMPILED.format(model=CNN, compile="'adam', 'categorical_crossentropy', metrics=['accuracy']")),
    "resized": (3, "keras", "model: keras.Sequential([layers.Input((5, 4, 2)), UpSampling2D(2, interpolation='bilinear')])"),
    "cancelling": (3, "keras", "model: (lambda x: keras.Model(x, (x + 1e9) - 1e9))(keras.Input((5,)))"),
    "hidden": (3, "keras", COMPILED.format(compile="'sgd', 'mse'", model="(lambda x: keras.Model(x, Dense(2, name='dense')(layers.Attention()([x, x], mask=[None, x[:, :, 0] > 1e9]))))(keras.Input((5, 4)))")),
    "windows": (3, "keras", "model: keras.Sequential([layers.Input((None, None, 2)), layers.DepthwiseConv2D(30), layers.GlobalAveragePooling2D(), Dense(2)])"),
    "code": (3, "keras", "model: keras.Sequential([layers.Input((5,)), Lambda(lambda x: x + 1)])"),
}  # fmt: skip


@pytest.fixture(scope="module")
def worker() -> Iterator[Client]:
    with Client() as client:
        yield client


@pytest.fixture(scope="module")
def make(worker: Client, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Builds a model, once, and captures it, with options."""
    folder, made = tmp_path_factory.mktemp("capture"), dict[str, Bundle]()

    def capture(name: str, **options: Any) -> Bundle:
        key = f"{name} {options}"
        if key not in made:
            bundle = folder / f"bundle{len(made)}"
            made[key] = capture_file(model_of(worker, folder, name), bundle, Options(**options), client=worker)
        return made[key]

    return capture


def model_of(worker: Client, folder: Path, name: str) -> Path:
    """The path of a saved model; it is built if it is not there."""
    generation, kind, source = MODELS[name]
    path = folder / name / f"model.{kind}"
    if not path.exists():
        worker.ask(do="save", folder=str(path.parent), model=source, generation=generation, kind=kind)
    return path


def calls(bundle: Bundle, layer: str) -> list[LayerCall]:
    return [call for call in bundle.layer_calls if call.layer == layer]


def keys(bundle: Bundle, *names: str) -> list[str]:
    """The paths of the weights of some variables, each by the end of its name."""
    return [next(key for key, info in bundle.weights.items() if info.variable.endswith(name)) for name in names]


# -- what is in it -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cnn", "lstm", "nested", "old"])
def test_every_weight_of_the_file_is_known(name: str, make: Make, worker: Client) -> None:
    bundle = make(name)
    with read(bundle.folder.parent / name / f"model.{MODELS[name][1]}") as source:
        assert set(bundle.weights) == set(source.weights)
        assert bundle.origin["sha256"] == source.sha256()
    assert bundle.document["unmapped"] == [] and bundle.notes == [] and bundle.leaks == []
    assert sum(int(np.prod(w.shape)) for w in bundle.weights.values()) == bundle.parameters["total"]
    assert sum(int(np.prod(w.shape)) for w in bundle.weights.values() if w.trainable) == bundle.parameters["trainable"]


def test_versions_say_who_ran_it(make: Make) -> None:
    assert make("cnn").versions["keras"].startswith("3.") and make("cnn").versions["backend"] == "tensorflow"
    assert make("old").versions["keras"].startswith("2.")


@pytest.mark.parametrize("name", ["cnn", "old"])
def test_images_are_images(name: str, make: Make) -> None:
    bundle = make(name)
    image = bundle.input_arrays(0)[0]
    assert image.shape == (3, 8, 8, 3) and image.min() >= 0 and 200 < image.max() <= 255
    names = [one.name for one in bundle.sets]
    assert names == ["random, batch 3", "random, batch 1", "zeros, batch 1", "large values, batch 3"]
    assert not bundle.input_arrays(2)[0].any() and bundle.input_arrays(3)[0].max() > 20_000


def test_tokens_are_below_the_vocabulary_and_padded(make: Make) -> None:
    bundle = make("lstm")
    sets = {one.name: bundle.input_arrays(number)[0] for number, one in enumerate(bundle.sets)}
    assert all(array.max() < 20 and array.min() >= 0 for array in sets.values())
    padded = sets["padding left, right and inside, batch 4"] == 0
    assert padded.any(axis=1).tolist() == [False, True, True, True]
    assert padded[1, 0] and padded[2, -1] and not padded[3, 0] and not padded[3, -1]
    assert (sets["rows of padding only, batch 3"] == 0).all(axis=1).tolist() == [False, True, False]
    assert (sets["large values, batch 3"] == 19).all()
    assert sets["other sizes, batch 3"].shape[1] != padded.shape[1]


def test_masks_travel_with_their_tensors(make: Make) -> None:
    bundle = make("lstm")
    (embedding,) = calls(bundle, "embedding")
    mask = embedding.outputs[0].mask
    assert mask is not None
    np.testing.assert_array_equal(bundle.tensor("float64", mask), bundle.input_arrays(0)[0] != 0)


@pytest.mark.parametrize("name", ["cnn", "lstm", "nested", "old"])
def test_the_last_layers_give_the_outputs(name: str, make: Make) -> None:
    bundle = make(name)
    for dtype in bundle.dtypes:
        for output, info in zip(bundle.output_arrays(dtype, bundle.layer_set), bundle.outputs, strict=True):
            (call,) = calls(bundle, info.name)
            np.testing.assert_array_equal(bundle.tensor(dtype, call.outputs[0].tensor), output)
            assert output.dtype == dtype
    truth, single = bundle.output_arrays("float64", 0)[0], bundle.output_arrays("float32", 0)[0]
    assert 0 < np.abs(truth - single).max() < 1e-5


def test_layers_within_models_and_called_again(make: Make) -> None:
    bundle = make("nested")
    inner, shared = calls(bundle, "tower/inner"), calls(bundle, "shared")
    assert sorted(call.call for call in inner) == [(0, 0), (1, 0), (2, 0)] and len(shared) == 3
    a, b = bundle.input_arrays(0)[:2]  # in the order of their names
    first = {call.call[0]: bundle.tensor("float32", call.inputs[0].tensor) for call in inner}
    for number, array in enumerate((a, a, b)):
        np.testing.assert_array_equal(first[number], array)
    assert [one.at for one in calls(bundle, "far")[0].inputs] == ["0/0", "0/1"]


def test_a_layer_is_what_numpy_makes_of_its_input(make: Make) -> None:
    bundle = make("nested")
    call = calls(bundle, "shared")[0]
    kernel, bias = keys(bundle, "shared/kernel", "shared/bias")
    with read(bundle.folder.parent / "nested" / "model.keras") as source:
        weights = {key: source.arrays.read(source.arrays.leaf(key)).astype(float) for key in (kernel, bias)}
    x = bundle.tensor("float64", call.inputs[0].tensor)
    expected = np.tanh(x @ weights[kernel] + weights[bias])
    np.testing.assert_allclose(bundle.tensor("float64", call.outputs[0].tensor), expected, rtol=1e-13, atol=1e-15)


# -- gradients -----------------------------------------------------------------------------------------


def test_gradients_of_the_last_layer(make: Make) -> None:
    """y = softmax(z): the gradient of the bias and of the kernel of z, by hand, in both modes."""
    bundle = make("cnn")
    kernel, bias = keys(bundle, "dense/kernel", "dense/bias")
    projection = bundle.projections()[0]
    assert projection is not None
    (flat,) = calls(bundle, "flatten")
    for mode in ("inference", "training"):
        found = bundle.gradients("float64", mode)
        y = found.outputs[0]
        by_z = y * (projection - (projection * y).sum(axis=1, keepdims=True))
        np.testing.assert_allclose(found.weights[bias], by_z.sum(axis=0), rtol=1e-12, atol=1e-15)
        if mode == "inference":
            x = bundle.tensor("float64", flat.outputs[0].tensor)
            np.testing.assert_allclose(found.weights[kernel], x.T @ by_z, rtol=1e-11, atol=1e-14)
            np.testing.assert_array_equal(y, bundle.output_arrays("float64", 0)[0])
        else:
            assert np.abs(y - bundle.output_arrays("float64", 0)[0]).max() > 1e-3  # batch statistics
        assert found.inputs[0] is not None and found.inputs[0].shape == (3, 8, 8, 3)


@pytest.mark.parametrize(("name", "unbiased"), [("cnn", False), ("old", True)])
def test_running_statistics(name: str, unbiased: bool, make: Make) -> None:
    """Keras 3 keeps the biased variance; Keras 2 the unbiased one where its fused kernel runs, in float64 as well."""
    bundle = make(name)
    (norm,) = [call for call in bundle.layer_calls if call.class_name == "BatchNormalization"]
    x = bundle.tensor("float64", norm.inputs[0].tensor)
    mean, variance = keys(bundle, "moving_mean", "moving_variance")
    path = bundle.folder.parent / name / f"model.{MODELS[name][1]}"
    with read(path) as source:
        before = {key: source.arrays.read(source.arrays.leaf(key)).astype(float) for key in (mean, variance)}
    for dtype, tolerance in (("float64", 1e-13), ("float32", 1e-5)):
        state = bundle.gradients(dtype, "training").state
        new_mean = 0.99 * before[mean] + 0.01 * x.mean(axis=(0, 1, 2))
        np.testing.assert_allclose(state[mean], new_mean, rtol=tolerance)
        new_variance = 0.99 * before[variance] + 0.01 * x.var(axis=(0, 1, 2), ddof=int(unbiased))
        np.testing.assert_allclose(state[variance], new_variance, rtol=tolerance)
    other = 0.99 * before[variance] + 0.01 * x.var(axis=(0, 1, 2), ddof=int(not unbiased))
    assert np.abs(bundle.gradients("float64", "training").state[variance] - other).max() > 1e-7
    assert bundle.without_gradient("training") == {mean, variance}


# -- training ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cnn", "old"])
def test_adam_to_the_last_digit(name: str, make: Make) -> None:
    """A float32 learning rate or beta anywhere would be seen: 0.001 is not one."""
    bundle = make(name)
    assert bundle.training is not None and bundle.training.source == "file" and bundle.training.steps == 5
    momentum, velocity = (next(s for s in bundle.training.slots if s[0] == letter) for letter in "mv")
    (kernel,) = keys(bundle, "dense/kernel")
    before = bundle.step("float64", 1)
    for step in range(2, 6):
        now = bundle.step("float64", step)
        m, v = now.slots[momentum][kernel], now.slots[velocity][kernel]
        gradient = (m - 0.9 * before.slots[momentum][kernel]) / 0.1
        expected = 0.999 * before.slots[velocity][kernel] + 0.001 * gradient**2
        np.testing.assert_allclose(v, expected, rtol=1e-11, atol=1e-25)
        rate = 0.001 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        moved = now.weights[kernel] - before.weights[kernel]
        np.testing.assert_allclose(moved, -rate * m / (np.sqrt(v) + 1e-7), rtol=1e-9, atol=1e-16)
        rounded = rate * float(np.float32(0.001)) / 0.001
        assert np.abs(moved + rounded * m / (np.sqrt(v) + 1e-7)).max() > 1e-9 * np.abs(moved).max()
        before = now


def test_losses_hold_regularizers_and_weights(make: Make) -> None:
    """The first loss, from the outputs before any step, by hand."""
    bundle = make("nested")
    assert bundle.training is not None and bundle.training.slots == ("momentums",)
    inputs, targets = bundle.batch(0)
    assert targets[0].dtype == np.int32 and targets[0].max() < 3 and targets[1].shape == (4, 4)
    assert len(inputs) == 3 and bundle.training.loss_weights == {"kind": 1.0, "far": 0.3}
    losses = bundle.training.losses
    np.testing.assert_allclose(losses["float32"], losses["float64"], rtol=1e-4)
    assert all(np.abs(np.array(losses["float64"]) - losses["float32"]) > 0)
    cnn = make("cnn").training
    assert cnn is not None and cnn.losses["float64"][0] > 0


def test_a_file_without_a_compile_config_is_trained_by_sgd(make: Make) -> None:
    plan = make("lstm").training
    assert plan is not None and plan.source.startswith("default") and plan.optimizer["class_name"] == "SGD"


def test_steps_take_batches_in_turn(make: Make) -> None:
    """The state of BatchNorm moves in every step, that of a frozen weight in none; the model is as before then."""
    bundle = make("cnn")
    (mean,) = keys(bundle, "moving_mean")
    states = [bundle.step("float64", step).weights[mean] for step in bundle.training.recorded]  # type: ignore[union-attr]
    assert all(np.abs(a - b).max() > 0 for a, b in pairwise(states))


# -- leaks, safety, options ----------------------------------------------------------------------------


def test_what_is_left_of_float32_is_measured(make: Make) -> None:
    bundle = make("resized")
    whole = next(leak for leak in bundle.leaks if leak["layer"] == "" and leak["what"] == "forward")
    assert "ResizeBilinear" in whole["op"] and 1e-8 < whole["size"] < 5e-6
    assert any(leak["layer"].startswith("up_sampling") for leak in bundle.leaks)


def test_rounding_is_measured(make: Make) -> None:
    """Where large numbers cancel, and nowhere else."""
    noise = {one.name: one.rounding for one in make("cancelling", checks=("forward",)).sets}
    assert 1e-9 < noise["random, batch 3"] < 1e-5
    assert all(0 <= one.rounding < 1e-12 for name in ("cnn", "lstm", "nested", "old") for one in make(name).sets)


def test_rounding_of_gradients_and_steps_is_measured_where_that_of_outputs_counts(make: Make) -> None:
    """Rows that a mask hides whole: their scores are -1e9 plus something, and keep seven digits of it."""
    bundle = make("hidden")
    found = {(leak["what"], leak["layer"]): leak["size"] for leak in bundle.leaks if leak["op"] == "rounding"}
    assert {what for what, _ in found} >= {"gradients, inference", "gradients, training", "layers", "training"}

    assert all(1e-11 < bundle.limit(f"gradients, {mode}", "float64") < 1e-5 for mode in bundle.modes)
    assert bundle.limit("layers", "float64", "dense") < 1e-12, "a layer that does not cancel"
    assert not [leak for name in ("cnn", "lstm", "nested") for leak in make(name).leaks if leak["op"] == "rounding"]


def test_a_picture_that_is_too_small_is_followed_by_a_larger_one(make: Make) -> None:
    """TensorFlow takes one that is smaller than a window, and makes NaN of it."""
    bundle = make("windows", checks=("forward",))
    assert min(bundle.input_arrays(0)[0].shape[1:3]) >= 30 and np.isfinite(bundle.output_arrays("float64", 0)[0]).all()


def test_code_is_not_run(make: Make) -> None:
    with pytest.raises(migrate.UserError, match=r"safety(.|\n)*holds code(.|\n)*--trust"):
        make("code")


def test_float32_alone(make: Make) -> None:
    bundle = make("lstm", dtypes=("float32",), checks=("forward",))
    assert bundle.dtypes == ("float32",) and bundle.checks == ("structure", "forward")
    with pytest.raises(migrate.UserError, match="no record of layers"):
        print(bundle.layer_calls)


def test_own_inputs(make: Make, tmp_path: Path) -> None:
    own = tmp_path / "own.npz"
    np.savez(own, tokens=np.array([[1, 2, 3]]))
    bundle = make("lstm", inputs=own, checks=("forward",))
    assert bundle.sets[-1].name == "yours, batch 1"
    np.testing.assert_array_equal(bundle.input_arrays(len(bundle.sets) - 1)[0], [[1, 2, 3]])


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        ({"words": np.ones((1, 3), int)}, "arrays words"),
        ({"tokens": np.ones(3, int)}, r"of shape \[3\]"),
        ({}, "no arrays"),
    ],
)
def test_own_inputs_that_do_not_fit(arrays: Mapping[str, Array], found: str, make: Make, tmp_path: Path) -> None:
    own = tmp_path / "own.npz"
    np.savez(own, **arrays)  # type: ignore[arg-type]
    with pytest.raises(migrate.UserError, match=found):
        make("lstm", inputs=own, checks=("forward",), seed=7)


def test_the_same_seed_gives_the_same_bundle(make: Make) -> None:
    one, same, other = (make("cnn", seed=seed, steps=2 + (seed == 5)) for seed in (4, 4, 6))
    again = make("cnn", seed=4, steps=2, timeout=99.0)
    assert one is same and again.folder != one.folder
    assert again.document == one.document != other.document
    assert contents(again) == contents(one)


def contents(bundle: Bundle) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in bundle.folder.iterdir()}


# -- damage --------------------------------------------------------------------------------------------


def cut_off(folder: Path) -> None:
    path = folder / "forward.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def one_bit(folder: Path) -> None:
    path = folder / "forward.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))


def without_file(folder: Path) -> None:
    (folder / "forward.safetensors").unlink()


def edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        document = json.loads((folder / "bundle.json").read_text())
        change(document)
        (folder / "bundle.json").write_text(json.dumps(document))

    return edit


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (cut_off, "cut off"),
        (one_bit, "sha256 differs"),
        (without_file, "missing"),
        (lambda folder: (folder / "bundle.json").write_text("{"), "not a reference bundle"),
        (lambda folder: (folder / "bundle.json").write_text("[]"), "not of a reference bundle"),
        (edited(lambda document: document.update(format=99)), "another format"),
        (edited(lambda document: document.pop("sets")), "no list 'sets'"),
        (edited(lambda document: document["files"].update({"../x": {"bytes": 1, "sha256": ""}})), "lists a file"),
        (edited(lambda document: document["outputs"].append({"name": "more"})), "lacks or garbles"),
        (edited(lambda document: document["outputs"].append(document["outputs"][0])), "no array 'float64/0/1'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_bundle_is_named(damage: Callable[[Path], None], found: str, make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(make("cnn").folder, folder)
    assert len(Bundle(folder).output_arrays("float64", 0)) == 1
    damage(folder)
    with pytest.raises(migrate.UserError, match=found):
        Bundle(folder).output_arrays("float64", 0)


# -- the command line ----------------------------------------------------------------------------------


def test_the_command(make: Make, tmp_path: Path) -> None:
    model = make("cnn").folder.parent / "cnn" / "model.keras"
    command = [sys.executable, "-m", "migrate", "capture", str(model), "-o", str(tmp_path / "out")]
    done = subprocess.run([*command, "--checks", "forward", "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["checks"] == ["structure", "forward"]
    assert "tensorflow" not in done.stderr.lower()
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 2 and "exists" in again.stderr and not again.stdout
    command[-1] = str(tmp_path / "other")
    wrong = subprocess.run([*command, "--checks", "forwards"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2 and "no check 'forwards'" in wrong.stderr
    assert not (tmp_path / "other").exists()
