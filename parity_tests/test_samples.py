"""The samples: each script trains, its model converts, both predict the same, and the committed text is up to date."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import migrate

SAMPLES = Path(__file__).resolve().parents[1] / "samples"


def run(script: str, *arguments: str | Path) -> str:
    command = [sys.executable, str(SAMPLES / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    run("make_digits_cnn.py", folder)
    migrate.convert(folder / "digits_cnn.keras", folder / "digits_cnn")
    return folder


def test_digits_predict_the_same(digits: Path) -> None:
    assert "same digit for 450 of 450 images" in run(
        "compare_digits.py", digits / "digits_cnn", digits / "digits_cnn.npz"
    )


def test_comparison_sees_a_wrong_model(digits: Path) -> None:
    source = digits / "digits_cnn" / "model.py"
    text = source.read_text()
    source.write_text(text.replace("* 0.0625", "* 0.5"))
    try:
        with pytest.raises(AssertionError):
            run("compare_digits.py", digits / "digits_cnn", digits / "digits_cnn.npz")
    finally:
        source.write_text(text)


def test_committed_project_is_what_convert_writes_today(digits: Path) -> None:
    assert (SAMPLES / "digits_cnn" / "model.py").read_text() == (digits / "digits_cnn" / "model.py").read_text(), (
        "run `make samples`"
    )


def test_readme_shows_the_committed_project() -> None:
    assert (SAMPLES / "digits_cnn" / "model.py").read_text() in (SAMPLES.parent / "README.md").read_text()
