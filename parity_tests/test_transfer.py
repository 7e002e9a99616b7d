"""A newer checkpoint into a project: as if it had been converted; what is another model is refused and changes nothing."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import migrate
from converters.errors import UserError
from migrate.pipeline import convert_file
from parity_tests.archives import edited
from parity_tests.case import Case, case
from parity_tests.conftest import Bench
from parity_tests.parity import judge
from parity_tests.test_cli import refused, tf2torch

# One script, as it is run first, and as it is run later in a session in which Keras has already numbered layers.
LAYERS = (
    "[layers.Input((9, 8, 2), name='image'), Conv2D(4, 3, padding='same', activation='relu'), BatchNormalization(), "
    "keras.Sequential([layers.Input((9, 8, 4)), Conv2D(3, 3), BatchNormalization()]), Flatten(), "
    "Dense(6, activation='relu'), Dense(3, name='classes')]"
)
LATER = "keras.utils.set_random_seed(7), [Conv2D(1, 1) for _ in range(8)], [Dense(1) for _ in range(9)], BatchNormalization()"


def scripts(generation: int = 3) -> tuple[Case, Case]:
    """(first, later) of a generation of Keras."""
    name, more = f"script of keras {generation}", {"generation": generation, "formats": ("keras", "h5")}
    first = case(f"{name}, first", f"model: keras.Sequential({LAYERS})", **more)
    later = case(f"{name}, later", f"model: ({LATER}, keras.Sequential({LAYERS}))[-1]", **more)
    return first, later


@pytest.fixture(scope="module", params=[3, 2], ids=["keras 3", "keras 2"])
def session(request: pytest.FixtureRequest, bench: Bench) -> tuple[dict[str, Path], dict[str, Path], str]:
    """The files of both runs by format, and what the later one predicts."""
    first, later = (bench.ask(made) for made in scripts(request.param))
    old, new = ({Path(path).suffix[1:]: Path(path) for path in made["paths"]} for made in (first, later))
    return old, new, later["reference"]


def weights_alone(path: Path, target: Path) -> Path:
    """What `save_weights` writes, out of a whole model."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            target.write_bytes(archive.read("model.weights.h5"))
        return target
    with h5py.File(path) as source, h5py.File(target, "w") as file:
        for name in source["model_weights"]:
            source.copy(f"model_weights/{name}", file, name)
        for name, value in source["model_weights"].attrs.items():
            file.attrs[name] = value
    return target


def architecture(path: Path, target: Path) -> Path:
    """What `to_json` writes, out of a `.keras` file."""
    with zipfile.ZipFile(path) as archive:
        target.write_bytes(archive.read("config.json"))
    return target


def test_newer_checkpoints_of_all_formats(
    session: tuple[dict[str, Path], dict[str, Path], str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Layers are numbered in another way there, in formats that key their weights in other ways."""
    old, new, reference = session
    folder = tmp_path / "out"
    convert_file(old["keras" if "keras 3" in request.node.callspec.id else "h5"], folder, name="Net")
    source = (folder / "model.py").read_bytes()
    for kind in ("keras", "h5"):
        done = migrate.transfer(new[kind], folder)
        assert done.file == new[kind].name and ("conv2d_8" in done.renamed) == (kind == "keras"), done.renamed
        assert [f"verify compares with {new[kind].name} from now on" in note for note in done.notes] == [True]
        assert migrate.transfer(new[kind], folder).notes == []  # nothing new
        assert (folder / "model.py").read_bytes() == source
        right(folder, reference, kind)
    convert_file(new["h5"], tmp_path / "anew", name="Net")
    transferred, anew = (json.loads((path / "migration.json").read_text()) for path in (folder, tmp_path / "anew"))
    assert transferred | {"lines": 0} == anew | {"lines": 0}  # the first line has the name of the model
    assert (folder / "weights.safetensors").read_bytes() == (tmp_path / "anew" / "weights.safetensors").read_bytes()


def right(folder: Path, reference: str, what: str) -> None:
    """The project predicts what the later model does."""
    for where, verdict in judge(folder, dict(np.load(reference))):
        assert verdict.passed, f"{what} {where}: {verdict}"


@pytest.mark.parametrize("kind, other", [("keras", "h5"), ("h5", "keras")])
def test_weights_alone(kind: str, other: str, bench: Bench, tmp_path: Path) -> None:
    """By their paths, whatever the numbers of the layers; in the other format only with the architecture."""
    old, new = ({Path(path).suffix[1:]: Path(path) for path in bench.ask(made)["paths"]} for made in scripts())
    reference = bench.ask(scripts()[1])["reference"]
    lone = {name: weights_alone(new[name], tmp_path / f"{name}.weights.h5") for name in ("keras", "h5")}
    folder = tmp_path / "out"
    convert_file(old[kind], folder)
    before = contents(folder)
    with pytest.raises(UserError, match="in another way"):
        migrate.transfer(lone[other], folder)
    assert contents(folder) == before
    migrate.transfer(architecture(new["keras"], tmp_path / "model.json"), folder, weights=lone[other])
    right(folder, reference, "architecture and weights")
    assert json.loads((folder / "migration.json").read_text())["origin"]["weights"] == lone[other].name
    assert "verify takes no weights alone" in migrate.transfer(lone[other], folder).notes[0]
    for name, data in before.items():
        (folder / name).write_bytes(data)
    migrate.transfer(lone[kind], folder)
    right(folder, reference, "weights alone")
    assert json.loads((folder / "migration.json").read_text())["origin"]["format"] == "weights"
    migrate.backport(folder, lone[kind], tmp_path / "back.h5")
    assert (tmp_path / "back.h5").read_bytes() == lone[kind].read_bytes()


# -- another model ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(model file, project) of the first script."""
    path = Path(bench.ask(scripts()[0])["paths"][0])
    folder = tmp_path_factory.mktemp("transfer") / "project"
    convert_file(path, folder)
    return path, folder


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def _layer(config: dict[str, Any], number: int) -> dict[str, Any]:
    settings: dict[str, Any] = config["config"]["layers"][number]["config"]
    return settings


def _another_class(config: dict[str, Any]) -> None:
    config["config"]["layers"][5]["class_name"] = "EinsumDense"


def _one_less(config: dict[str, Any]) -> None:
    del config["config"]["layers"][4]


OTHERS: dict[str, tuple[Callable[[dict[str, Any]], Any], list[str]]] = {
    "another activation": (lambda c: _layer(c, 1).update(activation="tanh"), ["'conv2d'", "relu", "tanh"]),
    "other strides": (lambda c: _layer(c, 1).update(strides=[2, 2]), ["Dense 'dense'", "[126, 6]", "[18, 6]"]),
    "another epsilon": (lambda c: _layer(c, 2).update(epsilon=1e-5), ["layer 'batch_normalization' (", "eps=0.001", "eps=1e-05"]),
    "frozen": (lambda c: _layer(c, 5).update(trainable=False), ["layer 'dense' (Dense)", "frozen"]),
    "another class": (_another_class, ["expected: Dense 'dense'", "found: EinsumDense 'dense'"]),
    "a layer less": (_one_less, ["expected: Flatten 'flatten'", "found: Dense 'dense'"]),
}  # fmt: skip


@pytest.mark.parametrize("what", OTHERS)
def test_another_model_is_refused_and_changes_nothing(plain: tuple[Path, Path], what: str, tmp_path: Path) -> None:
    path, project = plain
    change, words = OTHERS[what]
    before = contents(project)
    with pytest.raises(UserError) as error:
        migrate.transfer(edited(path, tmp_path / "new.keras", change), project)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert contents(project) == before


def test_another_shape_names_the_layer(plain: tuple[Path, Path], bench: Bench) -> None:
    project = plain[1]
    before = contents(project)
    other = case("wider", f"model: keras.Sequential({LAYERS.replace('Dense(6', 'Dense(7')})")
    with pytest.raises(UserError, match=r"layer 'dense' \(Dense\)") as error:
        migrate.transfer(bench.ask(other)["paths"][0], project)
    assert "[126, 6] float32" in str(error.value) and "[126, 7] float32" in str(error.value), str(error.value)
    assert contents(project) == before


def test_arrays_that_do_not_fit_are_named(plain: tuple[Path, Path], tmp_path: Path) -> None:
    path, project = plain
    lone = weights_alone(path, tmp_path / "new.weights.h5")
    before = contents(project)
    with h5py.File(lone, "r+") as file:
        kernel = file["layers/dense/vars/0"][()]
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = kernel.astype(np.float16)
    with pytest.raises(UserError, match=r"layer 'dense' \(Dense\)") as error:
        migrate.transfer(lone, project)
    assert "float32" in str(error.value) and "float16" in str(error.value)
    with h5py.File(lone, "r+") as file:
        file.move("layers/dense", "layers/dense_5")
    with pytest.raises(UserError, match="layers/dense"):
        migrate.transfer(lone, project)
    assert contents(project) == before


def test_a_full_disk_changes_nothing(plain: tuple[Path, Path], bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(plain[1])

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("migrate.transferring.write_safetensors", full)
    with pytest.raises(UserError, match="No space left"):
        migrate.transfer(bench.ask(scripts()[1])["paths"][0], plain[1])
    assert contents(plain[1]) == before


def test_command(plain: tuple[Path, Path], bench: Bench, tmp_path: Path) -> None:
    path = bench.ask(scripts()[1])["paths"][0]
    convert_file(plain[0], tmp_path / "out")
    (tmp_path / "out" / "reference.safetensors").write_bytes(b"")
    (tmp_path / "out" / "optimizer.safetensors").write_bytes(b"")
    result = tf2torch("transfer", path, tmp_path / "out")
    assert (
        result.exit_code == 0
        and "layers have other names there" in result.output
        and "tf2torch verify" in result.output
        and "train.py --no-keep-optimizer-state" in result.output
    )
    found = json.loads(tf2torch("transfer", path, tmp_path / "out", "--json").stdout)
    assert found["ok"] and found["renamed"] == {} and found["tensors"] > 10
    refused(tf2torch("transfer", path, tmp_path / "nowhere"), "not a converted model")
