"""The worker as a process: what happens when it hangs, dies, babbles or lacks its framework; what it is written in."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from pathlib import Path

import pytest

import migrate
from migrate.reference import client as client_module
from migrate.reference.capture import Options, capture_file
from migrate.reference.client import WORKER, Client

OLDEST = (3, 8)  # of the Pythons that TensorFlow 2.4 runs on
SOURCES = [WORKER, WORKER.with_name("build.py"), *sorted((WORKER.parent / "original").glob("*.py"))]


def interpreter(folder: Path, script: str) -> str:
    """An executable that stands in for a Python."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def python_without(folder: Path, module: str) -> str:
    """A Python in which a module cannot be imported."""
    code = (
        f"import sys, os, runpy; sys.modules[{module!r}] = None; path = sys.argv[1]; "
        "sys.path.insert(0, os.path.dirname(path)); runpy.run_path(path, run_name='__main__')"
    )
    return interpreter(folder, f'exec {sys.executable} -c "{code}" "$@"')


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("sleep 60", "no sign of life"),
        ("echo help >&2; exit 3", "exit status 3; it said: help"),
        ("kill -9 $$", "does not fit into memory"),
        ("echo this is no json; sleep 60", "does not speak our language"),
    ],
)
def test_a_worker_that_fails(script: str, said: str, tmp_path: Path, bench_model: str) -> None:
    before = set(Path(tmp_path).iterdir())
    python = interpreter(tmp_path, script)
    with pytest.raises(migrate.UserError, match=said):
        capture_file(Path(bench_model), tmp_path / "bundle", Options(python=python, timeout=2.0))
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"python"}


def test_a_worker_that_hangs_is_ended(tmp_path: Path) -> None:
    client = Client(interpreter(tmp_path, "exec sleep 60"), timeout=0.3)
    client.send(do="versions")
    with pytest.raises(migrate.UserError, match=r"within 0\.3 seconds"):
        client.receive()
    with pytest.raises(ProcessLookupError):
        os.kill(client.process.pid, 0)


def test_patience_is_counted_from_the_last_word(tmp_path: Path) -> None:
    script = 'for i in 1 2 3; do sleep 0.4; echo \'{"progress": "busy"}\'; done; echo \'{"ok": true}\'; sleep 9'
    said: list[str] = []
    client = Client(interpreter(tmp_path, script), timeout=1.0, progress=said.append)
    assert client.receive() == {"ok": True}
    assert said == ["busy"] * 3
    client.kill()


def test_no_such_interpreter(tmp_path: Path, bench_model: str) -> None:
    with pytest.raises(migrate.UserError, match="cannot be started"):
        migrate.capture(bench_model, tmp_path / "bundle", python=tmp_path / "nowhere")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("module", "remedy"),
    [("numpy", "pip install numpy"), ("keras", "pip install"), ("tensorflow", r"tf2torch\[verify\]")],
)
def test_a_missing_package_is_named(module: str, remedy: str, tmp_path: Path, bench_model: str) -> None:
    python = python_without(tmp_path, module)
    with pytest.raises(migrate.UserError, match=f"not installed(.|\n)*{module}(.|\n)*{remedy}"):
        migrate.capture(bench_model, tmp_path / "bundle", python=python)


@pytest.mark.skipif(importlib.util.find_spec("jax") is not None, reason="JAX is installed")
def test_a_missing_jax_is_named(tmp_path: Path, bench_model: str) -> None:
    with pytest.raises(migrate.UserError, match=r"pip install 'jax\[cpu\]'"):
        migrate.capture(bench_model, tmp_path / "bundle", backend="jax")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_written_for_old_pythons(source: Path) -> None:
    """The syntax is that of Python 3.8, and no method is called that came later."""
    tree = ast.parse(source.read_text(), feature_version=OLDEST)
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not names & {"removeprefix", "removesuffix", "bit_count", "pairwise", "file_digest"}
    keywords = {word.arg for call in ast.walk(tree) if isinstance(call, ast.Call) for word in call.keywords}
    assert "strict" not in keywords
    assert not any(isinstance(node, ast.BinOp) and _joins_types(node) for node in ast.walk(tree))


def _joins_types(node: ast.BinOp) -> bool:
    """`int | None`"""
    return isinstance(node.op, ast.BitOr) and any(
        isinstance(side, ast.Constant) and side.value is None for side in (node.left, node.right)
    )


def test_the_check_of_old_pythons_sees_new_syntax() -> None:
    with pytest.raises(SyntaxError):
        ast.parse("match x:\n    case 1: pass", feature_version=OLDEST)


def test_a_worker_needs_nothing_of_ours() -> None:
    """It is started by path in a stranger's environment."""
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not {name.partition(".")[0] for name in names} & {"migrate", "converters", "torch", "safetensors"}


def test_silence_is_limited_by_default() -> None:
    assert Options().timeout == client_module.SILENCE > 0
