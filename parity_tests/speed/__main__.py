"""`make bench`: measures, prints the tables of the README, and keeps the figures under results/."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import tempfile
from pathlib import Path

from parity_tests.speed import conversion, inference

RESULTS = Path(__file__).with_name("results")
PACKAGES = ("torch", "torchvision", "tensorflow", "keras", "numpy", "tf2onnx", "onnx2torch")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--only", choices=["conversion", "inference"], help="one of the two")
    parser.add_argument("--without-peers", action="store_true", help="leave out tf2onnx + onnx2torch")
    options = parser.parse_args()
    figures: dict[str, object] = {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    with tempfile.TemporaryDirectory() as folder:
        if options.only != "inference":
            figures["conversion"] = conversion.measure(Path(folder), peers=not options.without_peers)
        if options.only != "conversion":
            figures["inference"] = inference.measure(Path(folder))
    RESULTS.mkdir(exist_ok=True)
    kept = RESULTS / f"{figures['date']}.json"
    known = json.loads(kept.read_text()) if kept.exists() else {}
    kept.write_text(json.dumps(known | figures, indent=1) + "\n")
    print(f"kept as {kept.relative_to(Path.cwd()) if kept.is_relative_to(Path.cwd()) else kept.name}")


main()
