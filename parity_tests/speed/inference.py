"""Inference speed of emitted models against torchvision's own, same input, both channels-last in memory."""

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
    print("| model | emitted ms | torchvision ms | ratio |")
    print("|---|---|---|---|")
    for name, path in saved(list(PAIRS), folder).items():
        migrate.convert(path, folder / f"emitted_{name}")
        sides = migrate.load(folder / f"emitted_{name}"), getattr(torchvision.models, PAIRS[name])(weights=None).eval()
        ours, theirs = in_turn(*(model.to(memory_format=torch.channels_last) for model in sides))
        figures[name] = {"emitted_ms": ours, "torchvision_ms": theirs, "ratio": ours / theirs}
        print(f"| {name} | {ours:.0f} | {theirs:.0f} | {ours / theirs:.2f} |")
    return figures


@torch.inference_mode()
def in_turn(first: torch.nn.Module, second: torch.nn.Module) -> tuple[float, float]:
    """The median milliseconds of two models that take turns, so that both see the same machine."""
    images = torch.rand(BATCH, 3, 224, 224).to(memory_format=torch.channels_last)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for model, kept in zip((first, second), times, strict=True):
            start = time.perf_counter()
            model(images)
            kept.append((time.perf_counter() - start) * 1000)
    return statistics.median(times[0][2:]), statistics.median(times[1][2:])
