"""Float32 at a kink: where a last digit of the weights decides on which side of a ReLU a number lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from migrate.reference.capture import Options
from migrate.reference.client import Client
from migrate.verify import kinks
from migrate.verify.bundle import Bundle
from migrate.verify.emitted import load_emitted
from migrate.verify.gradients import _compared, backward, check_gradients, spreads_of
from migrate.verify.kinks import _rounded_again, jumps
from migrate.verify.records import Gradients
from parity_tests.subjects import Subject, made

EDGE = (
    "model:(lambda x: keras.Model(x, Dense(2, name='last')(ReLU()(Subtract()([Dense(3, name='one')(x), Dense(3, name='other')(x)])))))"
    "(keras.Input((4,), name='x'))"
)
OPTIONS = Options(checks=("forward", "gradients"), dtypes=("float64", "float32"))


@pytest.fixture(scope="module")
def worker() -> Iterator[Client]:
    with Client() as client:
        yield client


@pytest.fixture(scope="module")
def smooth(worker: Client, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    model = (
        "model:keras.Sequential([keras.Input((4,), name='x'), Dense(8, activation='tanh', name='hidden'), "
        "BatchNormalization(name='norm'), Dense(2, name='last')])"
    )
    return made(worker, "smooth", model, tmp_path_factory.mktemp("kinks"), OPTIONS)


def test_nothing_jumps_where_a_model_is_smooth(smooth: Subject) -> None:
    emitted = load_emitted(smooth.project, "float32")
    before = {key: tensor.clone() for key, tensor in emitted.model.state_dict().items()}
    found = backward(emitted, smooth.bundle, training=False)
    jumped = jumps(emitted, smooth.bundle, found, training=False)
    sizes = {path: float(np.abs(array).max()) for path, array in found.weights.items()}
    assert jumped.weights.keys() == found.weights.keys() and len(jumped.inputs) == 1
    assert all(0 <= jumped.weights[path] < 1e-5 * max(sizes.values()) for path in sizes)
    assert all(torch.equal(before[key], tensor) for key, tensor in emitted.model.state_dict().items()), "it is changed"


def test_a_jump_is_allowed_and_no_more(smooth: Subject) -> None:
    """A gradient that is off by 1e-3: a fault here; not where a last digit moves it as far."""
    emitted = load_emitted(smooth.project, "float32")
    bundle, mode = smooth.bundle, "inference"
    expected, truth = bundle.gradients("float32", mode), bundle.gradients("float64", mode)
    found = backward(emitted, bundle, training=False)
    path = max(found.weights, key=lambda key: float(np.abs(found.weights[key]).max()))
    scale = float(np.abs(found.weights[path]).max())
    off = replace(found, weights={**found.weights, path: found.weights[path] + np.float32(1e-3 * scale)})
    smallest = jumps(emitted, bundle, found, training=False)
    wide = replace(smallest, weights={**smallest.weights, path: 2e-3 * scale})

    def failed(jumped: object) -> list[str]:
        compared = _compared(emitted, bundle, "float32", mode, off, expected, truth, jumped)  # type: ignore[arg-type]
        return [finding.what for finding in compared if not finding.verdict.passed]

    assert len(failed(smallest)) == 1 and failed(wide) == []


def test_a_kink_is_told(worker: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients of float32 on the other side of one pass, with a note; without looking for kinks they are faults."""
    subject = made(worker, "edge", EDGE, tmp_path, OPTIONS)
    emitted = load_emitted(subject.project, "float32")
    # The difference of two equal layers is 0, at the edge of the ReLU: a last digit of a weight moves it over.
    emitted.model.other.load_state_dict(emitted.model.one.state_dict())  # type: ignore[operator,union-attr]
    edge = backward(emitted, subject.bundle, training=False)
    expected = Gradients(dict(edge.weights), list(edge.inputs), list(edge.outputs), {})
    monkeypatch.setattr(Bundle, "modes", ("inference",))
    monkeypatch.setattr(Bundle, "gradients", lambda bundle, dtype, mode: expected)
    beyond = _rounded_again(emitted, 100)
    check = check_gradients(beyond, subject.bundle, "float32")
    assert check.passed and any("jump" in note for note in check.notes), [f.verdict for f in check.failed]
    monkeypatch.setattr(kinks, "DRAWS", 0)
    check = check_gradients(beyond, subject.bundle, "float32")
    assert not check.passed and not any("jump" in note for note in check.notes)


def test_a_moving_mean_is_looked_at_against_the_spread(smooth: Subject) -> None:
    weights = {
        path: np.full(info.shape, 4.0)
        for path, info in smooth.bundle.weights.items()
        if info.variable.startswith("norm/")
    }
    spreads = {smooth.bundle.weights[path].variable: size for path, size in spreads_of(smooth.bundle, weights).items()}
    assert spreads == {"norm/moving_mean": 2.0}
