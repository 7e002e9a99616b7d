"""Every case: convert the saved model, compare with Keras, count parameters, export, compile, read the text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import migrate
from migrate.loading import read_migration
from migrate.pipeline import convert_file
from parity_tests.case import Case
from parity_tests.cases import families
from parity_tests.parity import flat, judge, sets, tensors
from parity_tests.texts import Texts

# torch.compile and torch.export take longer than all the rest: each construct once, and every case in the sweep.
ALL = [pytest.param(case, id=f"{family}: {case.name}") for family, cases in families().items() for case in cases]


@pytest.mark.parametrize("case", ALL)
def test_case(case: Case, built: Mapping[str, Any], texts: Texts, tmp_path: Path) -> None:
    reference = dict(np.load(built["reference"]))
    for path in built["paths"]:
        folder = tmp_path / Path(path).suffix[1:]
        conversion = convert_file(Path(path), folder)
        for what, verdict in judge(folder, reference, case.leak):
            assert verdict.passed, f"{what}: {verdict}\n{(folder / 'model.py').read_text()}"
        assert conversion.parameters == {"total": built["total"], "trainable": built["trainable"]}
        assert trainable(folder) == built["trainable"]
        if case.permutes is not None:
            assert conversion.permutes == case.permutes, (folder / "model.py").read_text()
        texts.add(f"{case.name} {folder.name}", folder / "model.py")
    if texts.is_news(folder / "model.py"):
        exports_and_compiles(folder, sets(reference, "in")[0])


@pytest.mark.sweep
@pytest.mark.parametrize("case", ALL)
def test_every_case_exports_and_compiles(case: Case, built: Mapping[str, Any], tmp_path: Path) -> None:
    convert_file(Path(built["paths"][0]), tmp_path / "out")
    exports_and_compiles(tmp_path / "out", sets(dict(np.load(built["reference"])), "in")[0])


def trainable(folder: Path) -> int:
    """What an optimizer would move."""
    return sum(p.numel() for p in migrate.load(folder).parameters() if p.requires_grad)


def exports_and_compiles(folder: Path, inputs: list[np.ndarray[Any, Any]]) -> None:
    """`torch.export` and `torch.compile(fullgraph=True)` give what eager gives.

    nn.LSTM, nn.GRU and nn.RNN are traced by torch.compile only if it is told to (`allow_rnn`); else they break the graph.
    """
    model = migrate.load(folder, dtype=torch.float32)
    given = tensors(read_migration(folder), inputs, torch.float32)
    with torch.no_grad(), torch._dynamo.config.patch(allow_rnn=True):
        eager = flat(model(*given))
        exported = flat(torch.export.export(model, tuple(given)).module()(*given))
        torch.compiler.reset()
        compiled = flat(torch.compile(model, fullgraph=True, backend="eager")(*given))
    for expected, *others in zip(eager, exported, compiled, strict=True):
        for other in others:
            torch.testing.assert_close(other, expected, rtol=1e-5, atol=1e-6, equal_nan=True)
