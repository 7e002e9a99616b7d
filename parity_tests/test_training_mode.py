"""What `model.train()` does to what was converted: frozen layers, running statistics, dropout."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import migrate
from parity_tests.case import case
from parity_tests.conftest import Bench

FROZEN = case(
    "frozen in training",
    "Conv2D(4, 3, trainable=False), BatchNormalization(trainable=False), ReLU(), BatchNormalization()",
    (6, 6, 2),
)
NOISY = case("noisy", "Dense(64), Dropout(0.5), GaussianNoise(1.0), ActivityRegularization(l2=1.0), Dense(3)", (5,))


def converted(bench: Bench, what: object, folder: Path, **options: bool) -> nn.Module:
    migrate.convert(Path(bench.ask(what)["paths"][0]), folder, **options)  # type: ignore[arg-type]
    return migrate.load(folder, dtype=torch.float64)


def test_frozen_layers_stay_as_they_are(bench: Bench, tmp_path: Path) -> None:
    model = converted(bench, FROZEN, tmp_path / "out").train()
    text = (tmp_path / "out" / "model.py").read_text()
    assert re.search(r"        self\.\w+\.eval\(\)\n        return self", text) and "for module in" not in text
    frozen, learning = (m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    assert not frozen.training and learning.training
    assert [p.requires_grad for p in model.parameters()] == [False, False, False, False, True, True]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model(torch.randn(8, 2, 6, 6, dtype=torch.float64)).square().sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    moved = {name.rpartition(".")[0] for name, tensor in model.state_dict().items() if not tensor.equal(before[name])}
    assert [model.get_submodule(name) for name in moved] == [learning]
    assert all(not module.training for module in model.eval().modules())


@pytest.mark.parametrize("exact", [True, False])
def test_running_variance_is_biased_only_if_exact(bench: Bench, tmp_path: Path, exact: bool) -> None:
    """Keras keeps sum / n of a batch, nn.BatchNorm2d sum / (n - 1); what normalizes the batch is sum / n in both."""
    model = converted(bench, FROZEN, tmp_path / "out", exact=exact).train()
    norm = [m for m in model.modules() if hasattr(m, "running_var")][-1]
    seen: list[torch.Tensor] = []
    norm.register_forward_hook(lambda module, given, made: seen.extend((given[0], made)))
    before = norm.running_var.clone()
    model(torch.randn(8, 2, 6, 6, dtype=torch.float64))
    x, y = seen
    var, mean = torch.var_mean(x, (0, 2, 3), correction=0 if exact else 1)
    torch.testing.assert_close(norm.running_var, 0.99 * before + 0.01 * var)
    biased = x.var((0, 2, 3), correction=0)
    scale = norm.weight / (biased + 1e-3).sqrt()
    expected = (x - mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(y, expected)


def test_noise_is_there_in_training_only(bench: Bench, tmp_path: Path) -> None:
    model, x = converted(bench, NOISY, tmp_path / "out"), torch.randn(4, 5, dtype=torch.float64)
    assert torch.equal(model(x), model(x))
    assert not torch.equal(model.train()(x), model(x))


MASKED = case("masked batchnorm", "Embedding(50, 4, mask_zero=True), BatchNormalization(), LSTM(3)", ("int32", 9))


def test_masked_statistics_are_told(bench: Bench, tmp_path: Path) -> None:
    source = Path(bench.ask(MASKED)["paths"][0])
    assert any("masked steps" in what for what in migrate.convert(source, tmp_path / "out").drift)
    with pytest.raises(migrate.UserError, match="masked steps"):
        migrate.convert(source, tmp_path / "exact", exact=True)
