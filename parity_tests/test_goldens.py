"""The emitted text of some models, whole; those of keras.applications are in test_applications.py. After a change that is meant: `python -m parity_tests.goldens`."""

from __future__ import annotations

import pytest

from migrate.pipeline import translate
from migrate.readers import read
from parity_tests.case import Case
from parity_tests.conftest import Bench
from parity_tests.goldens import golden
from parity_tests.goldens.models import MODELS


def text_of(bench: Bench, case: Case) -> str:
    """The `model.py` of a model."""
    with read(bench.saved(case)) as source:
        return translate(source).text


@pytest.mark.parametrize("name", MODELS)
def test_the_text_is_what_was_reviewed(bench: Bench, name: str) -> None:
    assert text_of(bench, MODELS[name]) == golden(name).read_text()
