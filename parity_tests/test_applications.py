"""The 40 architectures of keras.applications: a few in every run, all of them in the sweep.

Weights are random with perturbed BatchNorm statistics; images are small, which changes no layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from migrate.pipeline import convert_file
from parity_tests.case import Case, case
from parity_tests.goldens import golden
from parity_tests.parity import judge
from parity_tests.test_cases import exports_and_compiles, trainable
from parity_tests.texts import Texts

# Architecture -> side of a small image that it takes, None where the size is dynamic.
SIZES: dict[str, int | None] = {
    **dict.fromkeys((f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")), 64),
    **dict.fromkeys(("DenseNet121", "DenseNet169", "DenseNet201"), 64),
    **dict.fromkeys((f"EfficientNetB{n}" for n in range(8)), 64),
    **dict.fromkeys((f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")), 64),
    **dict.fromkeys(("InceptionV3", "InceptionResNetV2", "Xception"), 75),
    **dict.fromkeys(("MobileNet", "MobileNetV2"), 64),
    **dict.fromkeys(("MobileNetV3Large", "MobileNetV3Small"), None),
    **dict.fromkeys(("NASNetLarge", "NASNetMobile"), 64),
    **dict.fromkeys(("ResNet50", "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2", "ResNet152V2"), 64),
    **dict.fromkeys(("VGG16", "VGG19"), 64),
}
IN_EVERY_RUN = (
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetB0",
    "InceptionV3",
    "MobileNetV2",
    "MobileNetV3Small",
    "NASNetMobile",
    "ResNet50",
)
# Rounding alone decides their worst element in float32: what it may do is measured, which takes minutes.
UNDECIDED = ("DenseNet169",)
# ConvNeXt normalizes channels last: two permutes a block, two for each of the stem and three downsamplings.
PERMUTES = {
    "ConvNeXtTiny": 2 * 18 + 8,
    "ConvNeXtSmall": 2 * 36 + 8,
    "ConvNeXtBase": 2 * 36 + 8,
    "ConvNeXtLarge": 2 * 36 + 8,
    "ConvNeXtXLarge": 2 * 36 + 8,
}

# What `model.py` may take, in lines after `ruff format`.
LINES = {
    "ResNet50": 80, "ResNet152V2": 90, "MobileNetV2": 90, "DenseNet121": 110, "EfficientNetB0": 130,
    "EfficientNetV2B0": 160, "ConvNeXtTiny": 90, "Xception": 110, "MobileNetV3Small": 160, "InceptionV3": 260,
    "NASNetMobile": 300, "VGG16": 60,
}  # fmt: skip


def application(name: str) -> Case:
    side = SIZES[name]
    shape = "" if side is None else f", input_shape=({side}, {side}, 3)"
    options = {"sizes": [[64, 65], [71, 80]]} if side is None else {}
    expression = f"model:keras.applications.{name}(weights=None{shape})"
    return case(
        name,
        expression,
        options=options | {"batches": [2, 1]},
        permutes=PERMUTES.get(name, 0),
        measured=name in UNDECIDED,
        calibrated=True,  # else the logits of EfficientNetV2L are 2e6, and rounding chooses the class
    )


def test_there_are_forty() -> None:
    assert len(SIZES) == 40


@pytest.mark.parametrize("case", [pytest.param(application(name), id=name) for name in IN_EVERY_RUN])
def test_application(case: Case, built: Mapping[str, Any], texts: Texts, tmp_path: Path) -> None:
    agrees(case, built, texts, tmp_path)


@pytest.mark.sweep
@pytest.mark.parametrize(
    "case", [pytest.param(application(name), id=name) for name in SIZES if name not in IN_EVERY_RUN]
)
def test_every_application(case: Case, built: Mapping[str, Any], texts: Texts, tmp_path: Path) -> None:
    agrees(case, built, texts, tmp_path)


def agrees(case: Case, built: Mapping[str, Any], texts: Texts, folder: Path) -> None:
    conversion = convert_file(Path(built["paths"][0]), folder / "out")
    reference = dict(np.load(built["reference"]))
    for what, verdict in judge(folder / "out", reference):
        assert verdict.passed, f"{what}: {verdict}"
    assert conversion.parameters == {"total": built["total"], "trainable": built["trainable"]}
    assert trainable(folder / "out") == built["trainable"]
    assert conversion.permutes == case.permutes
    texts.add(case.name, folder / "out" / "model.py")
    text = (folder / "out" / "model.py").read_text()
    assert len(text.splitlines()) <= LINES.get(case.name, 10_000), text
    if golden(case.name).exists():
        assert text == golden(case.name).read_text(), f"see the change: python -m parity_tests.goldens {case.name}"
    if not case.permutes:
        exports_and_compiles(folder / "out", [reference["in/0/0"]])
