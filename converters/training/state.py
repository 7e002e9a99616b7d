"""The optimizer's variables of a Keras file -> the state of the PyTorch optimizer that stands for it.

A file holds them in a row: the step count, the learning rate, then what each trainable weight has, in the order of
`model.trainable_variables`. What belongs to a weight goes through the weight's own expression, as the weight did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from converters.errors import UserError
from converters.training.config import named, snake
from converters.training.optimizer_classes import Variable, by_muon
from converters.training.optimizers import Optimizer, optimizer_map, owner
from converters.training.piece import Attribute, Call, build
from converters.weights import Array, Concat, Constant, Leaf, Reshape, Slice, Transpose, Weight, evaluate

Named = tuple[str, Leaf]  # a trainable weight of Keras: the name of the variable as far as it is known, and its array
Read = Callable[[Leaf], Array]
Place = tuple[str, int | None]  # what it is, and which trainable weight it belongs to
# Class -> what a weight has. A list within is written weight by weight, one after the other in a row of rows.
TOGETHER = {
    "adam": ["momentum", "velocity"],
    "adamw": ["momentum", "velocity"],
    "lamb": ["momentum", "velocity"],
    "nadam": ["momentum", "velocity"],
    "schedulefreeadamw": ["momentum", "velocity"],
    "adadelta": ["accumulated_grad", "accumulated_delta_var"],
    "adamax": ["momentum", "norm"],
    "ftrl": ["accumulator", "linear"],
    "adagrad": ["accumulator"],
    "lion": ["momentum"],
    "sgd": ["momentum"],
    "rmsprop": ["velocity"],
}
# Keras' name -> PyTorch's, by the class that is used.
NAMES = {
    "Adam": {"momentum": "exp_avg", "velocity": "exp_avg_sq", "velocity_hat": "max_exp_avg_sq"},
    "Adamax": {"momentum": "exp_avg", "norm": "exp_inf"},
    "Adadelta": {"accumulated_grad": "square_avg", "accumulated_delta_var": "acc_delta"},
    "Adagrad": {"accumulator": "sum"},
    "Ftrl": {"accumulator": "accumulator", "linear": "linear"},
    "Lion": {"momentum": "exp_avg"},
    "Muon": {"momentum": "exp_avg", "velocity": "exp_avg_sq"},
    "ScheduleFreeAdamW": {"momentum": "z", "velocity": "exp_avg_sq"},
    "SGD": {"momentum": "momentum"},
    "RMSprop": {"velocity": "square_avg", "momentum": "momentum", "average_gradient": "grad_avg"},
    "Adafactor": {"velocity": "variance"},
}
NAMES |= dict.fromkeys(("AdamW", "Nadam", "NAdam", "Lamb"), NAMES["Adam"])


@dataclass(frozen=True)
class Slots:
    """What a file holds: `batches` done, arrays by what they are and the weight (its leaf) they belong to, and numbers.

    `epsilon`: of the config, for PyTorch's Adagrad, which keeps it in the sum.
    """

    batches: int
    arrays: Mapping[tuple[str, str], Leaf]
    scalars: Mapping[str, float] = field(default_factory=dict)
    epsilon: float = 0.0


def slots(config: Any, weights: Sequence[Named], held: Sequence[Leaf], read: Read, version: tuple[int, ...]) -> Slots:
    """Which array is what. `weights`: the trainable ones, `held`: the optimizer's variables, both in Keras' order.

    Raises UserError where number or shapes do not fit the optimizer of the config.
    """
    class_name, settings = named(config, "the optimizer")
    kind = snake(class_name)
    if kind == "lossscaleoptimizer" and len(held) > 4:
        inner = slots(settings.get("inner_optimizer"), weights, held[4:], read, version)
        return replace(inner, scalars={**inner.scalars, "dynamic_scale": float(read(held[3]))})
    if kind == "multioptimizer":
        return _several(settings, weights, held, read, version)
    layouts = _layouts(kind, settings, weights, version)
    shapes = [leaf.shape for _, leaf in weights]
    places = next((places for places in layouts if _fits(places, shapes, held)), None)
    if places is None:
        raise _unfit(class_name, len(weights), held)
    found = {(what, weights[i][1].key): leaf for (what, i), leaf in zip(places, held, strict=True) if i is not None}
    single = {what: float(read(leaf)) for (what, i), leaf in zip(places, held, strict=True) if i is None}
    return Slots(int(single.pop("iteration")), found, single, float(settings.get("epsilon") or 1e-7))


def _several(
    settings: Mapping[str, Any], weights: Sequence[Named], held: Sequence[Leaf], read: Read, version: tuple[int, ...]
) -> Slots:
    """Those of a MultiOptimizer stand one after the other, behind a step count and a rate of its own."""
    default, patterns = optimizer_map(settings)
    arrays: dict[tuple[str, str], Leaf] = {}
    rest, batches = list(held[2:]), int(read(held[0]))
    for pattern in [*patterns, ""]:
        own = [pair for pair in weights if owner(pair[0], patterns) == pattern]
        inner = patterns.get(pattern, default)
        class_name, stated = named(inner, "the optimizer")
        shapes = [leaf.shape for _, leaf in own]
        for places in _layouts(snake(class_name), stated, own, version):
            if _fits(places, shapes, rest[: len(places)]):
                arrays |= slots(inner, own, rest[: len(places)], read, version).arrays
                rest = rest[len(places) :]
                break
        else:
            raise _unfit(class_name, len(own), rest)
    return Slots(batches, arrays)


def _unfit(class_name: str, count: int, held: Sequence[Leaf]) -> UserError:
    return UserError(
        f"the state of the optimizer {class_name!r:.40} does not fit the trainable weights of the model",
        expected=f"the step count, then what {class_name:.40} keeps for each of {count} trainable weights",
        found=f"{len(held)} arrays, the first of shapes {[list(leaf.shape) for leaf in held[:4]]}",
        remedy="start the training without it; the weights themselves are not concerned",
    )


def _layouts(
    kind: str, settings: Mapping[str, Any], named_weights: Sequence[Named], version: tuple[int, ...]
) -> Iterator[list[Place]]:
    """The orders in which Keras may have written them, the likely one first."""
    legacy = version < (3,) and (
        version < (2, 11) or "decay" in settings or settings.get("is_legacy_optimizer") is True
    )
    weights = range(len(named_weights))
    shared: list[Place] = [("average", i) for i in weights] if settings.get("use_ema") else []
    if settings.get("gradient_accumulation_steps"):
        shared += [("gradient_accumulator", i) for i in weights]
    own = list(_own(kind, settings, named_weights, legacy))
    for rate in ([], [("learning_rate", None)]) if version < (3,) else ([("learning_rate", None)], []):
        for end in ([("u_product", None)], []) if kind == "nadam" else ([],):
            yield [("iteration", None), *rate, *shared, *own, *end]
            if kind == "sgd" and version < (3,):
                yield [("iteration", None), *rate, *shared, *(("momentum", i) for i in weights)]


def _own(kind: str, settings: Mapping[str, Any], named_weights: Sequence[Named], legacy: bool) -> Iterator[Place]:
    weights = range(len(named_weights))
    if kind == "adafactor":
        yield from ((what, i) for i in weights for what in ("row", "column", "velocity"))
    elif kind == "muon":
        for i, (path, leaf) in enumerate(named_weights):
            yield "momentum", i
            if not by_muon(path, leaf, settings.get("exclude_embeddings", True), settings.get("exclude_layers") or []):
                yield "velocity", i
    elif kind == "sgd" and not settings.get("momentum"):
        return
    else:
        names = TOGETHER[kind]
        if legacy:
            yield from ((what, i) for what in names for i in weights)
        else:
            yield from ((what, i) for i in weights for what in names)
    if kind in ("adam", "adamw") and settings.get("amsgrad"):
        yield from (("velocity_hat", i) for i in weights)
    if kind == "rmsprop":
        extra = [("momentum", settings.get("momentum")), ("average_gradient", settings.get("centered"))]
        yield from ((what, i) for what, there in extra if there for i in weights)


def _fits(places: Sequence[Place], shapes: Sequence[tuple[int, ...]], held: Sequence[Leaf]) -> bool:
    if len(places) != len(held):
        return False
    return all(leaf.shape == _shape(what, i, shapes) for (what, i), leaf in zip(places, held, strict=True))


def _shape(what: str, index: int | None, shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    if index is None:
        return ()
    shape = shapes[index]
    if what in ("row", "column"):
        return () if len(shape) < 2 else shape[:-1] if what == "row" else (*shape[:-2], shape[-1])
    return shape


# -- to PyTorch --------------------------------------------------------------------------------------------


def torch_state(pieces: Optimizer, found: Slots, variables: Sequence[Variable], read: Read) -> dict[str, Array]:
    """`exp_avg/fc.weight` -> array, for every parameter that has a state; `average/fc.weight` for averages, and
    `batches`, how many there were. For `optim.resume` of the emitted project."""
    state: dict[str, Array] = {"batches": np.array(found.batches, np.int64)}
    for index, rate in enumerate(pieces.rates):
        if rate is not None:
            state[f"rate/{index}"] = np.array(build(rate)(found.batches), np.float64)
    if "dynamic_scale" in found.scalars:
        state["scale"] = np.array(found.scalars["dynamic_scale"], np.float32)
    for variable in variables:
        for name, array in _of_parameter(pieces, found, variable, read):
            state[f"{name}/{variable.name}"] = np.ascontiguousarray(array)
    return state


def _of_parameter(pieces: Optimizer, found: Slots, variable: Variable, read: Read) -> Iterator[tuple[str, Array]]:
    expression = _of(pieces.optimizer.expression, variable.name)
    target, steps = expression.target, found.batches // pieces.accumulate
    held = {what: _slot(what, found, variable, read) for what in _whats(found, variable)}
    for what in ("average", "gradient_accumulator"):
        if what in held:
            yield what, held.pop(what) / (pieces.accumulate if what == "gradient_accumulator" else 1)
    if not steps or (target == "torch.optim.SGD" and not held):
        return
    options = dict(expression.options)
    if target == "torch.optim.SGD":  # the rate stands outside of the momentum
        yield "momentum_buffer", -held["momentum"] / options["lr"]
        return
    yield "step", np.array(steps, np.float32)
    if target.endswith("Adafactor"):
        yield from _factored(target, found, variable, held, read)
        return
    if target == "torch.optim.Adagrad" and options["eps"] == 0:  # epsilon stands in the sum
        held["accumulator"] = held["accumulator"] + found.epsilon
    names = NAMES[target.rpartition(".")[2]]
    yield from ((names[what], array) for what, array in held.items())
    if "u_product" in found.scalars:
        yield "mu_product", np.array(found.scalars["u_product"], np.float64)


def _of(expression: Any, name: str) -> Call:
    """The constructor call of the optimizer that has a parameter; a MultiOptimizer has several."""
    assert isinstance(expression, Call)
    if expression.target != "optim.Optimizers":
        return expression
    parts: list[Call] = [part for part in expression.args if Attribute(name) in _members(part.args[0])]
    return parts[0]


def _members(parameters: Any) -> list[Any]:
    groups = [entry["params"] if isinstance(entry, Mapping) else [entry] for entry in parameters]
    return [member for group in groups for member in group]


def _whats(found: Slots, variable: Variable) -> list[str]:
    keys = {leaf.key for leaf in variable.weight.leaves()}
    return list(dict.fromkeys(what for what, key in found.arrays if key in keys and what not in ("row", "column")))


def _slot(what: str, found: Slots, variable: Variable, read: Read) -> Array:
    """An array of the weight's shape through the weight's expression; what no file holds has the slot 0."""
    return evaluate(_without_constants(variable.weight), lambda leaf: read(found.arrays[what, leaf.key]))


def _without_constants(weight: Weight) -> Weight:
    match weight:
        case Constant():
            return replace(weight, value=0.0)
        case Concat(parts=parts):
            return replace(weight, parts=tuple(map(_without_constants, parts)))
        case Transpose() | Reshape() | Slice():
            return replace(weight, base=_without_constants(weight.base))
    return weight


def _factored(
    target: str, found: Slots, variable: Variable, held: Mapping[str, Array], read: Read
) -> Iterator[tuple[str, Array]]:
    """Adafactor's second moments: by rows and columns of the Keras weight, or of PyTorch's, which is its transpose."""
    leaf = next(variable.weight.leaves())
    if leaf.rank < 2:
        yield "variance", held["velocity"]
        return
    row, column = (read(found.arrays[what, leaf.key]) for what in ("row", "column"))
    if target.startswith("torch.") and isinstance(variable.weight, Transpose):
        row, column = column, row
    yield "row_var", row[..., :, None]
    yield "col_var", column[..., None, :]
