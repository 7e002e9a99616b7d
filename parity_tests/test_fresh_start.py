"""`train.py --fresh` and initial.py: new weights with the distributions of Keras, in every place of a model."""

from __future__ import annotations

import importlib
import json
import runpy
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import migrate
from parity_tests import projects
from parity_tests.case import case
from parity_tests.conftest import Bench

RESIDUAL = case(
    "residual blocks with l2",
    "lambda x: (lambda block: Dense(4)(Conv2D(24, 1, trainable=False)(block(block(block("
    "Conv2D(24, 1, kernel_regularizer='l2')(x), 72), 96), 120))))(lambda x, width: Add()([x, Conv2D(24, 1,"
    " kernel_regularizer='l2')(DepthwiseConv2D(3, padding='same', depthwise_initializer='lecun_uniform')(ReLU()("
    "BatchNormalization()(Conv2D(width, 1, use_bias=False, kernel_initializer='he_normal', kernel_regularizer='l2')"
    "(x)))))]))",
    (6, 6, 3),
)  # fmt: skip


def opened(project: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[nn.Module, Callable[[nn.Module], None]]:
    """The model of a project and its `reset_parameters`, imported as train.py imports them."""
    monkeypatch.syspath_prepend(str(project))
    monkeypatch.delitem(sys.modules, "model", raising=False)
    name = json.loads((project / "migration.json").read_text())["class_name"]
    model: nn.Module = getattr(importlib.import_module("model"), name)()
    model.load_state_dict(load_file(project / "weights.safetensors"))
    return model, runpy.run_path(str(project / "initial.py"))["reset_parameters"]


def state(model: nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    return {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}


def unlike(ours: Mapping[str, Any], keras: Mapping[str, Any]) -> list[str]:
    """The tensors whose numbers cannot come from one distribution: constants differ, or bounds or spread do."""
    found = []
    for name, expected in keras.items():
        one, spread = ours[name], expected.std()
        same = np.array_equal(one, expected) if spread == 0 else abs(one.std() / spread - 1) < 5 / expected.size**0.5
        found += [] if same else [name]
    return found


@pytest.mark.parametrize("name", projects.MODELS)
def test_starts_as_keras_does(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file holds what Keras drew: ours are other numbers of the same kind. PyTorch's own start is another."""
    migrate.scaffold(projects.fitted() / name / "initial.keras", tmp_path / "p")
    model, _ = opened(tmp_path / "p", monkeypatch)
    keras = state(model)
    for part in model.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
    assert unlike(state(model), keras)
    model, reset_parameters = opened(tmp_path / "p", monkeypatch)
    reset_parameters(model)
    assert not unlike(state(model), keras)
    drawn = [key for key, value in keras.items() if value.std() > 0 and "bias" not in key]
    assert drawn
    assert not [key for key in drawn if np.array_equal(state(model)[key], keras[key])]


def test_blocks_stages_and_frozen_layers(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop says what a class of modules has in common; a depthwise convolution has Keras' fans; frozen is frozen."""
    migrate.scaffold(bench.saved(RESIDUAL), tmp_path / "p", loss="mse")
    text, train = ((tmp_path / "p" / name).read_text() for name in ("initial.py", "train.py"))
    assert 'variance_scaling(block.depthwise_conv.weight, mode="fan_out", distribution="uniform")' in text
    assert "any(weight.requires_grad for weight in module.parameters())" in text
    assert "model.blocks[0].conv1.weight," in train
    model, reset_parameters = opened(tmp_path / "p", monkeypatch)
    before = state(model)
    reset_parameters(model)
    after = state(model)
    same = {key for key in before if np.array_equal(before[key], after[key]) and "num_batches" not in key}
    assert same == {key for key, p in model.named_parameters() if not p.requires_grad} != set()
    means = [value for key, value in after.items() if key.endswith("running_mean")]
    assert means
    assert not np.concatenate(means).any()
    depthwise = next(value for key, value in after.items() if value.shape == (120, 1, 3, 3))
    assert np.abs(depthwise).max() == pytest.approx((3 / (9 * 120)) ** 0.5, rel=0.05)  # Keras: fan_in is 9 * 120


def test_penalty_of_a_stage_is_that_of_its_weights(tmp_path: Path) -> None:
    """Every weight once, whichever loop names it."""
    migrate.scaffold(projects.fitted() / "regularized" / "initial.keras", tmp_path / "p")
    text = (tmp_path / "p" / "train.py").read_text()
    body = (
        text[text.index("    return", text.index("def penalty")) :].split("\n\n\n")[0].strip().removeprefix("return ")
    )
    model = migrate.load(tmp_path / "p")
    seen: list[torch.Tensor] = []

    def l1_l2(weight: torch.Tensor, l1: float = 0.0, l2: float = 0.0) -> int:
        seen.append(weight)
        return 0

    eval(body, {"l1_l2": l1_l2, "model": model, "nn": nn})  # the project's own line
    names = {id(p): name for name, p in model.named_parameters()}
    found = [names[id(weight)] for weight in seen]
    assert len(found) == len(set(found)) == 8
    assert {name for name in names.values() if name.endswith("weight") and "ln" not in name} - set(found) == {
        "head.weight"
    }


def with_initializer(model: Path, target: Path, layer: str, initializer: object) -> Path:
    """A copy of a .keras file whose layers of a class say another kernel_initializer."""
    with zipfile.ZipFile(model) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                config = json.loads(content)
                for one in config["config"]["layers"]:
                    if one["class_name"] == layer:
                        one["config"]["kernel_initializer"] = initializer
                content = json.dumps(config).encode()
            copy.writestr(name, content)
    return target


def test_initializer_that_is_not_keras_own_is_a_marked_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project is written: nothing but --fresh needs it."""
    own = {"module": "mine", "class_name": "Mine\n", "config": {}, "registered_name": "mine>Mine"}
    path = with_initializer(projects.fitted() / "mlp" / "initial.keras", tmp_path / "m.keras", "Dense", own)
    migrate.scaffold(path, tmp_path / "p")
    model, reset_parameters = opened(tmp_path / "p", monkeypatch)
    with pytest.raises(NotImplementedError, match=r"fc1.weight .*Mine.*write it here"):
        reset_parameters(model)


def test_fresh_training_begins_anew_and_resumes(tmp_path: Path) -> None:
    """Two seeds start apart; each runs as it is written, and goes on."""
    migrate.scaffold(projects.fitted() / "mlp" / "initial.keras", tmp_path / "p")
    data = ("--data", projects.data_of("mlp"), "--fresh", "--no-shuffle")
    for seed in (1, 2):
        projects.run(tmp_path / "p", "train.py", *data, "--epochs", 1, "--seed", seed, "--output", f"run{seed}")
    first, second = (projects.history(tmp_path / "p" / f"run{seed}")[0]["loss"] for seed in (1, 2))
    assert first != second
    projects.run(tmp_path / "p", "train.py", "--resume", "--epochs", 2, "--output", "run1")
    assert projects.history(tmp_path / "p" / "run1")[0]["loss"] == first
