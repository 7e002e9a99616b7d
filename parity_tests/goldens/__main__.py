"""Rewrites the goldens: `python -m parity_tests.goldens [NAME ...]`. Prints the change of each."""

from __future__ import annotations

import difflib
import sys
import tempfile
from pathlib import Path

from parity_tests.conftest import Bench
from parity_tests.goldens import golden
from parity_tests.goldens.models import APPLICATIONS, MODELS
from parity_tests.test_applications import application
from parity_tests.test_goldens import text_of


def main(names: list[str]) -> None:
    cases = MODELS | {name: application(name) for name in APPLICATIONS}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for name in names or cases:
            new, path = text_of(bench, cases[name]), golden(name)
            old = path.read_text() if path.exists() else ""
            print(
                "".join(
                    difflib.unified_diff(old.splitlines(True), new.splitlines(True), f"{name} before", f"{name} now")
                )
            )
            path.write_text(new)
        bench.client.process.kill()


if __name__ == "__main__":
    main(sys.argv[1:])
