"""Every optimizer over 20 steps in float64, against Keras: the exact form equals it to rounding."""

import dataclasses

import numpy as np
import pytest
import torch

from converters.errors import Unsupported
from converters.training import build, optimizer
from migrate.scaffold.expressions import imports, local_file, render
from parity_tests import training_cases as cases
from parity_tests.training import VARIABLES, Holder, Loop, config, reference, to_torch

CASES = list(cases.optimizers())


def trained(pieces, steps=cases.STEPS):
    """The parameters after each step, and those after the last with everything that ends a training."""
    model = Holder()
    loop = Loop(pieces, model)
    path = []
    for step in range(steps):
        for index, variable in enumerate(VARIABLES):
            p = model.get_parameter(variable.name)
            grad = to_torch(index, cases.gradient(index, step)) / pieces.accumulate
            p.grad = grad if p.grad is None else p.grad + grad
        loop.update()
        path.append([model.get_parameter(v.name).detach().clone() for v in VARIABLES])
    loop.end()
    return path, [model.get_parameter(v.name).detach() for v in VARIABLES]


def error(name, path):
    """The largest difference from Keras on the way, relative to how far the parameters went."""
    keras = reference()
    worst = 0.0
    for index in range(len(VARIABLES)):
        begin = to_torch(index, cases.start(index))
        expected = [to_torch(index, keras[f"optimizer/{name}/{index}/{step}"]) for step in range(len(path))]
        moved = max((e - begin).abs().max() for e in expected)
        worst = max(worst, *((p[index] - e).abs().max() / moved for p, e in zip(path, expected, strict=True)))
    return float(worst)


@pytest.mark.parametrize("name", CASES)
def test_exact(name):
    pieces = optimizer(config(f"config/{name}"), VARIABLES, exact=True)
    path, end = trained(pieces)
    assert error(name, path) < 1e-10
    for index, p in enumerate(end):
        np.testing.assert_allclose(p, to_torch(index, reference()[f"optimizer/{name}/{index}/end"]), rtol=1e-10)
    assert not any(piece.drift for piece in pieces.pieces)


@pytest.mark.parametrize("name", CASES)
def test_short(name):
    """The form that is not exact: what says nothing of drift has none beyond float32's rounding."""
    pieces = optimizer(config(f"config/{name}"), VARIABLES)
    if not any(piece.drift for piece in pieces.pieces):
        assert error(name, trained(pieces)[0]) < 1e-7
    assert all(len(text) > 40 and any(letter.isdigit() for letter in text) for p in pieces.pieces for text in p.drift)


@pytest.mark.parametrize(("name", "figure"), [("Adam", 9e-3), ("AdamW", 9e-3), ("Adamax", 2e-7)])
def test_stated_drift(name, figure):
    """The figure in the sentence is what is measured."""
    ways = []
    for exact in (True, False):
        pieces = optimizer(name, exact=exact)
        torch.manual_seed(0)
        p = torch.nn.Parameter(torch.randn(1000, dtype=torch.float64))
        start, made = p.detach().clone(), build(pieces.optimizer, parameters=[p])
        for _ in range(20):
            p.grad = torch.randn(1000, dtype=torch.float64) * 1e-3
            made.step()
        ways.append(p.detach() - start)
    assert float((ways[1] - ways[0]).norm() / ways[0].norm()) == pytest.approx(figure, rel=0.1)
    assert f"{100 * figure:.5f}".rstrip("0") in pieces.optimizer.drift[0]


@pytest.mark.parametrize("name", ["RMSprop-0", "Adam-0", "Adagrad-0", "Adadelta-0", "Adamax-0", "Nadam-0", "Lamb-0"])
def test_sees_another_epsilon(name):
    stated = config(f"config/{name}")
    stated["config"]["epsilon"] *= 100
    assert error(name, trained(optimizer(stated, VARIABLES, exact=True))[0]) > 1e-8


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Adam-decay", "weight_decay"),
        ("Adam-clipnorm", "clipnorm"),
        ("Adam-global_clipnorm", "global_clipnorm"),
        ("Adam-clipvalue", "clipvalue"),
        ("Adam-accumulate", "gradient_accumulation_steps"),
    ],
)
def test_sees_what_is_left_out(name, key):
    stated = config(f"config/{name}")
    stated["config"][key] = None
    assert error(name, trained(optimizer(stated, VARIABLES, exact=True))[0]) > 1e-6


def embedded(name, steps=cases.STEPS, sparse=True):
    """The largest difference from Keras of an embedding whose tokens occur twice."""
    model = Holder()
    variables = [dataclasses.replace(VARIABLES[3], sparse=sparse)]
    for p in (*model.dense.parameters(), *model.conv.parameters()):
        p.requires_grad_(False)
    loop = Loop(optimizer(config(f"config/sparse-{name}"), variables, exact=True), model)
    worst = 0.0
    for step in range(steps):
        ids, values = map(torch.tensor, cases.tokens(step))
        (model.embedding(ids) * values).sum().div(loop.pieces.accumulate).backward()
        loop.update()
        worst = max(
            worst,
            float((model.embedding.weight.detach() - torch.tensor(reference()[f"sparse/{name}/{step}"])).abs().max()),
        )
    return worst


@pytest.mark.parametrize("name", cases.SPARSE)
def test_embedding(name):
    """Keras 3 squares gradients token by token; the exact form does it, too."""
    assert embedded(name) < 1e-10


@pytest.mark.parametrize("name", ["Adam", "RMSprop", "Adagrad", "Adamax", "clipnorm"])
def test_sees_summed_tokens(name):
    assert embedded(name, sparse=False) > 1e-5


@pytest.mark.parametrize("name", CASES)
def test_text(name):
    """What is written makes the optimizer that was tested."""
    pieces = optimizer(config(f"config/{name}"), VARIABLES, exact=True)
    space = {}
    for home in ("optim", "schedules"):
        exec(compile(local_file(home, pieces.pieces) if name in TEXTS else "", home, "exec"), space)
    if name in TEXTS:
        for line in imports(pieces.pieces):
            if not line.startswith(("from optim", "from schedules")):
                exec(line, space)
        model = Holder()
        space |= {"model": model, "parameters": list(model.parameters())}
        made = eval(render(pieces.optimizer.expression), space)
        space["optimizer"] = made
        assert [{**g, "params": 0} for g in made.param_groups] == [
            {**g, "params": 0} for g in Loop(pieces, model).optimizer.param_groups
        ] or pieces.schedule
        for piece in (*pieces.clip, pieces.schedule, pieces.average):
            if piece is not None and piece not in pieces.clip:
                eval(render(piece.expression), space)


TEXTS = {"Adam-0", "Muon-0", "Adafactor-0", "MultiOptimizer", "SGD-momentum-schedule", "Adam-ema"}


@pytest.mark.parametrize(
    "stated",
    [
        {"class_name": "Mine", "config": {}, "module": "my.code", "registered_name": "Package>Mine"},
        {"class_name": "Adam", "config": {}, "module": "my.code", "registered_name": "my>Adam"},
        "unheard_of",
        {"class_name": "Adam", "config": {"new_key": 3}},
        {
            "class_name": "Adam",
            "config": {
                "learning_rate": {"class_name": "Mine", "config": {}, "module": "my", "registered_name": "my>Mine"}
            },
        },
        {"class_name": "Adam", "config": {"beta_1": "__import__('os')"}},
    ],
)
def test_refused(stated):
    with pytest.raises(Unsupported) as refusal:
        optimizer(stated, VARIABLES)
    assert refusal.value.way_out
