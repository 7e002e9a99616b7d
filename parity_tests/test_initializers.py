"""Initial values have the distributions of Keras: bounds, mean, spread and shape, not the same random numbers."""

import numpy as np
import pytest
import torch

from converters.errors import Unsupported
from converters.training import Variable, build
from converters.training.initializers import fans_of, forget_gate_bias, initializer
from converters.weights import Leaf
from parity_tests import training_cases as cases
from parity_tests.training import config, reference


class One(torch.nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full(shape, torch.nan))


def variable(size):
    """A weight as a converter arranges it."""
    leaf = Leaf(cases.SIZES[size], "float32", "kernel")
    weight = {"dense": leaf.T, "conv": leaf.transpose(*range(leaf.rank))}.get(size)
    if size == "conv":
        weight = leaf.transpose(3, 2, 0, 1)
    elif size == "depthwise":
        weight = leaf.transpose(2, 3, 0, 1).reshape(1600, 1, 3, 3)
    return Variable("weight", weight)


def drawn(name, size, stated=None):
    torch.manual_seed(0)
    model = One(variable(size).weight.shape)
    build(initializer(stated or config(f"config/initializer-{name}"), variable(size)), model=model)
    return model.weight.detach().numpy().ravel()


@pytest.mark.parametrize("size", cases.SIZES)
@pytest.mark.parametrize("name", [name for name in cases.INITIALIZERS if not name.startswith("Orthogonal")])
def test_distribution(name, size):
    ours, keras = drawn(name, size), reference()[f"initializer/{name}/{size}"].ravel()
    spread = keras.std()
    assert ours.std() == pytest.approx(spread, rel=0.06, abs=1e-6)
    assert abs(ours.mean() - keras.mean()) < 0.08 * spread + 1e-6
    if "untruncated" not in str(cases.INITIALIZERS[name][1]) and name != "RandomNormal":  # these have no bounds
        np.testing.assert_allclose((ours.min(), ours.max()), (keras.min(), keras.max()), rtol=0.02, atol=1e-6)
    quantiles = [0.1, 0.25, 0.5, 0.75, 0.9]
    np.testing.assert_allclose(np.quantile(ours, quantiles), np.quantile(keras, quantiles), atol=0.12 * spread + 1e-6)


@pytest.mark.parametrize("name", ["Orthogonal", "Orthogonal-2"])
@pytest.mark.parametrize("size", ["dense", "conv"])
def test_orthogonal(name, size):
    keras = reference()[f"initializer/{name}/{size}"]
    flat = keras.reshape(-1, keras.shape[-1])
    ours = drawn(name, size).reshape(keras.shape[-1], -1).T
    np.testing.assert_allclose(ours.T @ ours, flat.T @ flat, atol=1e-4)


def test_sees_torch_defaults():
    """What nn.Linear starts with is something else."""
    torch.manual_seed(0)
    usual = torch.nn.Linear(120, 80).weight.detach().numpy().std()
    assert usual != pytest.approx(reference()["initializer/GlorotUniform/dense"].std(), rel=0.06)


def test_fans():
    assert fans_of((3, 3, 24, 40)) == (216, 360)
    assert fans_of((5,)) == (5, 5)
    assert fans_of(()) == (1, 1)


def test_forget_gate():
    model = One((12,))
    build(forget_gate_bias(Variable("weight", Leaf((12,), "float32", "bias"))), model=model)
    assert model.weight.tolist() == [0] * 3 + [1] * 3 + [0] * 6


@pytest.mark.parametrize("stated", ["mine", {"class_name": "GlorotUniform", "config": {"new": 1}}])
def test_refused(stated):
    with pytest.raises(Unsupported) as refusal:
        initializer(stated, variable("dense"))
    assert refusal.value.way_out
