"""Keras trains, saves and goes on; PyTorch reads the file and goes on, too: the same weights, to rounding in float64."""

import numpy as np
import pytest
import torch

from converters.errors import UserError
from converters.training import optimizer
from converters.training.local.optim import resume
from converters.training.state import slots
from converters.weights import Leaf
from migrate import convert, load
from migrate.pipeline import translate
from migrate.readers import read
from migrate.readers.version import parse_version
from migrate.scaffold.plan import trainable_variables
from migrate.scaffold.slots import optimizer_state
from parity_tests import training_cases as cases
from parity_tests.training import Loop, reference

CASES = [
    *((name, "keras") for name in cases.STATES),
    *((name, "h5") for name in ("Adam", "SGD", "RMSprop")),
    *((f"2-{name}", "h5") for name in cases.LEGACY),
    *((f"2-{name}", "keras") for name in cases.LEGACY if "legacy" not in name),
]


def resumed(folder, name, form, exact=True, change=None):
    """The model after the steps that follow the file, and the pieces that made them."""
    file = folder / f"model.{form}"
    file.write_bytes(reference()[f"state/{name}/{form}"].tobytes())
    convert(file, folder / "out", exact=exact)
    model = load(folder / "out").double().train()
    with read(file) as source:
        project = translate(source, name="", exact=exact).project
        version = parse_version(source.keras_version) or (3,)
        variables = trainable_variables(project)
        stated = source.training.get("optimizer_config") or source.training.get("optimizer")
        pieces = optimizer(stated, variables, exact=exact, version=version)
        state = optimizer_state(source, project, pieces, variables, version)
    loop = Loop(pieces, model)
    tensors = {key: torch.from_numpy(array) for key, array in (change or dict)(state).items()}
    loop.resume(tensors)
    for step in range(cases.BEFORE, cases.BEFORE + cases.AFTER):
        images, targets = map(torch.tensor, cases.samples(step))
        loss = (model(images.permute(0, 3, 1, 2)) - targets).square().mean() / pieces.accumulate
        loss.backward()
        loop.update()
    return model, pieces


def error(name, model):
    """The largest difference from Keras' weights, relative to their size."""
    layers = {"conv": ("conv", (3, 2, 0, 1)), "last": ("last", (1, 0)), "zz": ("zz", None), "dense": ("dense", None)}
    worst = 0.0
    for layer, (attribute, axes) in layers.items():
        kernel, bias = (reference()[f"state/{name}/{layer}/{number}"] for number in (0, 1))
        if axes is None:  # behind the Flatten: the rows are in PyTorch's order
            kernel = kernel.reshape(3, 3, 3, 4).transpose(3, 2, 0, 1).reshape(4, 27)
        else:
            kernel = kernel.transpose(axes)
        module = named(model, attribute)
        for ours, keras in ((module.weight, kernel), (module.bias, bias)):
            worst = max(worst, float(np.abs(ours.detach().numpy() - keras).max() / np.abs(kernel).max()))
    return worst


def named(model, layer):
    """A module by the name of its layer; automatic names become others."""
    modules = dict(model.named_modules())
    found = [module for name, module in modules.items() if name == layer]
    left = [m for n, m in modules.items() if isinstance(m, torch.nn.Linear) and n not in ("zz", "last")]
    return found[0] if found else left[0]


@pytest.mark.parametrize(("name", "form"), CASES)
def test_goes_on(tmp_path, name, form):
    model, _ = resumed(tmp_path, name, form)
    assert error(name, model) < 1e-10


@pytest.mark.parametrize("name", ["Adam", "Adafactor", "Adagrad", "Nadam"])
def test_goes_on_in_short_form(tmp_path, name):
    """Without --exact: what the sentences about drift allow."""
    model, pieces = resumed(tmp_path, name, "keras", exact=False)
    assert error(name, model) < (1e-3 if pieces.optimizer.drift else 1e-6)


@pytest.mark.parametrize("name", ["Adam", "SGD", "Adagrad", "Lion", "Adafactor", "Adam-everything"])
def test_sees_a_fresh_start(tmp_path, name):
    model, _ = resumed(tmp_path, name, "keras", change=lambda state: {})
    assert error(name, model) > 1e-5


def test_sees_slots_of_another_layer(tmp_path):
    def swapped(state):
        one, two = (f"exp_avg/{name}.weight" for name in ("zz", "fc"))
        two = two if two in state else "exp_avg/dense.weight"
        return {**state, one: state[two], two: state[one]}

    model, _ = resumed(tmp_path, "Adam", "keras", change=swapped)
    assert error("Adam", model) > 1e-5


def test_never_trained_and_damaged():
    weights = [("dense/kernel", Leaf((3, 2), "float32", "a")), ("dense/bias", Leaf((2,), "float32", "b"))]
    held = [Leaf((), "int64", "0"), Leaf((), "float32", "1"), *(Leaf((3, 2), "float32", str(i)) for i in range(2, 6))]
    with pytest.raises(UserError, match="does not fit"):
        slots("Adam", weights, held, lambda leaf: np.zeros(leaf.shape), (3, 15))


def test_resume_leaves_strangers_alone():
    model = torch.nn.Linear(2, 2)
    made = torch.optim.Adam(model.parameters())
    resume(made, model, {"exp_avg/other": torch.zeros(3), "batches": torch.tensor(3)})
    assert not made.state
