"""Regularizers and constraints on weights whose axes are in another order, against Keras."""

import numpy as np
import pytest
import torch

from converters.errors import Unsupported
from converters.training import build
from converters.training.local.penalties import ActivityPenalty
from converters.training.weights import activity_regularizer, constraint, regularizer
from parity_tests import training_cases as cases
from parity_tests.training import VARIABLES, Holder, config, reference, to_torch


@pytest.mark.parametrize("name", cases.REGULARIZERS)
def test_regularizer(name):
    penalty = build(regularizer(config(f"config/regularizer-{name}"), VARIABLES[0]), model=Holder())
    np.testing.assert_allclose(penalty.item(), reference()[f"regularizer/{name}"], rtol=1e-12)


@pytest.mark.parametrize(("name", "strength"), [("l1", 0.01), ("l2", 0.01)])
def test_regularizer_by_name(name, strength):
    weight = Holder().dense.weight.detach()
    expected = strength * (weight.abs() if name == "l1" else weight.square()).sum()
    torch.testing.assert_close(build(regularizer(name, VARIABLES[0]), model=Holder()).detach(), expected)


@pytest.mark.parametrize("name", cases.CONSTRAINTS)
def test_constraint(name):
    index, model = cases.CONSTRAINTS[name][2], Holder()
    build(constraint(config(f"config/constraint-{name}"), VARIABLES[index]), model=model)
    expected = to_torch(index, reference()[f"constraint/{name}"])
    torch.testing.assert_close(model.get_parameter(VARIABLES[index].name).detach(), expected, rtol=1e-12, atol=1e-12)


def test_sees_another_axis():
    stated, model = config("config/constraint-max"), Holder()
    stated["config"]["axis"] = 1
    build(constraint(stated, VARIABLES[0]), model=model)
    assert (model.dense.weight.detach() - to_torch(0, reference()["constraint/max"])).abs().max() > 1e-3


def test_activity():
    model = Holder()
    stated = {"class_name": "L1L2", "config": {"l1": 0.1, "l2": 0.2}, "module": "keras.regularizers"}
    penalty = build(activity_regularizer(stated, "dense"), model=model)
    model.dense(torch.tensor(cases.start(0)[:4] @ cases.start(0).T))
    np.testing.assert_allclose(penalty.take().item(), reference()["activity"], rtol=1e-12)
    assert penalty.take() == 0
    old = build(activity_regularizer(stated, "dense", version=(3, 3)), model=model)
    model.dense(torch.tensor(cases.start(0)[:4] @ cases.start(0).T))
    np.testing.assert_allclose(old.take().item(), 4 * reference()["activity"], rtol=1e-12)


@pytest.mark.parametrize("make", [regularizer, constraint])
def test_refused(make):
    with pytest.raises(Unsupported) as refusal:
        make({"class_name": "Mine", "config": {}, "module": "my", "registered_name": "my>Mine"}, VARIABLES[0])
    assert refusal.value.way_out


def test_penalty_of_what_is_overwritten_later():
    norm, x = torch.nn.BatchNorm1d(3).double(), torch.randn(4, 3, dtype=torch.float64)
    penalty = ActivityPenalty(norm, l2=0.1)
    (torch.relu_(norm(x)).sum() + penalty.take()).backward()
    again = torch.nn.BatchNorm1d(3).double()
    y = again(x)
    (torch.relu(y).sum() + 0.1 * y.square().sum() / 4).backward()
    torch.testing.assert_close(norm.weight.grad, again.weight.grad)
