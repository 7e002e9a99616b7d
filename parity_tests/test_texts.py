"""How the emitted texts read: all that this run wrote, by `ruff check` and `ruff format`. Runs last (`conftest.ORDER`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from parity_tests import support
from parity_tests.texts import Texts


def test_texts_read_well(texts: Texts) -> None:
    if not any(texts.folder.iterdir()):
        pytest.skip("no case ran before")
    assert texts.complaints() == ""


@pytest.mark.parametrize(
    "text", ["import torch\n", "x = {'a':1}\n"], ids=["unused import", "not as ruff format writes"]
)
def test_complaints_are_heard(tmp_path: Path, text: str) -> None:
    (tmp_path / "source.py").write_text(text)
    (tmp_path / "texts").mkdir()
    texts = Texts(tmp_path / "texts")
    texts.add("A case, named so", tmp_path / "source.py")
    assert "case_0_a_case_named_so" in texts.complaints()


def test_support_table_is_up_to_date() -> None:
    assert support.TARGET.read_text() == support.support(), "run `python -m parity_tests.support`"
