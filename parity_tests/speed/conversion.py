"""Time and memory of a conversion, against the bare floor and against tf2onnx + onnx2torch on the same file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from parity_tests.speed.models import saved

MODELS = ["ResNet50", "VGG16"]
ROUNDS = 3  # the fastest counts: a cold disk is not what is measured
PEER_SECONDS, PEER_BYTES = 600, 20 << 30
HERE = Path(__file__).parent


@dataclass
class Run:
    """One process: wall time in seconds, peak resident memory in MB, what it printed last."""

    seconds: float
    megabytes: float
    status: int
    said: str


def run(*command: str, limit: int | None = None, seconds: float | None = None) -> Run:
    """Runs a process and measures it. `limit`: bytes of address space it may allocate beyond."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    watch = Watch(process.pid, limit, seconds)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    watch.done = True
    code = os.waitstatus_to_exitcode(status)
    reason = watch.reason or (said.strip().splitlines() or [""])[-1]
    return Run(time.perf_counter() - start, usage.ru_maxrss / 1024, code, reason)


class Watch:
    """Ends a process that takes too much memory or time, as the system would, but before the machine is full."""

    def __init__(self, pid: int, limit: int | None, seconds: float | None) -> None:
        import threading

        self.pid, self.limit, self.seconds, self.done, self.reason = pid, limit, seconds, False, ""
        if limit or seconds:
            threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        start = time.monotonic()
        while not self.done:
            time.sleep(0.2)
            try:
                pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
            except (OSError, IndexError):
                return
            if self.limit and pages * os.sysconf("SC_PAGE_SIZE") > self.limit:
                self._end(f"ended at {self.limit >> 30} GB of memory")
            if self.seconds and time.monotonic() - start > self.seconds:
                self._end(f"ended after {self.seconds:.0f} s")

    def _end(self, reason: str) -> None:
        self.reason, self.done = reason, True
        os.kill(self.pid, 9)


def measure(folder: Path, *, peers: bool) -> dict[str, Any]:
    """Figures by model, printed as they come."""
    python = sys.executable
    bare = best(lambda n: run(python, "-c", "import torch"))
    figures: dict[str, Any] = {"import torch": asdict(bare)}
    print(f"import torch: {bare.seconds:.1f} s, {bare.megabytes:.0f} MB\n")
    print("| model | floor s | convert s | ratio | MB above import torch | allowed | tf2onnx + onnx2torch |")
    print("|---|---|---|---|---|---|---|")
    for name, path in saved(MODELS, folder).items():
        floor = best(lambda n, p=path: run(python, str(HERE / "floor.py"), str(p), str(folder / f"floor{n}")))
        ours = best(
            lambda n, p=path: run(python, "-m", "migrate", "convert", str(p), "-o", str(folder / f"{p.parent.name}{n}"))
        )
        allowed = 2 * largest_tensor(path) / 2**20 + 350
        peer = run(python, str(HERE / "peer.py"), str(path), limit=PEER_BYTES, seconds=PEER_SECONDS) if peers else None
        above = ours.megabytes - bare.megabytes
        figures[name] = {
            "floor": asdict(floor), "convert": asdict(ours), "ratio": ours.seconds / floor.seconds,
            "megabytes_above": above, "megabytes_allowed": allowed, "peer": asdict(peer) if peer else None,
        }  # fmt: skip
        told = f"{peer.seconds:.0f} s, {peer.megabytes:,.0f} MB: {peer.said}" if peer else "not measured"
        print(
            f"| {name} | {floor.seconds:.1f} | {ours.seconds:.1f} | {ours.seconds / floor.seconds:.2f} "
            f"| {above:.0f} | {allowed:.0f} | {told} |"
        )
        if floor.status or ours.status:
            sys.exit(f"{name}: {floor.said} {ours.said}")
    return figures


def best(attempt: Any) -> Run:
    """The fastest of a few runs, with the highest memory of them."""
    runs = [attempt(number) for number in range(ROUNDS)]
    fastest = min(runs, key=lambda r: r.seconds)
    return Run(fastest.seconds, max(r.megabytes for r in runs), max(r.status for r in runs), fastest.said)


def largest_tensor(path: Path) -> int:
    """Bytes of the largest array of a model file."""
    from migrate.readers import read

    with read(path) as source:
        leaves = [source.arrays.leaf(key) for key in source.weights]
        from converters.weights import numpy_dtype

        sizes = []
        for leaf in leaves:
            count = 1
            for size in leaf.shape:
                count *= size
            sizes.append(count * numpy_dtype(leaf.dtype).itemsize)
        return max(sizes)


def report(figures: dict[str, Any]) -> str:
    return json.dumps(figures, indent=1)
