"""Nothing in a model file is trusted: no string of it becomes code, whatever it says and wherever it stands."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import torch

import migrate
from migrate.emit.literals import literal, prose
from migrate.emit.names import MODULE_ATTRIBUTES, class_name_of, identifier
from parity_tests.archives import edited, renamed
from parity_tests.case import case
from parity_tests.conftest import Bench

VICTIM = case(
    "victim",
    "lambda a: Dense(3, activation='relu', name='dense_victim')(Flatten(name='flat_victim')(Conv2D(4, 3, name='conv_victim')(a)))",
    (6, 6, 2),
)
NAMES = [
    'x"; import os #',
    "'''+__import__('os').system('touch PWNED')+'''",
    '"""\nimport os\nos.system("touch PWNED")\n"""',
    "a\nb\r\u2028c",
    "\\",
    "{__import__('os')}",
    "__class__",
    "self",
    "forward",
    "class",
    "match",
    "T_destination",
    "import",
    "_",
    "..",
    "/",
    "größe",
    "層",
    "1st",
    "x" * 5000,
    "weight\x00",
    "$(touch PWNED)",
    "`touch PWNED`",
]
ALLOWED_IMPORTS = {"torch", "math", "typing", "functools"}


@pytest.mark.parametrize("layer", ["conv_victim", "dense_victim", "victim_input", "functional"])
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_names_become_identifiers(bench: Bench, tmp_path: Path, layer: str, name: str) -> None:
    source = edited(bench.ask(VICTIM)["paths"][0], tmp_path / "m.keras", lambda config: in_place(config, layer, name))
    try:
        migrate.convert(source, tmp_path / "out")
    except migrate.UserError:
        assert not (tmp_path / "out").exists()
        return
    harmless(tmp_path / "out")


def in_place(config: dict[str, Any], layer: str, name: str) -> Any:
    first = config["config"]["layers"][0]["config"]["name"]
    return renamed(config, {"victim_input": first, "functional": config["config"]["name"]}.get(layer, layer), name)


PAYLOAD = "relu'); __import__('os').system('touch PWNED'); ('"
SETTINGS: dict[str, Any] = {
    "activation": [
        PAYLOAD,
        {"class_name": PAYLOAD, "config": {}},
        {"class_name": "function", "config": PAYLOAD},
        7,
        [PAYLOAD],
    ],
    "padding": [PAYLOAD, None, 3, ["same"]],
    "data_format": [PAYLOAD, 1],
    "kernel_size": [PAYLOAD, [3, PAYLOAD], [3], -1, 10**30, [0, 0]],
    "strides": [PAYLOAD, [0, 0], [-1, 1], 1.5],
    "filters": [PAYLOAD, -4, 0, 10**12, True, None, float("nan")],
    "dilation_rate": [PAYLOAD, [0, 1]],
    "groups": [PAYLOAD, 3, 0],
    "use_bias": [PAYLOAD, 1],
    "dtype": [PAYLOAD, {"class_name": PAYLOAD, "config": {"name": PAYLOAD}}],
    PAYLOAD: [1],
}


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, vs in SETTINGS.items() for v in vs])
def test_settings_are_checked(bench: Bench, tmp_path: Path, key: str, value: Any) -> None:
    def change(config: dict[str, Any]) -> None:
        layers = config["config"]["layers"]
        next(c for c in layers if c["config"]["name"] == "conv_victim")["config"][key] = value

    source = edited(bench.ask(VICTIM)["paths"][0], tmp_path / "m.keras", change)
    try:
        migrate.convert(source, tmp_path / "out")
    except migrate.UserError as error:
        assert "conv_victim" in str(error), error
        assert not (tmp_path / "out").exists()
        return
    assert key in ("dtype",), f"{key}={value!r} was taken"
    harmless(tmp_path / "out")


@pytest.mark.parametrize("field", ["class_name", "module", "shape", "keras_history"])
def test_fields_of_the_graph_are_checked(bench: Bench, tmp_path: Path, field: str) -> None:
    source = edited(bench.ask(VICTIM)["paths"][0], tmp_path / "m.keras", lambda config: everywhere(config, field))
    with pytest.raises(migrate.UserError):
        migrate.convert(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_field_that_means_nothing_does_nothing(bench: Bench, tmp_path: Path) -> None:
    change = lambda config: everywhere(config, "registered_name")  # noqa: E731
    migrate.convert(edited(bench.ask(VICTIM)["paths"][0], tmp_path / "m.keras", change), tmp_path / "out")
    harmless(tmp_path / "out")


def everywhere(config: Any, field: str) -> Any:
    if isinstance(config, dict):
        return {k: PAYLOAD if k == field else everywhere(v, field) for k, v in config.items()}
    return [everywhere(item, field) for item in config] if isinstance(config, list) else config


def harmless(folder: Path) -> None:
    """The emitted text imports what it may, calls no dunder, and does nothing when it is imported and run."""
    tree = ast.parse((folder / "model.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            assert {str(module).partition(".")[0] for module in modules} <= ALLOWED_IMPORTS
        if isinstance(node, ast.Name):
            assert node.id not in {"os", "exec", "eval", "__import__", "open", "getattr"}
    before = set(Path.cwd().iterdir())
    migrate.load(folder)(torch.rand(1, 2, 6, 6))
    assert set(Path.cwd().iterdir()) == before


def test_reserved_names_are_those_of_torch() -> None:
    from torch import nn

    public = {name for name in dir(nn.Module()) if not name.startswith("_")}
    assert public <= MODULE_ATTRIBUTES


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_words_and_literals(name: str) -> None:
    assert identifier(name) == "" or identifier(name).isidentifier()
    assert class_name_of(name, "Model").isidentifier()
    assert ast.literal_eval(literal(name)) == name
    assert "\n" not in prose(name) and '"' not in prose(name) and "\\" not in prose(name)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.001, "1e-3"), (1.001e-05, "1.001e-5"), (0.99, "0.99"), (6.0, "6.0"), (0.1, "0.1"), (1e20, "1e20"),
        (1 / 3, "1 / 3"), (1 / 255, "1 / 255"), (2 / 3, "2 / 3"), (1 / 127.5, "1 / 127.5"), (5 / 7, "0.7142857142857143"), (-0.5, "-0.5"), (float("inf"), 'float("inf")'), (100000.0, "1e5"),
        ((3,), "(3,)"), ([1, None, True], "[1, None, True]"), ({"a": 1}, '{"a": 1}'), ("it's", '"it\'s"'),
    ],
)  # fmt: skip
def test_literals_as_people_write_them(value: Any, text: str) -> None:
    assert literal(value) == text
    assert eval(literal(value)) == value


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("resnet152v2", "ResNet152V2"),
        ("mobilenetv2_1.00_224", "MobileNetV2"),
        ("digits_cnn", "DigitsCNN"),
        ("conv2", "Conv2"),
    ],
)
def test_names_of_classes_as_people_write_them(name: str, wanted: str) -> None:
    assert class_name_of(name, "Model") == wanted
