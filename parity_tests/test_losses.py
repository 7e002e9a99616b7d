"""Every loss under every reduction, without and with weights: values and gradients against Keras, in float64."""

import numpy as np
import pytest
import torch

from converters.errors import Unsupported
from converters.training import Output, build, loss, losses
from parity_tests import training_cases as cases
from parity_tests.training import config, reference

CASES = [
    pytest.param(
        number, reduction, weighted, id=f"{name}-{kind}-{number}-{reduction}-{'weighted' if weighted else 'plain'}"
    )
    for number, (name, kind, _) in enumerate(cases.LOSSES)
    for reduction in cases.REDUCTIONS
    for weighted in (False, True)
]
FLOAT32 = {"CTC": 1e-6}  # Keras computes it in float32


def computed(number, reduction, weighted, stated=None):
    """(value, gradient with respect to the outputs), as numpy arrays."""
    _, kind, options = cases.LOSSES[number]
    outputs, targets = map(torch.tensor, cases.batch(kind))
    outputs.requires_grad_()
    stated = stated or config(f"config/loss-{number}-{reduction}")
    stated["config"] |= options  # Keras forgets Huber's delta
    made = loss(stated, Output(tuple(outputs.shape)), weighted=weighted)
    targets = targets.long() if made.targets == "classes" else targets.double()
    if targets.ndim == 1 and not made.piece.locals and made.targets == "values":
        targets = targets[:, None]  # the training program gives them the shape of the outputs
    if targets.ndim == outputs.ndim and made.targets == "classes" and not made.piece.locals:
        targets = targets.squeeze(-1)
    values = reference()[f"loss/{number}/none/False"].shape
    weights = (torch.tensor(cases.weights(targets, values)),) if weighted and values else ()
    value = build(made.piece)(outputs, targets, *weights)
    value.sum().backward()
    return value.detach().numpy(), outputs.grad.numpy()


@pytest.mark.parametrize(("number", "reduction", "weighted"), CASES)
def test_value_and_gradient(number, reduction, weighted):
    value, gradient = computed(number, reduction, weighted)
    keras, key = reference(), f"loss/{number}/{reduction}/{weighted}"
    tolerance = FLOAT32.get(cases.LOSSES[number][0], 1e-10)
    np.testing.assert_allclose(value, keras[key], rtol=tolerance, atol=tolerance)
    scale = np.abs(keras[f"{key}/gradient"]).max()
    np.testing.assert_allclose(gradient, keras[f"{key}/gradient"], rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("name", ["mse", "MSE", "mean_squared_error", "MeanSquaredError"])
def test_names(name):
    assert isinstance(build(loss(name, Output((None, 3))).piece), torch.nn.MSELoss)


@pytest.mark.parametrize(
    ("name", "activation"),
    [
        ("categorical_crossentropy", "softmax"),
        ("sparse_categorical_crossentropy", "softmax"),
        ("binary_crossentropy", "sigmoid"),
    ],
)
def test_logits_behind_the_last_activation(name, activation):
    """As Keras does it with TensorFlow: a saturated output still has a gradient."""
    made = loss(name, Output((None, 3), activation=activation))
    assert made.on == "logits"
    assert loss(name, Output((None, 3))).on == "outputs"
    assert type(build(made.piece)).__name__ in ("CrossEntropyLoss", "BCEWithLogitsLoss")


@pytest.mark.parametrize(
    ("kind", "columns", "sparse", "expected"),
    [
        ("one", 1, False, "BinaryCrossentropy"),
        ("classes", 4, True, "SparseCategoricalCrossentropy"),
        ("one-hot", 4, False, "CategoricalCrossentropy"),
    ],
)
def test_crossentropy_by_shape(kind, columns, sparse, expected):
    assert loss("crossentropy", Output((None, columns)), sparse=sparse).piece.locals == (f"losses.{expected}",)


def test_channels_first():
    """A loss along the last axis of Keras, with the classes second in PyTorch."""
    torch.manual_seed(0)
    outputs, targets = torch.rand(2, 5, 3, 4), torch.rand(2, 5, 3, 4)
    for name in ("categorical_crossentropy", "cosine_similarity", "kl_divergence", "mae"):
        first = build(loss(name, Output(tuple(outputs.shape), axis=1), weighted=True).piece)
        last = build(loss(name, Output((2, 3, 4, 5)), weighted=True).piece)
        a, b = outputs.movedim(1, -1), targets.movedim(1, -1)
        torch.testing.assert_close(first(outputs, targets), last(a, b))
        torch.testing.assert_close(first(outputs, targets, torch.rand(2, 3, 4) * 0 + 2), 2 * last(a, b))


def test_class_weights():
    from converters.training.local.losses import class_weights

    assert class_weights(torch.tensor([0, 2, 5, 2]), {0: 2.0, 2: 0.5}).tolist() == [2.0, 0.5, 1.0, 0.5]
    assert class_weights(torch.eye(3)[[2, 0]], {0: 2.0}).tolist() == [1.0, 2.0]


def test_mask():
    """Positions that do not count leave both sides of the mean."""
    values = torch.rand(2, 3, 4)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    made = build(loss("mse", Output((2, 3, 4)), weighted=True).piece)
    expected = values.square().mean(-1)[mask].mean()
    torch.testing.assert_close(made(values, torch.zeros(2, 3, 4), mask=mask), expected)


def test_several_outputs():
    outputs = [
        Output((None, 1), activation="sigmoid", name="a"),
        Output((None, 3), name="b"),
        Output((None, 2), name="c"),
    ]
    by_name = losses({"a": "binary_crossentropy", "b": "mse"}, outputs, {"a": 0.5, "b": 2})
    assert [(made.output, made.weight, made.on) for made in by_name] == [("a", 0.5, "logits"), ("b", 2.0, "outputs")]
    assert [made.weight for made in losses("mae", outputs, [1.0, 2.0, 3.0])] == [1.0, 2.0, 3.0]
    assert [made.output for made in losses(["mse", None, "mae"], outputs)] == ["a", "c"]
    with pytest.raises(Unsupported):
        losses({"z": "mse"}, outputs)


@pytest.mark.parametrize(
    ("number", "key", "value"),
    [(7, "delta", 0.31), (21, "label_smoothing", 0.21), (24, "label_smoothing", 0.11), (38, "q", 0.71)],
)
def test_sees_another_option(number, key, value):
    cases.LOSSES[number][2][key] = value
    try:
        found, _ = computed(number, "sum_over_batch_size", False)
    finally:
        cases.LOSSES[number][2][key] = OPTIONS[number][key]
    assert abs(found - reference()[f"loss/{number}/sum_over_batch_size/False"]) > 1e-6


OPTIONS = {number: dict(options) for number, (_, _, options) in enumerate(cases.LOSSES)}


@pytest.mark.parametrize(
    "stated",
    [
        {"class_name": "function", "config": "my_loss", "module": "builtins", "registered_name": "function"},
        {"class_name": "Mine", "config": {}, "module": "my", "registered_name": "my>Mine"},
        "my_loss",
        {"class_name": "MeanSquaredError", "config": {"reduction": "product"}},
        {"class_name": "BinaryCrossentropy", "config": {"axis": 1}},
    ],
)
def test_refused(stated):
    with pytest.raises(Unsupported) as refusal:
        loss(stated, Output((None, 3)))
    assert refusal.value.way_out
