"""`scaffold --script`: a Keras training script becomes a PyTorch project that trains; what cannot is named."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import migrate
from converters.errors import UserError
from migrate.cli import main
from migrate.observing import Observed, Script, observe, scaffold_script
from migrate.reference.client import Client
from migrate.scaffold.plan import Options
from parity_tests import projects

SEED = Path(__file__).parent.parent / "samples" / "seed_mlp.py"
START = "import keras, numpy as np\nx, y = np.arange(24.0).reshape(8, 3), np.arange(8) % 2\n"
MODEL = "model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])\nmodel.compile('sgd', 'mse')\n"


@pytest.fixture(scope="module")
def worker() -> Iterator[Client]:
    """One worker for all scripts: TensorFlow starts once."""
    with Client(timeout=120) as client:
        yield client


def written(folder: Path, text: str) -> Script:
    path = folder / "train_keras.py"
    path.write_text(textwrap.dedent(text))
    return Script(path, trust=True)


def record(worker: Client, folder: Path, text: str, arguments: tuple[str, ...] = ()) -> dict:
    script = written(folder, text)
    return dict(observe(Script(script.path, arguments, trust=True), folder, client=worker))


def array(found: dict, name: str) -> np.ndarray:
    return np.load(found["arrays"][name][0]["file"])


def test_seed_program_trains(worker: Client, tmp_path: Path) -> None:
    done = scaffold_script(Script(SEED, trust=True), tmp_path / "seed", Options(), client=worker)
    assert isinstance(done, Observed)
    assert {"data", "model.py", "train.py", "weights.safetensors"} <= set(done.files)
    assert "nn.Dropout(0.2)" in (tmp_path / "seed" / "model.py").read_text()
    said = json.loads(json.dumps(done.to_json()))["script"]
    assert (said["epochs"], said["batch_size"], said["arrays"]["x_val"][0][0]) == (5, 32, [297, 64])
    projects.run(tmp_path / "seed", "train.py")
    history = projects.history(tmp_path / "seed" / "runs" / "seed_mlp")
    assert len(history) == 5
    assert history[-1]["val_accuracy"] > 0.7  # Keras: 0.76
    assert sorted(path.name for path in tmp_path.iterdir()) == ["seed"]  # nothing is left beside


def test_losses_are_those_of_fit(worker: Client, tmp_path: Path) -> None:
    """From the same weights in the same order, in float64; dropout and shuffling, which are random, taken out."""
    text = SEED.read_text().replace("Dropout(0.2)", "Dropout(0.0)").replace("epochs=5", "epochs=2, shuffle=False")
    script = written(tmp_path, text)
    line = [sys.executable, Path(__file__).with_name("reference_script.py"), script.path, tmp_path / "history.json"]
    reference = subprocess.Popen(line, stderr=subprocess.PIPE, text=True)
    scaffold_script(script, tmp_path / "out", Options(exact=True), client=worker)
    projects.run(tmp_path / "out", "train.py", "--precision", "float64")
    assert reference.wait() == 0, reference.stderr and reference.stderr.read()[-2000:]
    expected = json.loads((tmp_path / "history.json").read_text())
    found = projects.history(tmp_path / "out" / "runs" / "train_keras")
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose([logs[name] for logs in found], expected[name], rtol=1e-12)
    assert abs(found[0]["loss"] / expected["loss"][1] - 1) > 1e-3  # the comparison would see another epoch


def test_what_fit_is_given_is_recorded(worker: Client, tmp_path: Path) -> None:
    text = f"""
{START}
import argparse, sys
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
print("this is no answer to a request"); sys.stdin.read()

class Mine(keras.callbacks.Callback):
    pass

def main():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    stop = keras.callbacks.EarlyStopping("loss", patience=np.int64(3))
    try:
        rates = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
        model.fit(x, y, 4, parser.parse_args().epochs, callbacks=[stop, Mine(), rates], validation_split=0.25,
                  class_weight={{0: 1, 1: 2.5}}, shuffle=False)
    except Exception:
        print("not seen")

if __name__ == "__main__":
    main()
    model.fit(x, y, epochs=9)
"""
    found = record(worker, tmp_path, text, ("--epochs", "7"))
    assert (found["batch_size"], found["epochs"], found["shuffle"], found["validation_split"]) == (4, 7, False, 0.25)
    assert found["class_weight"] == [[0, 1.0], [1, 2.5]]
    stop, mine, rates = found["callbacks"]
    assert stop == {
        "class_name": "EarlyStopping",
        "module": "keras.callbacks",
        "config": {"monitor": "loss", "patience": 3},
    }
    assert (mine["class_name"], mine["module"]) == ("Mine", "__main__")
    assert rates["class_name"] == "LearningRates"
    np.testing.assert_allclose(rates["config"]["rates"], 0.01 / 2.0 ** np.arange(1, 8), rtol=1e-6)
    assert [note for note in found["notes"] if "not that of line" in note]


DATASET = "import tensorflow as tf\ndata = tf.data.Dataset.from_tensor_slices((x, y))\n"
FRAME = """
class Frame:  # as of pandas, which need not be there
    def to_numpy(self): return x.astype(object)
"""
PY_DATASET = """
class Batches(keras.utils.PyDataset):
    def __len__(self): return 2
    def __getitem__(self, i): return x[4 * i:4 * i + 4], y[4 * i:4 * i + 4], np.ones(4)
"""
SOURCES = {
    "tf.data": (DATASET + MODEL + "model.fit(data.batch(4), epochs=2)", 4, False),
    "tf.data, shuffled": (DATASET + MODEL + "model.fit(data.shuffle(8, seed=1).batch(4).prefetch(1))", 4, True),
    "tf.data, endless": (DATASET + MODEL + "model.fit(data.batch(4).repeat(), steps_per_epoch=2)", 4, False),
    "generator": (MODEL + "model.fit(((x, y) for _ in iter(int, 1)), steps_per_epoch=1)", 8, False),
    "PyDataset": (PY_DATASET + MODEL + "model.fit(Batches())", 4, True),
    "tensors": ("import tensorflow as tf\n" + MODEL + "model.fit(tf.constant(x), [int(v) for v in y])", 32, True),
    "tf.nn": ("import tensorflow as tf\nmodel = keras.Sequential([keras.layers.Dense(2, tf.nn.softmax)])\n"
        "model.compile('sgd', 'sparse_categorical_crossentropy')\nmodel.fit(x, y)", 32, True),
    "frame": (FRAME + MODEL + "model.fit(Frame(), y.reshape(-1, 1), 2)", 2, True),
    "tf_keras": (MODEL.replace("keras.", "old.").replace("model =", "import tf_keras as old\nmodel =") + "model.fit(x, y)", 32, True),
    "not built": (MODEL.replace("keras.Input((3,)), ", "") + "model.fit(x, y)", 32, True),
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_data_of_every_kind(worker: Client, tmp_path: Path, name: str) -> None:
    text, batch_size, shuffle = SOURCES[name]
    found = record(worker, tmp_path, START + text)
    assert (found["batch_size"], found["shuffle"]) == (batch_size, shuffle)
    order = np.argsort(array(found, "x")[:, 0])
    assert np.array_equal(order, np.arange(8)) == (name != "tf.data, shuffled")
    np.testing.assert_array_equal(array(found, "x")[order], np.arange(24.0).reshape(8, 3))
    np.testing.assert_array_equal(np.ravel(array(found, "y"))[order], np.arange(8) % 2)
    assert migrate.inspect(found["model"]).gaps == []


def test_several_inputs_by_name_and_weights(worker: Client, tmp_path: Path) -> None:
    text = """
    from keras import layers
    b, a = keras.Input((2,), name="b"), keras.Input((3,), name="a")
    one, two = layers.Dense(1, name="one")(layers.concatenate([a, b])), layers.Dense(2, name="two")(b)
    model = keras.Model([b, a], [two, one])
    model.compile("sgd", {"one": "mse", "two": "mae"})
    model.fit({"a": x, "b": x[:, :2] + 100}, {"one": y, "two": x[:, :2]}, sample_weight=np.arange(8.0),
              validation_data=([x[:, :2], x], [x[:, :2], y]))
    """
    script = written(tmp_path, START + textwrap.dedent(text))
    done = scaffold_script(script, tmp_path / "out", Options(), client=worker)
    data = {path.stem: np.load(path) for path in (tmp_path / "out" / "data").iterdir()}
    assert data["x_b"].min() == 100
    assert data["x_a"].shape == (8, 3)
    assert data["y_two"].shape == (8, 2)
    assert data["x_a_val"].shape == (8, 3)
    np.testing.assert_array_equal(data["sample_weight_val"], np.ones(8))
    assert done.record["arrays"]["sample_weight"]


REFUSED = {
    "the class Own has a train_step": "class Own(keras.Model):\n    def train_step(self, data): pass\n"
    "i = keras.Input((3,)); m = Own(i, keras.layers.Dense(1)(i)); m.compile('sgd', 'mse'); m.fit(x, y)",
    "is a model that is written as a class": "class Own(keras.Model):\n    def call(self, x): return x\n"
    "m = Own(); m.compile('sgd', 'mse'); m.fit(x, y)",
    "has no end": MODEL + "model.fit(((x, y) for _ in iter(int, 1)))",
    "ends without a call of fit": MODEL + "model.predict(x, verbose=0)",
    "a training loop of its own": MODEL + "model.train_on_batch(x, y)",
    "train_keras.py, line 3: x.nonsense": "x.nonsense",
    "SystemExit: 3": "import sys; sys.exit(3)",
    "fit is called before compile": MODEL.partition("model.compile")[0] + "model.fit(x, y)",
    "no array of numbers": MODEL + "model.fit(np.array(['a', 'b']), y[:2])",
    "call .batch(32)": DATASET + MODEL + "model.fit(data)",
    "gets no targets": MODEL + "model.fit(x)",
    "--max-data": MODEL + "model.fit(np.broadcast_to(np.float64(1), (10**9, 3)), y)",
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_cannot_be_recorded_is_named(worker: Client, tmp_path: Path, said: str) -> None:
    with pytest.raises(UserError) as error:
        record(worker, tmp_path, START + REFUSED[said])
    assert said in str(error.value)
    assert not list(tmp_path.glob("*.npy"))


def test_bad_data_and_own_callbacks_write_nothing(worker: Client, tmp_path: Path) -> None:
    text = (
        START + MODEL + "class Own(keras.callbacks.Callback): pass\nmodel.fit(x, np.zeros((8, 2)), callbacks=[Own()])"
    )
    for options, said in ((Options(), "'Own'"), (Options(allow_todo=True), "does not fit the model")):
        with pytest.raises(UserError) as error:
            scaffold_script(written(tmp_path, text), tmp_path / "out", options, client=worker)
        assert said in str(error.value)
        assert [path.name for path in tmp_path.iterdir()] == ["train_keras.py"]


def test_nothing_is_run_without_trust(tmp_path: Path) -> None:
    path = written(tmp_path, "import pathlib; pathlib.Path('ran').touch()").path
    done = CliRunner().invoke(main, ["scaffold", "--script", str(path), "-o", str(tmp_path / "out"), "--", "--fast"])
    assert done.exit_code == 2
    assert "python train_keras.py --fast" in done.output
    assert [found.name for found in tmp_path.iterdir()] == ["train_keras.py"]


@pytest.mark.parametrize("options", [[], ["a", "b"], ["--script", "nowhere.py"], ["--script", SEED, "--data", "csv"]])
def test_arguments_without_sense_are_refused(tmp_path: Path, options: list[object]) -> None:
    line = ["scaffold", *map(str, options), "-o", str(tmp_path / "out"), "--trust"]
    assert CliRunner().invoke(main, line).exit_code == 2


@pytest.mark.parametrize("options", [[], ["a.keras", "--script", SEED], ["a", "--script", SEED, "--", "--fast"]])
def test_a_model_or_a_script_not_both(tmp_path: Path, options: list[object]) -> None:
    done = CliRunner().invoke(main, ["scaffold", "-o", str(tmp_path / "out"), "--trust", *map(str, options)])
    assert done.exit_code == 2
    assert "one model file, or a training script" in done.output and "itself" not in done.output
    assert "[MODEL]" in CliRunner().invoke(main, ["scaffold", "--help"]).output


def test_a_script_that_hangs_is_ended(tmp_path: Path) -> None:
    text = "import time; time.sleep(60)"
    with pytest.raises(UserError, match="no sign of life"):
        migrate.scaffold(script=written(tmp_path, text).path, folder=tmp_path / "out", trust=True, timeout=1)
    assert [found.name for found in tmp_path.iterdir()] == ["train_keras.py"]
