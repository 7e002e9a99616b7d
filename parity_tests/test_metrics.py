"""Every metric over three updates, without and with weights, against Keras."""

import numpy as np
import pytest
import torch

from converters.errors import Unsupported
from converters.training import Output, build, metric, metrics
from converters.training.metrics import MAKERS
from parity_tests import training_cases as cases
from parity_tests.training import config, reference

CASES = [
    pytest.param(number, weighted, id=f"{name}-{kind}-{number}-{'weighted' if weighted else 'plain'}")
    for number, (name, kind, _) in enumerate(cases.METRICS)
    for weighted in (False, True)
    if not weighted or cases.takes_weights(name, kind)
]
SIGMOID = {"sigmoid", "one_score", "scores"}
TOLERANCE = {"IoU": 1e-6, "MeanIoU": 1e-6, "BinaryIoU": 1e-6, "OneHotIoU": 1e-6, "OneHotMeanIoU": 1e-6, "R2Score": 1e-6}


def updated(number, weighted, activation, stated=None):
    """The results after each update, and the metric."""
    _, kind, _ = cases.METRICS[number]
    outputs, targets, _ = cases.metric_batch(kind, 0)
    stated = stated or config(f"config/metric-{number}")
    shape = outputs.shape if outputs.ndim > 1 else (*outputs.shape, 4)
    made = metric(stated, Output((None, *shape[1:]), activation=activation), weighted=weighted)
    torch_form, results = build(made.piece), []
    for update in range(3):
        outputs, targets, weights = map(torch.tensor, cases.metric_batch(kind, update))
        if not made.piece.locals:  # the training program gives targets the shape and type that torchmetrics wants
            targets = targets.view(-1) if made.targets == "classes" else targets.view(outputs.shape)
            outputs, targets = (
                (outputs, targets.long()) if "classification" in str(made.piece.expression) else (outputs, targets)
            )
        torch_form.update(outputs, targets, *([weights] if weighted else []))
        results.append(torch_form.compute().numpy())
    return results, made


@pytest.mark.parametrize(("number", "weighted"), CASES)
def test_results(number, weighted):
    name, kind, _ = cases.METRICS[number]
    for activation in {"", "sigmoid" if kind in SIGMOID else ""}:
        results, made = updated(number, weighted, activation)
        tolerance = 1e-6 if not made.piece.locals else TOLERANCE.get(name, 1e-10)
        if made.on == "logits":
            continue  # a crossentropy of logits, which the losses' tests cover
        for update, result in enumerate(results):
            np.testing.assert_allclose(
                result, reference()[f"metric/{number}/{weighted}/{update}"], rtol=tolerance, atol=tolerance
            )


def test_all_of_keras():
    """Every metric of Keras 3.15 but the two that compare nothing."""
    assert {name.lower() for name, _, _ in cases.METRICS} | {"huber"} == set(MAKERS)


@pytest.mark.parametrize(
    ("shape", "sparse", "expected"),
    [
        ((None, 1), False, "BinaryAccuracy"),
        ((None, 4), True, "MulticlassAccuracy"),
        ((None, 4), False, "CategoricalAccuracy"),
    ],
)
def test_the_word_accuracy(shape, sparse, expected):
    made = metric("accuracy", Output(shape, activation="sigmoid" if shape[-1] == 1 else "softmax"), sparse=sparse)
    assert made.name == "accuracy"
    assert type(build(made.piece)).__name__ == expected


def test_channels_first():
    outputs, targets = torch.rand(2, 5, 3, 4), torch.randint(0, 5, (2, 3, 4))
    first = build(metric("accuracy", Output((None, 5, 3, 4), axis=1), sparse=True).piece)
    last = build(metric("accuracy", Output((None, 3, 4, 5)), sparse=True).piece)
    first.update(outputs, targets)
    last.update(outputs.movedim(1, -1), targets)
    assert first.compute() == last.compute()


def test_several_outputs():
    outputs = [Output((None, 1), name="a"), Output((None, 3), name="b")]
    found = metrics({"a": ["mae", "mse"], "b": "accuracy"}, outputs)
    assert [(made.output, made.name) for made in found] == [("a", "mae"), ("a", "mse"), ("b", "accuracy")]
    assert [(made.output, made.name) for made in metrics([["mae"], None], outputs)] == [("a", "mae")]
    assert metrics(["mae"], outputs[:1])[0].name == "mae"


@pytest.mark.parametrize("key", ["threshold", "k", "num_thresholds"])
def test_sees_another_option(key):
    name, value = {
        "threshold": ("BinaryAccuracy", 0.9),
        "k": ("TopKCategoricalAccuracy", 1),
        "num_thresholds": ("AUC", 3),
    }[key]
    number = next(n for n, (class_name, _, _) in enumerate(cases.METRICS) if class_name == name)
    stated = config(f"config/metric-{number}")
    stated["config"][key] = value
    results, _ = updated(number, False, "", stated)
    assert abs(results[-1] - reference()[f"metric/{number}/False/2"]) > 1e-4


@pytest.mark.parametrize(
    "stated",
    [
        {"class_name": "Mine", "config": {}, "module": "my", "registered_name": "my>Mine"},
        "my_metric",
        {"class_name": "Mean", "config": {}, "module": "keras.metrics", "registered_name": None},
        {"class_name": "AUC", "config": {"new_key": 1}},
    ],
)
def test_refused(stated):
    with pytest.raises(Unsupported) as refusal:
        metric(stated, Output((None, 3)))
    assert refusal.value.way_out
