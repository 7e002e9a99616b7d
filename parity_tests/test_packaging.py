"""The wheel, built and installed outside the checkout, does all that the checkout does."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, tree = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in ("migrate", "converters"):  # a copy: building leaves folders behind
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        str(tree),
        "--no-deps",
        "--no-build-isolation",
        "--quiet",
        "-w",
        str(folder),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_source_file(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    for package in ("migrate", "converters"):
        for file in (ROOT / package).rglob("*.py"):
            assert file.relative_to(ROOT).as_posix() in held
        assert f"{package}/py.typed" in held
    assert not any(name.startswith(("parity_tests", "samples")) for name in held)


def test_the_wheel_works_outside_the_checkout(wheel: Path, bench_model: str, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r})\n"
        "import migrate, converters\n"
        f"assert migrate.__file__.startswith({str(site)!r}), migrate.__file__\n"
        "from migrate.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-P", "-c", code, "convert", bench_model, "-o", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "model.py").exists()
