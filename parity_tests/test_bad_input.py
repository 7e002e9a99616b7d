"""What cannot be converted: exit code 2, expected and found and the way out, no traceback, nothing written."""

from __future__ import annotations

import json
import resource
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import migrate
from converters.layers.refused import REFUSED
from converters.registry import lookup
from migrate.cli import main
from parity_tests.archives import edited, renamed
from parity_tests.case import case
from parity_tests.conftest import Bench
from parity_tests.hdf5_files import config_of, edited_h5

VICTIM = case(
    "bad input",
    "Conv2D(4, 3, name='conv'), Flatten(name='flat'), Dense(3, name='mid'), Dense(2, name='head')",
    (6, 6, 2),
    formats=("keras", "h5"),
)
EINSUM = case("bad einsum", "lambda x, y: ops.einsum('ij,kj->ik', x, y)", (4,), (4,), options={"batches": [4, 4]})


def refuse(model: Path, *words: str, options: tuple[object, ...] = ()) -> str:
    """Both commands refuse a model by name, and leave the folder as it was; the message of `convert`."""
    before = sorted(model.parent.rglob("*")) if model.parent.exists() else []
    for command in (["inspect", model], ["convert", model, "-o", model.parent / "out"]):
        result = CliRunner().invoke(main, [str(argument) for argument in (*command, *options)])
        if command[0] == "inspect" and result.exit_code == 0:  # gaps are what it is there to show
            assert "cannot be converted" in result.output
            continue
        assert result.exit_code == 2, result.output
        assert isinstance(result.exception, SystemExit) and "Traceback" not in result.output
        assert result.stdout == ""
        for word in (
            *words,
            "found:" if "way out" not in result.stderr else "way out:",
            *(["what to do:"] if "way out" not in result.stderr else []),
        ):
            assert word in result.stderr, result.stderr
    assert (sorted(model.parent.rglob("*")) if model.parent.exists() else []) == before
    return result.stderr


@pytest.fixture
def files(bench: Bench, tmp_path: Path) -> tuple[Path, Path]:
    """A `.keras` and an `.h5` to damage."""
    archive, full = bench.ask(VICTIM)["paths"]
    return Path(shutil.copy(archive, tmp_path / "m.keras")), Path(shutil.copy(full, tmp_path / "m.h5"))


def test_escape_sequences_are_shown(files: tuple[Path, Path], tmp_path: Path) -> None:
    """A name that would clear the terminal, or set its title, is spelled out."""
    hostile = "\x1b[2J\x07mid"
    path = edited(files[0], tmp_path / "escapes.keras", lambda config: renamed(config, "mid", hostile))
    result = CliRunner().invoke(main, ["inspect", str(path)], color=True)
    assert "\x1b" not in result.output and "\x07" not in result.output
    assert r"\x1b[2J\x07mid" in result.output, result.output


def test_names_can_be_looked_up(files: tuple[Path, Path], tmp_path: Path) -> None:
    """README.md has the names of the file, each in its cell; inspect has a line for each."""
    name = 'Ünï "mid"|\n层`'
    path = edited(files[0], tmp_path / "names.keras", lambda config: renamed(config, "mid", name))
    migrate.convert(path, tmp_path / "out")
    assert '| `Ünï "mid"\\|\\n层?` | Dense |' in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    lines = CliRunner().invoke(main, ["inspect", str(path)]).output.splitlines()
    assert [line.split()[:3] for line in lines if "mid" in line] == [["Ünï", '"mid"|\\n层`', "Dense"]], lines


def test_a_zip_bomb(files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that unpacks to far more than its size is refused unread; the limits are smaller for the test."""
    monkeypatch.setattr("migrate.readers.archive.BOMB", (1 << 16, 200))
    with zipfile.ZipFile(files[0]) as old, zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name) + (bytes(1 << 24) if name.endswith(".h5") else b""))
    refuse(tmp_path / "bomb.keras", "would unpack to")


# -- not a model -----------------------------------------------------------------------------------------

STRANGERS: dict[str, tuple[bytes, str]] = {
    "empty.keras": (b"", "an empty file"),
    "text.keras": (b"hello\n", "begins with"),
    "pointer.h5": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "git lfs pull"),
    "page.h5": (b"<!DOCTYPE html>\n<html>", "a web page"),
    "model.pkl": (b"\x80\x04\x95", "a Python pickle"),
    "array.npy": (b"\x93NUMPY\x01", "a numpy array"),
    "model.keras.gz": (b"\x1f\x8b\x08", "a gzip archive"),
    "model.tflite": (b"\x1c\x00\x00\x00TFL3", "a TensorFlow Lite model"),
    "graph.pb": (b"\n\x0b\n\x05", "a frozen TensorFlow graph"),
    "model.yaml": (b"backend: tensorflow\nclass_name: Model\n", "as YAML"),
    "x.index": (b"\x00\x00", "part of a TensorFlow checkpoint"),
    "half.json": (b'{"class_name": "Sequential", "config"', "is not JSON"),
    "list.json": (b"[1, 2]", "expected an object"),
    "other.json": (b'{"name": "package"}', "has no class_name"),
    "tfjs.json": (b'{"modelTopology": {}}', "TensorFlow.js"),
    "deep.json": (b"[" * 100000, "nested too deep"),
    "shards.json": (b'{"weight_map": {}}', "weights in several files"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_not_a_model(tmp_path: Path, name: str) -> None:
    content, found = STRANGERS[name]
    (tmp_path / name).write_bytes(content)
    refuse(tmp_path / name, found, name)


@pytest.mark.parametrize(
    ("inside", "found"),
    [
        ([], "a folder"),
        (["saved_model.pb"], "a SavedModel folder"),
        (["config.json", "model.weights.h5"], "an unpacked .keras file"),
    ],
)
def test_a_folder(tmp_path: Path, inside: list[str], found: str) -> None:
    (tmp_path / "model").mkdir()
    for name in inside:
        (tmp_path / "model" / name).touch()
    refuse(tmp_path / "model", found)


@pytest.mark.parametrize(
    ("member", "found"),
    [
        ("archive/data.pkl", "a PyTorch checkpoint"),
        ("m/saved_model.pb", "a zipped SavedModel"),
        ("arr_0.npy", "numpy arrays"),
        ("a.txt", "a zip without config.json"),
    ],
)
def test_another_zip(tmp_path: Path, member: str, found: str) -> None:
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as file:
        file.writestr(member, b"x")
    refuse(tmp_path / "m.keras", found)


def test_a_file_that_may_not_be_read(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by chmod: tests may run as root, who reads everything."""
    given = Path.open

    def denied(self: Path, *arguments: Any, **more: Any) -> Any:
        if self == files[0]:
            raise PermissionError(13, "Permission denied")
        return given(self, *arguments, **more)

    monkeypatch.setattr(Path, "open", denied)
    refuse(files[0], "cannot be read", "Permission denied", "permissions")


# -- damaged files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("kind", [0, 1])
def test_truncated(files: tuple[Path, Path], kind: int, share: float) -> None:
    content = files[kind].read_bytes()
    files[kind].write_bytes(content[: int(len(content) * share)])
    refuse(files[kind], "cannot be read as a Keras model", "fetch or save the file again")


def test_bytes_turned_over(files: tuple[Path, Path]) -> None:
    """Wherever a byte is wrong: a refusal, or (in the numbers of HDF5, which nothing guards) a conversion."""
    random = np.random.default_rng(0)
    for path in files:
        content = path.read_bytes()
        for place in random.integers(0, len(content), 15):
            path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
            result = CliRunner().invoke(main, ["inspect", str(path)])
            assert result.exit_code in (0, 2) and "Traceback" not in result.output, result.output
            assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)


def test_one_bit_of_a_weight(files: tuple[Path, Path]) -> None:
    """A zip has a checksum, which is compared although arrays are read past it; the whole file is taken as it is."""
    with h5py.File(files[1]) as file:
        numbers = file["model_weights/mid/mid/kernel"][...].tobytes()
    assert CliRunner().invoke(main, ["inspect", str(files[0])]).exit_code == 0
    content = bytearray(files[0].read_bytes())
    content[content.index(numbers) + 3] ^= 0x40
    files[0].write_bytes(content)
    refuse(files[0], "is damaged: model.weights.h5", "expected: CRC-32", "copy or download the file again")


@pytest.mark.parametrize("member", ["config.json", "model.weights.h5"])
def test_a_member_is_missing(files: tuple[Path, Path], tmp_path: Path, member: str) -> None:
    with zipfile.ZipFile(files[0]) as old, zipfile.ZipFile(tmp_path / "less.keras", "w") as new:
        for name in set(old.namelist()) - {member}:
            new.writestr(name, old.read(name))
    refuse(tmp_path / "less.keras", f"a zip without {member}")


# -- weights that do not fit -----------------------------------------------------------------------------


def weights_changed(source: Path, target: Path, change: Callable[[h5py.File], Any]) -> Path:
    """A copy of a `.keras` whose weights `change` has been at."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "model.weights.h5":
                inner = target.with_suffix(".inner")
                inner.write_bytes(data)
                with h5py.File(inner, "r+") as file:
                    change(file)
                data = inner.read_bytes()
                inner.unlink()
            new.writestr(name, data)
    return target


def replaced(file: h5py.File, path: str, array: Any) -> None:
    del file[path]
    file[path] = array


TREES: dict[str, tuple[Callable[[h5py.File], Any], tuple[str, ...]]] = {
    "one array less": (
        lambda f: f.__delitem__("layers/dense/vars/1"),
        ("'mid'", "holds 1 array under", "expected 2 (kernel, bias)"),
    ),
    "one layer less": (lambda f: f.__delitem__("layers/dense_1"), ("'head'", "holds 0 arrays")),
    "one layer more": (
        lambda f: f.create_dataset("layers/dense_2/vars/0", data=np.zeros(3)),
        ("layers/dense_2/vars/0", "no layer of its architecture has a place for 1 array of"),
    ),
    "one array more": (
        lambda f: f.create_dataset("layers/flatten/vars/0", data=np.zeros(3)),
        ("layers/flatten/vars/0", "no layer of its architecture has a place for 1 array of"),
    ),
    "another shape": (
        lambda f: replaced(f, "layers/dense/vars/0", np.zeros((65, 3), "f4")),
        ("'mid'", "[65, 3]", "expected [64, 3]"),
    ),
    "turned around": (
        lambda f: replaced(f, "layers/dense/vars/0", np.zeros((3, 64), "f4")),
        ("'mid'", "[3, 64]", "expected [64, 3]"),
    ),
    "no numbers": (
        lambda f: replaced(f, "layers/dense/vars/0", [b"text"]),
        ("layers/dense/vars/0", "expected numbers"),
    ),
    "complex numbers": (
        lambda f: replaced(f, "layers/dense/vars/0", np.zeros((64, 3), "c8")),
        ("complex64", "expected numbers"),
    ),
    "a group within itself": (
        lambda f: f.__setitem__("layers/loop", f["layers"]),
        ("layers/loop", "stands at another place"),
    ),
    "a link to another file": (
        lambda f: (
            f.__delitem__("layers/dense/vars/0"),
            f.__setitem__("layers/dense/vars/0", h5py.ExternalLink("/etc/passwd", "/")),
        ),
        ("a link to another place or file",),
    ),
    "a link within": (
        lambda f: (
            f.__delitem__("layers/dense/vars/0"),
            f.__setitem__("layers/dense/vars/0", h5py.SoftLink("/layers/dense_1/vars/0")),
        ),
        ("a link to another place or file",),
    ),
}


@pytest.mark.parametrize("what", TREES)
def test_weights_of_an_archive(files: tuple[Path, Path], tmp_path: Path, what: str) -> None:
    change, words = TREES[what]
    refuse(weights_changed(files[0], tmp_path / "bad.keras", change), *words)


NOTED: dict[str, tuple[Any, list[str]]] = {
    "as it was": (None, []),
    "a NaN": (np.nan, ["mid.weight (layer 'mid') holds NaN or infinite numbers, as the file does"]),
    "an infinity": (-np.inf, ["mid.weight (layer 'mid') holds NaN or infinite numbers, as the file does"]),
    "integers": (np.zeros((64, 3), "i4"), ["mid.weight (layer 'mid') is int32 in the file, where a weight that learns is expected to be float"]),
}  # fmt: skip


@pytest.mark.parametrize("what", NOTED)
def test_odd_weights_are_said(files: tuple[Path, Path], tmp_path: Path, what: str) -> None:
    given, notes = NOTED[what]

    def change(file: h5py.File) -> None:
        if isinstance(given, np.ndarray):
            replaced(file, "layers/dense/vars/0", given)
        elif given is not None:
            file["layers/dense/vars/0"][5, 1] = given

    path = weights_changed(files[0], tmp_path / "odd.keras", change)
    result = CliRunner().invoke(main, ["convert", str(path), "-o", str(tmp_path / "out"), "--flat"])
    assert [line[6:] for line in result.output.splitlines() if line.startswith("note: ")] == notes, result.output


ROOT = "model_weights"
GROUPS: dict[str, tuple[Callable[[h5py.File], Any], tuple[str, ...]]] = {
    "one layer less": (lambda f: f.__delitem__(f"{ROOT}/mid"), ("model_weights/mid", "holds nothing")),
    "one layer unlisted": (lambda f: f[ROOT].attrs.__setitem__("layer_names", [b"conv", b"head"]), ("'mid'",)),
    "one layer more": (lambda f: f.create_group(f"{ROOT}/more").attrs.__setitem__("weight_names", []), ()),
    "no names": (
        lambda f: f[f"{ROOT}/mid"].attrs.__delitem__("weight_names"),
        ("'mid'", "holds 0 arrays", "expected 2"),
    ),
    "names of nothing": (
        lambda f: f[f"{ROOT}/mid"].attrs.__setitem__("weight_names", [b"x", b"y"]),
        ("no array 'model_weights/mid/x'",),
    ),
    "the same twice": (
        lambda f: f[f"{ROOT}/mid"].attrs.__setitem__("weight_names", [b"mid/kernel", b"mid/kernel"]),
        ("two arrays of one name",),
    ),
    "a way out of the file": (
        lambda f: f[f"{ROOT}/mid"].attrs.__setitem__("weight_names", [b"../../../x", b"/etc/passwd"]),
        ("no array",),
    ),
}


@pytest.mark.parametrize("what", GROUPS)
def test_weights_of_hdf5(files: tuple[Path, Path], what: str) -> None:
    change, words = GROUPS[what]
    with h5py.File(files[1], "r+") as file:
        change(file)
    if words:
        refuse(files[1], *words)
    else:
        assert CliRunner().invoke(main, ["inspect", str(files[1])]).exit_code == 0


def test_weights_without_an_architecture(files: tuple[Path, Path], tmp_path: Path) -> None:
    with zipfile.ZipFile(files[0]) as file:
        (tmp_path / "m.weights.h5").write_bytes(file.read("model.weights.h5"))
    with h5py.File(files[1]) as old, h5py.File(tmp_path / "old.h5", "w") as new:
        old.copy(ROOT, new)
    for name in ("m.weights.h5", "old.h5"):
        refuse(tmp_path / name, "weights without an architecture", f"give model.json --weights {name}")


def test_an_architecture_without_weights(files: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps(config_of(files[1])))
    refuse(tmp_path / "m.json", "an architecture without weights", "--weights FILE.h5")
    refuse(tmp_path / "m.json", "json where weights were expected", options=("--weights", tmp_path / "m.json"))
    refuse(tmp_path / "m.json", "cannot be read", "No such file", options=("--weights", tmp_path / "none.h5"))
    refuse(files[1], "has weights of its own", options=("--weights", files[1]))


def test_weights_of_another_model(files: tuple[Path, Path], bench_model: str, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps(config_of(files[1])))
    refuse(tmp_path / "m.json", "expected", options=("--weights", bench_model))


# -- configs that say what cannot be ---------------------------------------------------------------------


def layer_of(config: dict[str, Any], name: str) -> dict[str, Any]:
    return next(layer for layer in config["config"]["layers"] if layer["config"]["name"] == name)


def history(layer: dict[str, Any]) -> list[Any]:
    found: list[Any] = layer["inbound_nodes"][0]["args"][0]["config"]["keras_history"]
    return found


def first(config: dict[str, Any]) -> dict[str, Any]:
    """The config of the input."""
    found: dict[str, Any] = config["config"]["layers"][0]["config"]
    return found


def several(config: dict[str, Any]) -> None:
    """One layer each that the reader, the registry and a converter refuse."""
    layer_of(config, "conv").update(class_name="Lambda", config={"name": "conv", "function": ["4wEAAAA=", None, None]})
    layer_of(config, "flat").update(class_name="Mystery", registered_name="pack>Mystery")
    layer_of(config, "mid")["config"]["dtype"] = {
        "class_name": "QuantizedDTypePolicy",
        "config": {"mode": "int8", "source_name": "float32"},
    }
    layer_of(config, "head")["config"]["colour"] = "red"


CONFIGS: dict[str, tuple[Callable[[dict[str, Any]], Any], tuple[str, ...]]] = {
    "a cycle": (lambda c: history(layer_of(c, "flat")).__setitem__(0, "head"), ("cycle", "flat", "mid", "head")),
    "its own input": (lambda c: history(layer_of(c, "mid")).__setitem__(0, "mid"), ("cycle", "mid")),
    "an unknown input": (lambda c: history(layer_of(c, "mid")).__setitem__(0, "ghost"), ("'ghost'", "does not exist")),
    "a call too many": (lambda c: history(layer_of(c, "mid")).__setitem__(1, 7), ("call 7", "does not exist")),
    "an output too many": (lambda c: history(layer_of(c, "mid")).__setitem__(2, 3), ("flat",)),
    "an unknown output": (lambda c: c["config"].update(output_layers=["ghost", 0, 0]), ("'ghost'", "does not exist")),
    "no outputs": (lambda c: c["config"].update(output_layers=[]), ("no inputs or no outputs",)),
    "no layers": (lambda c: c["config"].update(layers=None), ("no list of layers",)),
    "two of one name": (lambda c: layer_of(c, "head").update(name="mid"), ("two layers of one name",)),
    "a class of its own": (
        lambda c: c.update(class_name="MyModel", module="mine", registered_name="mine>MyModel"),
        ("MyModel", "class of its own"),
    ),
    "no config": (lambda c: c.update(config=3), ("no list of layers",)),
    "a layer that is none": (lambda c: c["config"]["layers"].__setitem__(1, "x"), ("no class_name",)),
    "several gaps": (several, ("4 layers", "Lambda 'conv'", "Mystery 'flat'", "quantized", "colour='red'")),
    "infinite": (lambda c: layer_of(c, "mid")["config"].update(units=float("inf")), ("the number inf", "'mid'")),
    "another padding": (
        lambda c: layer_of(c, "conv")["config"].update(padding="weird"),
        ("padding='weird', expected 'valid' or 'same'",),
    ),
    "one size of two": (lambda c: layer_of(c, "conv")["config"].update(kernel_size=[3]), ("[3] where 2 sizes",)),
    "no class": (lambda c: c.update(class_name=None), ("states no class_name",)),
    "a size below zero": (lambda c: first(c).update(batch_shape=[None, 6, 6, -2]), ("[?, 6, 6, -2]", "no array")),
    "a size of zero": (lambda c: first(c).update(batch_shape=[None, 0, 6, 2]), ("[?, 0, 6, 2]", "no array")),
    "a huge input": (lambda c: first(c).update(batch_shape=[None, 6, 6, 10**30]), ("no array can have",)),
    "a huge layer": (lambda c: layer_of(c, "mid")["config"].update(units=10**9), ("'mid'", "[64, 3]")),
    "an unknown key": (lambda c: layer_of(c, "mid")["config"].update(x=1), ("Dense 'mid'", "x=1")),
    "an unknown activation": (
        lambda c: layer_of(c, "mid")["config"].update(activation="glow"),
        ("Dense 'mid'", "glow"),
    ),
}


@pytest.mark.parametrize("what", CONFIGS)
def test_configs(files: tuple[Path, Path], tmp_path: Path, what: str) -> None:
    change, words = CONFIGS[what]
    refuse(edited(files[0], tmp_path / "bad.keras", change), *words)


def test_gaps_of_hdf5(files: tuple[Path, Path], tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        layer_of(config, "conv").update(class_name="Mystery")
        layer_of(config, "mid").update(class_name="Lambda")

    refuse(edited_h5(files[1], tmp_path / "bad.h5", change), "2 layers", "Mystery 'conv'", "Lambda 'mid'")


def test_layers_of_keras_without_a_converter(files: tuple[Path, Path], tmp_path: Path) -> None:
    """They are called what they are, and told together; what Keras does not have is somebody's own."""

    def change(config: dict[str, Any]) -> None:
        for name, class_name in (("conv", "RandomFlip"), ("flat", "RandomZoom"), ("mid", "TextVectorization")):
            layer_of(config, name).update(class_name=class_name)
        layer_of(config, "head").update(class_name="Mystery")

    said = refuse(edited(files[0], tmp_path / "bad.keras", change), "4 layers", "RandomFlip 'conv', RandomZoom 'flat'")
    assert said.count("way out:") == 3 and said.count("it does nothing in inference") == 1
    assert said.count("if it is your own class") == 1
    assert not [key for key in REFUSED if lookup(key) is not None]


@pytest.mark.parametrize(
    "subscripts",
    [
        "ij,jk->ik'); import os; ('",
        "ij,jk->iz",
        "ij,jk->ii",
        "ij,jk\n->ik",
        "i.j,jk->ik",
        "ij->ij",
        "ijk,jk->ik",
        "",
        7,
        None,
        ["ij,jk->ik"],
    ],
)
def test_equations(bench: Bench, tmp_path: Path, subscripts: Any) -> None:
    def change(config: dict[str, Any]) -> None:
        next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Einsum")["config"][
            "subscripts"
        ] = subscripts

    refuse(edited(bench.ask(EINSUM)["paths"][0], tmp_path / "bad.keras", change), "Einsum 'einsum")


def test_names_of_models_and_files(files: tuple[Path, Path], tmp_path: Path) -> None:
    """A name in a message cannot play terminal, and the file's own name is no code either."""
    source = tmp_path / 'x"; import os #\n\x1b[31m.keras'
    edited(files[0], source, lambda config: renamed(config, "mid", "\x1b[2Jmid\n  what to do: nothing"))
    done = CliRunner().invoke(main, ["convert", str(source), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    text = "".join((tmp_path / "out" / name).read_text() for name in ("model.py", "README.md"))
    assert "\x1b" not in text and "import os" not in (tmp_path / "out" / "model.py").read_text().split('"""')[2]


def test_a_file_where_a_folder_should_be(files: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = CliRunner().invoke(main, ["convert", str(files[0]), "-o", str(tmp_path / "file" / "sub")])
    assert result.exit_code == 2 and f"found: {tmp_path / 'file'} is a file, no folder" in result.stderr, result.output


# -- no room ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 500, 20_000])
def test_the_disk_is_full(bench: Bench, tmp_path: Path, size: int) -> None:
    """No file may grow beyond some bytes: writing breaks off at the source, or in the middle of the weights."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    bulky = bench.ask(case("bulky", "Dense(200)", (50,)))["paths"][0]
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
        result = CliRunner().invoke(main, ["convert", bulky, "-o", str(tmp_path / "out")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert result.exit_code == 2 and "cannot be written" in result.stderr, result.output
    assert "nothing was written" in result.stderr and not list(tmp_path.iterdir())
