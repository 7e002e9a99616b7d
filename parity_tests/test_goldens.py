"""The emitted text of some models, whole. After a change that is meant: `python -m parity_tests.goldens`."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrate.pipeline import translate
from migrate.readers import read
from parity_tests.conftest import Bench
from parity_tests.goldens.models import MODELS


def golden(name: str) -> Path:
    return Path(__file__).parent / "goldens" / f"{name}.txt"


def text_of(bench: Bench, name: str) -> str:
    """The `model.py` of one of the models."""
    with read(Path(bench.ask(MODELS[name])["paths"][0])) as source:
        return translate(source).text


@pytest.mark.parametrize("name", MODELS)
def test_the_text_is_what_was_reviewed(bench: Bench, name: str) -> None:
    assert text_of(bench, name) == golden(name).read_text()
