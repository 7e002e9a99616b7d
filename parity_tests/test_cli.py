"""The commands as a user calls them: results, exit codes, messages, nothing half-written."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import migrate
from converters.errors import number_of
from migrate.cli import main
from parity_tests.archives import edited

pytestmark = pytest.mark.usefixtures("bench_model")


def tf2torch(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(result: Result, *words: str) -> None:
    """Exit code 2, no traceback, and a message that holds the words."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr, result.stderr


def test_convert_says_what_it_did(bench_model: str, tmp_path: Path) -> None:
    result = tf2torch("convert", bench_model, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "2 layers, 39 parameters (39 trainable), 0 permutes" in result.output
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "README.md",
        "migration.json",
        "model.py",
        "weights.safetensors",
    ]
    assert list(tmp_path.iterdir()) == [tmp_path / "out"]


def test_convert_json(bench_model: str, tmp_path: Path) -> None:
    found = json.loads(tf2torch("convert", bench_model, "-o", tmp_path / "out", "--json").stdout)
    assert found["ok"] is True and found["route"] == "direct" and found["layers"] == 2 and found["gaps"] == []
    assert found["parameters"] == {"total": 39, "trainable": 39}
    assert found["permutes"] == 0 and found["seconds"] > 0 and "model.py" in found["files"]


def test_inspect(bench_model: str) -> None:
    assert "can be converted" in tf2torch("inspect", bench_model).output
    found = json.loads(tf2torch("inspect", bench_model, "--json").stdout)
    assert (
        found["ok"]
        and found["inputs"][0]["shape"] == [None, 5]
        and found["layer_list"][0]["converter"] == "layers.Dense"
    )


def test_gaps_are_reported_together(bench_model: str, tmp_path: Path) -> None:
    def change(config: dict) -> None:  # type: ignore[type-arg]  # JSON
        layers = config["config"]["layers"]
        layers[1]["class_name"], layers[2]["config"]["color"] = "Mystery", "red"

    source = edited(bench_model, tmp_path / "gaps.keras", change)
    refused(tf2torch("convert", source, "-o", tmp_path / "out"), "2 layers", "Mystery", "color='red'", "way out")
    assert not (tmp_path / "out").exists()
    result = tf2torch("convert", source, "-o", tmp_path / "out", "--json")
    assert [gap["class"] for gap in json.loads(result.stdout)["gaps"]] == ["Mystery", "Dense"]
    inspected = tf2torch("inspect", source, "--json")
    assert inspected.exit_code == 0 and json.loads(inspected.stdout)["ok"] is False


def test_a_folder_that_exists(bench_model: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    tf2torch("convert", bench_model, "-o", out)
    (out / "model.py").write_text("mine")
    refused(tf2torch("convert", bench_model, "-o", out), "exists", "--overwrite")
    assert (out / "model.py").read_text() == "mine"
    assert tf2torch("convert", bench_model, "-o", out, "--overwrite").exit_code == 0
    assert "class" in (out / "model.py").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_others_is_never_replaced(bench_model: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    refused(tf2torch("convert", bench_model, "-o", tmp_path / "mine", "--overwrite"), "will not be replaced")
    (tmp_path / "file").write_text("x")
    refused(tf2torch("convert", bench_model, "-o", tmp_path / "file", "--overwrite"), "will not be replaced")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_a_full_disk(bench_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("migrate.pipeline.write_safetensors", full)
    refused(tf2torch("convert", bench_model, "-o", tmp_path / "out"), "cannot be written", "No space left")
    assert list(tmp_path.iterdir()) == []


def test_too_little_room_is_found_first(bench_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10})())
    refused(tf2torch("convert", bench_model, "-o", tmp_path / "out"), "too little room", "10 bytes free")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(bench_model: str) -> None:
    refused(tf2torch("convert", bench_model, "-o", "/proc/out"), "cannot be written")


@pytest.mark.parametrize("name", ["1x", "class", "a b", "nn", "x;import os", "größe"])
def test_a_class_name_must_be_one(bench_model: str, tmp_path: Path, name: str) -> None:
    refused(tf2torch("convert", bench_model, "-o", tmp_path / "out", "--name", name), "cannot be the name of a class")


@pytest.mark.parametrize("shape", ["x", "0,3", "-1", ",", "3;4"])
def test_an_input_shape_must_be_one(bench_model: str, tmp_path: Path, shape: str) -> None:
    refused(tf2torch("convert", bench_model, "-o", tmp_path / "out", "--input-shape", shape), "--input-shape")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    refused(tf2torch("inspect", tmp_path / "nothing.keras"), "cannot be read", "No such file")


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = tf2torch("inspect", tmp_path / "nothing.keras", "--debug")
    assert isinstance(result.exception, migrate.UserError)


def test_no_command_imports_a_framework_of_the_other_side(bench_model: str, tmp_path: Path) -> None:
    code = (
        "import sys, migrate\n"
        "migrate.convert(sys.argv[1], sys.argv[2])\n"
        "migrate.inspect(sys.argv[1])\n"
        "print([m for m in ('tensorflow', 'keras', 'tf_keras', 'onnx', 'tf2onnx') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, bench_model, str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_version() -> None:
    output = tf2torch("--version").output
    assert f"tf2torch {migrate.__version__}" in output and "torch 2" in output


def test_errors_of_our_own_are_messages_too(bench_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("migrate.pipeline.convert_file", broken)
    arguments = ["convert", bench_model, "-o", str(tmp_path / "out")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert "an error in tf2torch itself: ZeroDivisionError: planted" in done.stderr and "--debug" in done.stderr
    assert isinstance(CliRunner().invoke(main, [*arguments, "--debug"]).exception, ZeroDivisionError)


def test_one_is_singular() -> None:
    assert [number_of(count, "layer") for count in (0, 1, 2, 2000)] == [
        "0 layers",
        "1 layer",
        "2 layers",
        "2,000 layers",
    ]
