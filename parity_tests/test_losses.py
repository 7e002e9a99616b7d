"""Every loss under every reduction, without and with weights: values and gradients against Keras, in float64."""

import numpy as np
import pytest
import torch

from converters.training import Output, build, loss
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
    _, kind, _ = cases.LOSSES[number]
    outputs, targets = map(torch.tensor, cases.batch(kind))
    outputs.requires_grad_()
    made = loss(stated or config(f"config/loss-{number}-{reduction}"), Output(tuple(outputs.shape)), weighted=weighted)
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
