"""The emitted texts of a run: read together at its end, and which of them show PyTorch something new."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

RULES = "E,F,W,I,UP,B,SIM,C4,RET,PIE,N"


class Texts:
    """Every `model.py` that a test of the run wrote, under the name of its case."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.constructs: set[str] = set()

    def add(self, name: str, source: Path) -> None:
        """Keeps a text for `complaints`."""
        number = len(list(self.folder.iterdir()))
        stem = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        (self.folder / f"case_{number}_{stem}.py").write_text(source.read_text())

    def is_news(self, source: Path) -> bool:
        """Whether a text holds a class, function, method or operator that none before it held."""
        found = constructs(source.read_text())
        new = not found <= self.constructs
        self.constructs |= found
        return new

    def complaints(self) -> str:
        """What `ruff check` and `ruff format --check` say of all the texts; nothing, if they are as they should be."""
        ruff = [sys.executable, "-m", "ruff"]
        common = ["--isolated", "--quiet", "--line-length=120", str(self.folder)]
        check = [*ruff, "check", "--output-format=concise", f"--select={RULES}", "--ignore=N812", *common]
        format_ = [*ruff, "format", "--check", *common]
        done = [subprocess.run(command, capture_output=True, text=True, check=False) for command in (check, format_)]
        return "".join(run.stdout + run.stderr for run in done if run.returncode)


def constructs(text: str) -> set[str]:
    """What torch.compile and torch.export meet in a text: names that are called, operators, local classes whole."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            keywords = ",".join(sorted(str(keyword.arg) for keyword in node.keywords))
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
            if not (isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "self"):
                found.add(f"{name}({keywords})")
        elif isinstance(node, (ast.BinOp, ast.UnaryOp)):
            found.add(type(node.op).__name__)
        elif isinstance(node, ast.Subscript):
            found.add(f"[{type(node.slice).__name__}]")
    return found
