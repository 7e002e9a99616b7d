"""Gradients of every parameter and every float input, through the same weight expressions as the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from converters.weights import restore
from migrate.verify.bundle import Bundle
from migrate.verify.criterion import DEVIATIONS, Array, Verdict, refused, scale_of
from migrate.verify.emitted import Emitted, array_of
from migrate.verify.forward import described, judge, leak_notes, limit_of_outputs
from migrate.verify.kinks import Jumps, jumps
from migrate.verify.records import Gradients
from migrate.verify.report import Check, Finding
from migrate.verify.switches import ExactSlopes, dropout_off, keras_batch_norm

# What is left of a sum whose terms cancel is rounding of the terms: errors of gradients below 1e-2 of the largest are
# measured against that (a bias in front of a BatchNorm has the gradient 0, and both frameworks give 1e-17).
# In float32, where terms are rounded to 1e-7, what is left of them is measured against the largest itself.
KINKS = (
    "in {} mode, some gradients jump where a last digit of the weights changes (a ReLU or max pooling on the edge): "
    "float32 may land on either side, and they are compared to within that jump"
)
NOWHERE = Jumps()
MEAN, VARIANCE = "moving_mean", "moving_variance"
OF_THE_LARGEST = {"float64": 1e-2, "float32": 1.0}


@dataclass(frozen=True)
class Pass:
    """What one backward pass left: by path in the model file, by input, the outputs, and the state of BatchNorm."""

    weights: Mapping[str, Array]
    inputs: Sequence[Array | None]
    outputs: Sequence[Array]
    state: Mapping[str, Array]


def check_gradients(emitted: Emitted, bundle: Bundle, dtype: str) -> Check:
    """A fixed random projection of the outputs, in inference mode and in training mode without dropout."""
    findings: list[Finding] = []
    notes: list[str] = []
    for mode in bundle.modes:
        expected, truth = bundle.gradients(dtype, mode), bundle.gradients("float64", mode)
        try:
            found = backward(emitted, bundle, training=mode == "training")
        except Exception as error:  # an edited model can fail in any way, and that is a result
            findings.append(Finding("gradients", refused(described(error)), "", mode))
            continue
        compared = _compared(emitted, bundle, dtype, mode, found, expected, truth)
        if dtype == "float32" and any(not f.verdict.passed and not f.verdict.why for f in compared):
            jumped = jumps(emitted, bundle, found, training=mode == "training")
            compared = _compared(emitted, bundle, dtype, mode, found, expected, truth, jumped)
            notes += [KINKS.format(mode)] if all(finding.verdict.passed for finding in compared) else []
        findings += compared
    notes += [*leak_notes(bundle, "gradients"), *_undefined(emitted, bundle)]
    return Check("gradients", dtype, tuple(findings), len(findings), notes=tuple(notes))


def backward(emitted: Emitted, bundle: Bundle, *, training: bool) -> Pass:
    """One forward and backward pass. The model is as it was before, its gradients are gone."""
    model = emitted.model
    kept = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    inputs = emitted.tensors(bundle.input_arrays(bundle.gradient_set))
    for tensor in inputs:
        tensor.requires_grad_(tensor.is_floating_point())
    try:
        with dropout_off(model.train(training)), keras_batch_norm(model, emitted.migration), ExactSlopes():
            outputs = emitted.in_keras_order(model(*inputs))
            total = projected(outputs, bundle.projections())
            if total.requires_grad:  # a model of whole numbers has no gradients
                total.backward()  # type: ignore[no-untyped-call]
        weights = summed_by_path(emitted, {k: p.grad for k, p in model.named_parameters() if p.grad is not None})
        state = state_by_path(emitted, model.state_dict())
        given = [_input_gradient(emitted, number, tensor) for number, tensor in enumerate(inputs)]
        return Pass(weights, given, [array_of(output) for output in outputs], state)
    finally:
        model.zero_grad(set_to_none=True)
        model.load_state_dict(kept)
        model.eval()


def projected(outputs: Sequence[torch.Tensor], projections: Sequence[Array | None]) -> torch.Tensor:
    """The sum of all outputs, each element times a fixed number."""
    terms = [
        (output * torch.from_numpy(projection).to(output.device, output.dtype)).sum()
        for output, projection in zip(outputs, projections, strict=True)
        if projection is not None
    ]
    return sum((term.double() for term in terms), torch.zeros((), dtype=torch.float64))


def _input_gradient(emitted: Emitted, number: int, tensor: torch.Tensor) -> Array | None:
    if tensor.grad is None:
        return None
    permute = emitted.migration["inputs"][number]["permute"]
    return array_of(tensor.grad).transpose(np.argsort(permute))


def summed_by_path(emitted: Emitted, gradients: Mapping[str, torch.Tensor]) -> dict[str, Array]:
    """By key of the state dict -> by path in the model file; what one array got in several places is added."""
    found: dict[str, Array] = {}
    for key, gradient in gradients.items():
        for path, part in state_by_path(emitted, {key: gradient}).items():
            found[path] = found[path] + part if path in found else part
    return found


def state_by_path(emitted: Emitted, state: Mapping[str, torch.Tensor]) -> dict[str, Array]:
    """Tensors by key of the state dict -> arrays by path in the model file, in its layout."""
    arrays: dict[str, Array] = {}
    for key, tensor in state.items():
        weight = emitted.weights.get(key)
        if weight is not None:
            array = array_of(tensor)
            for leaf in weight.leaves():
                arrays.setdefault(leaf.key, np.zeros(leaf.shape, array.dtype))
            restore(weight, array, arrays)
    return arrays


def _undefined(emitted: Emitted, bundle: Bundle) -> Iterator[str]:
    """Gradients that the original does not have itself: the slope of 1 / relu(x) at 0 is 0 * inf in its kernels."""
    for mode in bundle.modes:
        original = bundle.gradients("float64", mode)
        named = {f"gradient of {name_of(bundle, path)}": array for path, array in original.weights.items()}
        for entry, array in zip(emitted.migration["inputs"], original.inputs, strict=True):
            if array is not None:
                named[f"gradient of input {entry['name']}"] = array
        for what, array in named.items():
            if lost := int(np.isnan(array).sum()):
                yield f"{lost} of {array.size} numbers of the {what} ({mode}) are NaN in the original; any will do"


def slope(dtype: str, found: Array, expected: Array, truth: Array, leak: float, floor: float) -> Verdict:
    """The verdict on a gradient. Where the original has NaN, a number is no fault."""
    if found.shape == expected.shape:
        lost = np.isfinite(found) & (np.isnan(expected) | np.isnan(truth))
        if lost.any():
            found, expected, truth = (np.where(lost, 0, array) for array in (found, expected, truth))
    return judge(dtype, found, expected, truth, leak, floor, outlier=DEVIATIONS)


def _compared(
    emitted: Emitted,
    bundle: Bundle,
    dtype: str,
    mode: str,
    found: Pass,
    expected: Gradients,
    truth: Gradients,
    jumped: Jumps = NOWHERE,
) -> list[Finding]:
    """`jumped`: how far a gradient may be off because float32 lands on the other side of a kink."""
    leak = bundle.limit(f"gradients, {mode}", dtype)
    everything = [*truth.weights.values(), *(array for array in truth.inputs if array is not None)]
    floor = OF_THE_LARGEST[dtype] * max((scale_of(array) for array in everything), default=1.0)
    owners = layers_of_paths(emitted)
    findings = []
    learning = {path for path, info in bundle.weights.items() if info.trainable}
    for path in sorted(learning & set(expected.weights)):
        array = expected.weights[path]
        what, layer = f"gradient of {name_of(bundle, path)}", owners.get(path, "")
        missing = refused("no gradient: it is frozen, or nothing depends on it")
        given = found.weights.get(path)
        real = truth.weights[path]
        limit = max(leak, jumped.weights.get(path, 0.0) / max(floor, scale_of(real)))
        same = slope(dtype, given, array, real, limit, floor) if given is not None else missing
        findings.append(Finding(what, same, layer, mode))
    for path in sorted(set(found.weights) - set(expected.weights)):
        if np.any(found.weights[path]):
            why = refused("it has a gradient, and none in the original")
            findings.append(Finding(f"gradient of {name_of(bundle, path)}", why, owners.get(path, ""), mode))
    for number, (kept, wanted) in enumerate(zip(found.inputs, expected.inputs, strict=True)):
        if wanted is not None:
            what = f"gradient of input {emitted.migration['inputs'][number]['name']}"
            of_input = truth.inputs[number]
            assert of_input is not None
            limit = max(leak, jumped.inputs.get(number, 0.0) / max(floor, scale_of(of_input)))
            same = slope(dtype, np.zeros_like(wanted) if kept is None else kept, wanted, of_input, limit, floor)
            findings.append(Finding(what, same, "", mode))
    limit = max(leak, limit_of_outputs(bundle, bundle.gradient_set, dtype))
    for number, (output, array) in enumerate(zip(found.outputs, expected.outputs, strict=True)):
        what = f"output {emitted.migration['outputs'][number]['name']} in {mode} mode"
        findings.append(Finding(what, judge(dtype, output, array, truth.outputs[number], limit), "", mode))
    spreads = spreads_of(bundle, truth.state)
    for path, array in expected.state.items():
        what = f"{name_of(bundle, path)} after a step in {mode} mode"
        left = found.state.get(path)
        missing = refused("it is not in the model")
        floor = spreads.get(path, 0.0)
        same = judge(dtype, left, array, truth.state[path], leak, floor) if left is not None else missing
        findings.append(Finding(what, same, owners.get(path, ""), mode))
    return findings


def spreads_of(bundle: Bundle, arrays: Mapping[str, Array]) -> dict[str, float]:
    """What a moving mean is looked at against, by path: the spread of what it is the mean of, which may be around 0."""
    named = {name_of(bundle, path): array for path, array in arrays.items()}
    found = {}
    for path in arrays:
        layer, _, kind = name_of(bundle, path).rpartition("/")
        if kind == MEAN and (variance := named.get(f"{layer}/{VARIANCE}")) is not None:
            found[path] = float(np.sqrt(max(float(np.max(variance, initial=0.0)), 0.0)))
    return found


def layers_of_paths(emitted: Emitted) -> dict[str, str]:
    """Path in the model file -> the Keras layer that it belongs to."""
    return {leaf.key: emitted.layer_of(key) for key, weight in emitted.weights.items() for leaf in weight.leaves()}


def name_of(bundle: Bundle, path: str) -> str:
    """What the original calls an array of the file."""
    return bundle.weights[path].variable if path in bundle.weights else path


def trainable(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
