"""The emitted folder needs torch, safetensors and numpy, and nothing of ours; the model does what modules do."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import migrate
from parity_tests.case import case
from parity_tests.conftest import Bench

NET = case(
    "standalone",
    "Conv2D(4, 3), BatchNormalization(), ReLU(), GlobalAveragePooling2D(), Dropout(0.2), Dense(3, activation='softmax')",
    (8, 8, 2),
)
FORBIDDEN = ("migrate", "converters", "keras", "tensorflow", "h5py", "ruff", "click", "rich")


@pytest.fixture(scope="module")
def folder(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("standalone") / "net"
    migrate.convert(bench.ask(NET)["paths"][0], target, name="Net")
    return target


def test_the_readme_runs_where_only_torch_is(folder: Path, tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    assert code is not None
    blocked = f"import sys\nsys.modules.update(dict.fromkeys({FORBIDDEN}))\n"
    script = blocked + code[1] + "\nimport torch\nprint(tuple(model(torch.rand(2, 2, 8, 8)).shape))\n"
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(2, 3)"


def test_state_dict_is_the_file(folder: Path) -> None:
    model = migrate.load(folder)
    stored = load_file(folder / "weights.safetensors")
    assert list(stored) == sorted(model.state_dict()) or set(stored) == set(model.state_dict())
    model.load_state_dict(stored, strict=True)


def test_it_is_an_ordinary_module(folder: Path) -> None:
    model = migrate.load(folder)
    x = torch.rand(2, 2, 8, 8)
    expected = model(x)
    torch.testing.assert_close(copy.deepcopy(model)(x), expected)
    torch.testing.assert_close(model.double()(x.double()).float(), expected)
    model.float()
    seen: list[torch.Size] = []
    hook = next(m for m in model.modules() if isinstance(m, nn.Conv2d)).register_forward_hook(
        lambda module, args, output: seen.append(output.shape)
    )
    nn.DataParallel(model)(x)
    assert seen == [torch.Size((2, 4, 6, 6))]
    hook.remove()
    assert model.half().bn.weight.dtype == torch.float16
    assert model.train().training and not model.eval().training


def test_it_pickles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "model", raising=False)
    from model import Net  # type: ignore[import-not-found]  # the emitted file

    model = Net().eval()
    x = torch.rand(2, 2, 8, 8)
    torch.testing.assert_close(pickle.loads(pickle.dumps(model))(x), model(x))
    sys.modules.pop("model")


def test_two_conversions_are_the_same(bench: Bench, folder: Path, tmp_path: Path) -> None:
    migrate.convert(bench.ask(NET)["paths"][0], tmp_path / "again", name="Net")
    for name in ("model.py", "migration.json", "README.md", "weights.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
