"""Training, step by step: losses, weights, BatchNorm state and the optimizer's slots after each.

In float64 the optimizer, loss and BatchNorm are taken as Keras has them, and everything must agree to rounding. What
the emitted project does with PyTorch's standard parts may drift from that, for causes that are known: it is measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np
import torch

from converters.errors import Unsupported
from migrate.verify.bundle import Bundle
from migrate.verify.criterion import Array, refused, scale_of
from migrate.verify.emitted import Emitted
from migrate.verify.forward import described, judge, leak_notes
from migrate.verify.gradients import OF_THE_LARGEST, layers_of_paths, name_of, spreads_of, state_by_path
from migrate.verify.report import Check, Finding
from migrate.verify.switches import ExactSlopes, dropout_off, keras_batch_norm, untold
from migrate.verify.trainer import Recipe, recipe

# Keras' name of a slot -> how PyTorch's optimizers, and the local ones, call it.
SLOTS = {
    "momentum": ("momentum", "exp_avg", "momentum_buffer"), "velocity": ("exp_avg_sq", "square_avg"),
    "velocity_hat": ("max_exp_avg_sq",), "average_gradient": ("grad_avg",), "norm": ("exp_inf",),
    "accumulated_grad": ("square_avg",), "accumulated_delta_var": ("acc_delta",), "linear": ("linear",),
}  # fmt: skip


@dataclass(frozen=True)
class Trained:
    """What held after a step: by path in the model file, weights and slots."""

    loss: float
    weights: Mapping[str, Array]
    slots: Mapping[str, Mapping[str, Array]]


def check_training(emitted: Emitted, bundle: Bundle, dtype: str, layers: Mapping[str, Any]) -> Check:
    """`layers`: the Keras layers by path, whose regularizers belong to the loss."""
    plan = bundle.training
    if plan is None:
        return Check("training", dtype, skipped="; ".join(bundle.notes) or "the original could not be trained")
    if reason := not_trained(emitted, bundle):
        return Check("training", dtype, skipped=reason)
    try:
        exact, standard = (recipe(emitted, bundle, layers, exact=exact) for exact in (True, False))
    except Unsupported as error:
        return Check("training", dtype, skipped=f"{error.reason}; {error.way_out}")
    try:
        steps = list(train(emitted, bundle, exact, as_keras=True))
    except Exception as error:  # an edited model can fail in any way, and that is a result
        return Check("training", dtype, (Finding("training", refused(described(error))),), plan.steps)
    idle = without_slope(bundle)
    findings = [
        finding
        for number, step in enumerate(steps, 1)
        for finding in _compared(emitted, bundle, dtype, number, step, idle)
    ]
    causes = [*(entry["what"] for entry in emitted.migration["drift"]), *standard.drift]
    notes = [*leak_notes(bundle, "training"), *untold(emitted.migration)]
    if causes and dtype == "float64" and all(finding.verdict.passed for finding in findings):
        notes.append(_drift(bundle, list(train(emitted, bundle, standard, as_keras=False)), steps, causes))
    return Check("training", dtype, tuple(findings), plan.steps, notes=tuple(notes))


def not_trained(emitted: Emitted, bundle: Bundle) -> str:
    """Why the training cannot be compared; '' if it can."""
    if not any(parameter.requires_grad for parameter in emitted.model.parameters()):
        return "the model has nothing to train"
    outputs = {output["name"] for output in emitted.migration["outputs"]}
    calls = bundle.layer_calls if "layers" in bundle.checks else []
    masked = [c.layer for c in calls if c.layer in outputs and any(o.mask is not None for o in c.outputs)]
    if masked:
        return f"the original's loss leaves out the masked steps of {masked[0]}, which model.py does not give out"
    return ""


def train(emitted: Emitted, bundle: Bundle, recipe: Recipe, *, as_keras: bool) -> Iterator[Trained]:
    """The state after each step, of a copy of the model."""
    assert bundle.training is not None
    emitted = replace(emitted, model=deepcopy(emitted.model))
    batch_norm = keras_batch_norm(emitted.model, emitted.migration) if as_keras else nullcontext()
    run = recipe.start(emitted.model)
    with dropout_off(emitted.model.train()), batch_norm, ExactSlopes():
        for number in range(bundle.training.steps):
            inputs, targets = bundle.batch(number % bundle.training.batches)
            loss = run.step(emitted, inputs, targets, number + 1)
            yield Trained(
                loss, state_by_path(emitted, emitted.model.state_dict()), _slots(emitted, bundle, run.optimizer)
            )


def _slots(emitted: Emitted, bundle: Bundle, optimizer: Any) -> dict[str, dict[str, Array]]:
    """The optimizer's slots under Keras' names, as far as they are the same numbers."""
    assert bundle.training is not None
    parameters = dict(emitted.model.named_parameters())
    found = {}
    for slot in bundle.training.slots:
        tensors = {}
        for key, parameter in parameters.items():
            state = optimizer.state.get(parameter, {})
            name = next((name for name in SLOTS.get(slot, ()) if isinstance(state.get(name), torch.Tensor)), "")
            if name:
                factor = -_rate(optimizer, parameter) if name == "momentum_buffer" else 1.0
                tensors[key] = state[name] * factor
        found[slot] = state_by_path(emitted, tensors)
    return found


def _rate(optimizer: Any, parameter: torch.Tensor) -> float:
    groups = [group for group in optimizer.param_groups if any(p is parameter for p in group["params"])]
    return float(groups[0]["lr"])


def _compared(
    emitted: Emitted, bundle: Bundle, dtype: str, number: int, found: Trained, idle: set[str]
) -> Iterator[Finding]:
    """`idle`: see `without_slope`. An update is looked at as a gradient is: against the largest of all."""
    plan, leak, case = bundle.training, bundle.limit("training", dtype), f"step {number}"
    assert plan is not None
    loss, truth = (np.array(plan.losses[kind][number - 1], np.float64) for kind in (dtype, "float64"))
    yield Finding("loss", judge(dtype, np.array(found.loss, np.float64), loss, truth, leak), "", case)
    if number not in plan.recorded:
        return
    expected, real = bundle.step(dtype, number), bundle.step("float64", number)
    owners, start = layers_of_paths(emitted), state_by_path(emitted, emitted.model.state_dict())
    moves = [(real.weights[path], array) for path, array in start.items() if path in real.weights]
    updates = [np.abs(after - before) for after, before in moves if after.shape == before.shape]
    spreads = spreads_of(bundle, real.weights)
    moved = OF_THE_LARGEST[dtype] * max((float(update.max(initial=0.0)) for update in updates), default=0.0)
    for path, array in expected.weights.items():
        given = found.weights.get(path)
        if given is None:
            continue  # a weight that the torch model does without, as a seed
        floor = 1.0 if path in idle else max(moved, spreads.get(path, 0.0))
        verdict = judge(dtype, given, array, real.weights[path], leak, floor, outlier=inf)
        yield Finding(name_of(bundle, path), verdict, owners.get(path, ""), case)
    for slot, arrays in expected.slots.items():
        floor = OF_THE_LARGEST[dtype] * max((scale_of(array) for array in real.slots[slot].values()), default=1.0)
        for path, array in arrays.items():
            given = found.slots.get(slot, {}).get(path)
            if given is not None:
                verdict = judge(dtype, given, array, real.slots[slot][path], leak, floor, outlier=inf)
                yield Finding(f"{slot} of {name_of(bundle, path)}", verdict, owners.get(path, ""), case)


def without_slope(bundle: Bundle) -> set[str]:
    """Weights whose true gradient is 0, as a bias before BatchNorm: Adam makes steps of what rounding leaves of it."""
    if bundle.document.get("gradients") is None or "training" not in bundle.modes:
        return set()
    gradients = bundle.gradients("float64", "training").weights
    largest = max((float(np.abs(array).max()) for array in gradients.values() if array.size), default=0.0)
    return {path for path, array in gradients.items() if array.size and float(np.abs(array).max()) < 1e-12 * largest}


def _drift(bundle: Bundle, standard: Sequence[Trained], exact: Sequence[Trained], causes: Sequence[str]) -> str:
    """How far PyTorch's standard parts are from Keras after the last step, as a sentence."""
    last, truth = standard[-1], exact[-1]
    worst = max((float(np.abs(last.weights[p] - a).max()) / scale_of(a), p) for p, a in truth.weights.items() if a.size)
    loss, variable = abs(last.loss - truth.loss) / (abs(truth.loss) or 1.0), name_of(bundle, worst[1])
    return (
        f"drift of PyTorch's standard parts after {len(exact)} steps: {worst[0]:.1e} of the scale of {variable}, "
        f"{loss:.1e} of the loss. Known causes: {'; '.join(dict.fromkeys(causes))}"
    )
