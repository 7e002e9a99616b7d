"""Inference speed of emitted models: against torchvision's own, and of blocks against one attribute a layer.

Same input, both channels-last in memory.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import torch
import torchvision

import migrate
from parity_tests.speed.models import saved

PAIRS = {
    "ResNet50": "resnet50",
    "MobileNetV2": "mobilenet_v2",
    "EfficientNetB0": "efficientnet_b0",
    "DenseNet121": "densenet121",
}
BATCH, ROUNDS = 8, 12


def measure(folder: Path) -> dict[str, Any]:
    """Milliseconds of both, taken in turn, and the ratio of their medians."""
    figures: dict[str, Any] = {}
    print(f"\nbatch {BATCH}, {torch.get_num_threads()} threads, float32, channels last")
    print("| model | emitted ms | torchvision ms | ratio | blocks : flat |")
    print("|---|---|---|---|---|")
    for name, path in saved(list(PAIRS), folder).items():
        migrate.convert(path, folder / f"emitted_{name}")
        migrate.convert(path, folder / f"flat_{name}", flat=True)
        emitted, theirs = (
            migrate.load(folder / f"emitted_{name}"),
            getattr(torchvision.models, PAIRS[name])(weights=None),
        )
        ours_ms, theirs_ms = in_turn(emitted, theirs.eval())
        blocks_ms, flat_ms = in_turn(emitted, migrate.load(folder / f"flat_{name}"))
        figures[name] = {
            "emitted_ms": ours_ms, "torchvision_ms": theirs_ms, "ratio": ours_ms / theirs_ms,
            "blocks_ms": blocks_ms, "flat_ms": flat_ms, "blocks_to_flat": blocks_ms / flat_ms,
        }  # fmt: skip
        print(f"| {name} | {ours_ms:.0f} | {theirs_ms:.0f} | {ours_ms / theirs_ms:.2f} | {blocks_ms / flat_ms:.2f} |")
    return figures


@torch.inference_mode()
def in_turn(first: torch.nn.Module, second: torch.nn.Module) -> tuple[float, float]:
    """The median milliseconds of two models that take turns, so that both see the same machine."""
    for model in (first, second):
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch types it for tensors only
    images = torch.rand(BATCH, 3, 224, 224).to(memory_format=torch.channels_last)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for model, kept in zip((first, second), times, strict=True):
            start = time.perf_counter()
            model(images)
            kept.append((time.perf_counter() - start) * 1000)
    return statistics.median(times[0][2:]), statistics.median(times[1][2:])
