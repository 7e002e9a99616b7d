"""The files of local classes stand alone, and no string of a config becomes code."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from converters.training import Piece, callback
from converters.training.piece import HOMES, call
from migrate.scaffold.expressions import definitions, imports, local_file, render


@pytest.mark.parametrize("home", HOMES)
def test_local_file(home):
    """Everything of one home in one file: it runs without this toolkit and passes ruff."""
    text = local_file(home, [Piece(call(f"{home}.{name}")) for name in definitions(home)])
    assert "converters" not in text and "migrate" not in text
    exec(compile(text, f"{home}.py", "exec"), {"__name__": home})
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length=120", "-"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_only_what_is_used():
    text = local_file("optim", [Piece(call("optim.Lion"))])
    assert "class Lion" in text and "class KerasOptimizer" in text and "class Adam" not in text
    assert local_file("optim", []) == ""
    assert imports([Piece(call("optim.Lion")), Piece(call("nn.MSELoss"))]) == [
        "from torch import nn",
        "from optim import Lion",
    ]


def test_hostile_strings_stay_strings():
    hostile = '")\nimport os\nos.system("x")#\\'
    piece = callback({"class_name": "CSVLogger", "config": {"filename": hostile}})
    text = render(piece.expression)
    assert "\n" not in text
    names = {"CSVLogger": lambda folder, path: path, "config": SimpleNamespace(output="run")}
    assert eval(text, names) == hostile
