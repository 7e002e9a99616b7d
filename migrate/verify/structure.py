"""Parameters, their shapes, dtypes and numbers, inputs and outputs: what can be compared without running anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import torch

from converters.weights import Leaf, Weight, evaluate
from migrate.verify.bundle import Bundle
from migrate.verify.criterion import Array, Verdict, refused
from migrate.verify.emitted import Emitted
from migrate.verify.records import Interface
from migrate.verify.report import Check, Finding

Read = Callable[[Leaf], Array]
SAME = Verdict(True, 0.0, 0.0, 0.0, ())


def check_structure(emitted: Emitted, bundle: Bundle, read: Read | None) -> Check:
    """`emitted` in the precision of its file; `read`: the arrays of the model file, to compare the weights with."""
    state = emitted.model.state_dict(keep_vars=True)
    findings = [
        *_counts(emitted, bundle, state),
        *_interface("input", bundle.inputs, emitted.migration["inputs"]),
        *_interface("output", _as_run(bundle), emitted.migration["outputs"]),
        *_parameters(emitted, bundle, state, read),
    ]
    return Check("structure", "", tuple(findings), len(findings))


def equal(found: Any, expected: Any) -> Verdict:
    """The verdict on something that is no tensor."""
    return SAME if found == expected else refused(f"{found}, expected {expected}")


def _counts(emitted: Emitted, bundle: Bundle, state: Mapping[str, torch.Tensor]) -> Iterator[Finding]:
    """Parameters as Keras counts them: the numbers of the file, and those of them that an optimizer moves.

    An old file holds a layer that stands in two models twice, and its Keras loads two: here it is one.
    """
    learning = {key for key, tensor in state.items() if tensor.requires_grad}
    for what, keys, count in (
        ("parameters", set(state), bundle.parameters["total"]),
        ("trainable parameters", learning, bundle.parameters["trainable"]),
    ):
        found = _size({leaf for key in keys if key in emitted.weights for leaf in emitted.weights[key].leaves()})
        once = sum(prod(w.shape) for w in bundle.weights.values() if what == "parameters" or w.trainable)
        yield Finding(f"number of {what}", equal(found, count if found != once else once))


def _size(leaves: set[Leaf]) -> int:
    return sum(prod(leaf.shape) for leaf in leaves)


def _interface(kind: str, stated: list[Interface], found: list[Mapping[str, Any]]) -> Iterator[Finding]:
    yield Finding(f"number of {kind}s", equal(len(found), len(stated)))
    for original, entry in zip(stated, found, strict=False):
        name = entry["name"]
        yield Finding(f"shape of {kind} {name}", _compatible(entry["keras_shape"], original.shape))
        yield Finding(f"dtype of {kind} {name}", _same_kind(entry["dtype"], original.dtype))


def _same_kind(found: str, stated: str) -> Verdict:
    """Indices and counts are int64 in PyTorch, int32 in most of TensorFlow: both are whole numbers."""
    return SAME if found.startswith("int") and stated.startswith("int") else equal(found, stated)


def _as_run(bundle: Bundle) -> list[Interface]:
    """The outputs as they were: sizes and dtypes that Keras states before a run are wrong for some (gated units)."""
    runs = [bundle.output_arrays(bundle.dtypes[0], number) for number in range(len(bundle.sets))]
    as_run = [_with_sizes(output, [run[i].shape for run in runs]) for i, output in enumerate(bundle.outputs)]
    return [
        replace(output, dtype="float32") if run.dtype.kind == "f" and "float" not in output.dtype else output
        for output, run in zip(as_run, runs[0], strict=True)
    ]


def _with_sizes(output: Interface, shapes: list[tuple[int, ...]]) -> Interface:
    """A size that is open stays so, and one that was not the same in every run is open too."""
    if len({len(shape) for shape in shapes}) != 1:
        return output
    sizes = [set(found) for found in zip(*shapes, strict=True)]
    stated = output.shape if len(output.shape) == len(sizes) else [0] * len(sizes)
    pairs = zip(stated, sizes, strict=True)
    return replace(output, shape=tuple(None if size is None or len(run) > 1 else run.pop() for size, run in pairs))


def _compatible(found: list[int | None], stated: tuple[int | None, ...]) -> Verdict:
    """A size that the original leaves open may have been worked out, and any number of samples be taken."""
    pairs = enumerate(zip(found, stated, strict=False))
    same = len(found) == len(stated) and all(s in (None, f) or (axis == 0 and f is None) for axis, (f, s) in pairs)
    return SAME if same else refused(f"{list(found)}, expected {list(stated)}")


def _parameters(
    emitted: Emitted, bundle: Bundle, state: Mapping[str, torch.Tensor], read: Read | None
) -> Iterator[Finding]:
    for key in sorted(set(emitted.weights) - set(state)):
        yield Finding(f"tensor {key}", refused("model.py has no such tensor"), emitted.layer_of(key))
    for key, tensor in state.items():
        weight, layer = emitted.weights.get(key), emitted.layer_of(key)
        if weight is None:
            yield Finding(f"tensor {key}", refused("no weight of the original fills it"), layer)
            continue
        yield Finding(f"shape of {key}", equal(list(tensor.shape), list(weight.shape)), layer)
        yield Finding(f"dtype of {key}", equal(str(tensor.dtype).removeprefix("torch."), weight.dtype), layer)
        yield Finding(f"{key} learns", _learns(tensor, weight, bundle), layer)
        if read is not None and list(tensor.shape) == list(weight.shape):
            yield Finding(f"numbers of {key}", _same_numbers(tensor, weight, read), layer)


def _learns(tensor: torch.Tensor, weight: Weight, bundle: Bundle) -> Verdict:
    """A parameter learns if all arrays that it is made of do in the original."""
    leaves = [leaf.key for leaf in weight.leaves() if leaf.key in bundle.weights]
    if not leaves:
        return equal(tensor.requires_grad, False)
    return equal(tensor.requires_grad, all(bundle.weights[key].trainable for key in leaves))


def _same_numbers(tensor: torch.Tensor, weight: Weight, read: Read) -> Verdict:
    """Bit for bit what the model file holds."""
    expected = np.asarray(evaluate(weight, read))
    stored = tensor.detach()
    found = stored.view(torch.uint16).numpy() if stored.dtype == torch.bfloat16 else stored.numpy()
    wrong = np.argwhere(found != expected)
    if not len(wrong):
        return SAME
    index = tuple(int(i) for i in wrong[0])
    difference = abs(float(found[index]) - float(expected[index]))
    why = f"{len(wrong)} of {found.size} numbers are not the file's"
    return Verdict(
        False, difference, difference, 0.0, index, why, found=float(found[index]), expected=float(expected[index])
    )
