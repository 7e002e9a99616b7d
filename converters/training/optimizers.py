"""A Keras optimizer as the pieces of one update: optimizer, schedule, clipping, average, loss scale."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from converters.errors import Unsupported
from converters.graph import Function
from converters.training.config import DAMAGED, Options, named, refuse_custom, snake
from converters.training.optimizer_classes import (
    DEFAULT_DECAY,
    DEFAULT_RATES,
    MAKERS,
    PARAMETERS,
    Context,
    Variable,
    _pattern,
)
from converters.training.piece import Attribute, Name, Piece, call
from converters.training.schedules import Schedule, decayed, schedule_of

# What says nothing about the update: names, how Keras 2 runs it; a constant loss scale changes but the rounding.
SILENT = ("name", "jit_compile", "is_legacy_optimizer", "dynamic", "loss_scale_factor")
GLOBAL_NORM = "PyTorch adds 1e-6 to the norm of the gradients by which it divides them, Keras does not: 1e-6 of a step"


@dataclass(frozen=True)
class Optimizer:
    """Everything that happens between `loss.backward()` and the next batch (see `converters.training`).

    `rates`: the learning rate as a function of the number of batches, where it changes; a MultiOptimizer has several.
    `per_token`: embeddings whose
    gradients are squared token by token. `class_name`: as Keras calls it.
    """

    optimizer: Piece
    schedule: Piece | None = None
    clip: tuple[Piece, ...] = ()
    average: Piece | None = None
    scaler: Piece | None = None
    accumulate: int = 1
    rates: tuple[Function | None, ...] = ()
    per_token: tuple[Piece, ...] = ()
    class_name: str = ""

    @property
    def pieces(self) -> tuple[Piece, ...]:
        parts = (*self.per_token, self.optimizer, self.schedule, *self.clip, self.average, self.scaler)
        return tuple(part for part in parts if part is not None)


def optimizer(
    config: Any,
    variables: Sequence[Variable] = (),
    *,
    exact: bool = False,
    changing: bool = False,
    version: tuple[int, ...] = (3,),
) -> Optimizer:
    """A Keras optimizer, as compile_config or training_config states it: a name, or class_name and config.

    `variables`: the trainable weights; needed by optimizers that treat them differently, and with `exact`.
    `changing`: a callback changes the learning rate. `version`: of the Keras that wrote the file.
    Raises Unsupported, with the name and the way out, for what is not Keras' own.
    """
    class_name, settings = named(config, "the optimizer")
    kind = snake(class_name)
    if kind == "lossscaleoptimizer":
        return _scaled(settings, variables, exact=exact, changing=changing, version=version)
    if kind == "multioptimizer":
        return _several(settings, variables, exact=exact, changing=changing, version=version)
    return _single(class_name, settings, variables, exact, changing, version, PARAMETERS)


def _single(
    class_name: str,
    settings: Mapping[str, Any],
    variables: Sequence[Variable],
    exact: bool,
    changing: bool,
    version: tuple[int, ...],
    parameters: Any,
) -> Optimizer:
    kind = snake(class_name)
    maker = MAKERS.get(kind)
    if maker is None:
        refuse_custom(class_name, "the optimizer")
    legacy = version < (3,) and bool(settings.get("is_legacy_optimizer", version < (2, 11) or "decay" in settings))
    options = Options(f"the optimizer {class_name}", settings, *SILENT)
    rate = _learning_rate(options, kind, legacy)
    accumulate = options.value("gradient_accumulation_steps") or 1
    sparse = variables if version >= (3,) and accumulate == 1 else ()  # else Keras adds up tokens before it squares
    clip, per_token = _clipping(options, variables, sparse, exact, parameters)
    average = _averaging(options, accumulate, version, parameters)
    decay = options.optional("weight_decay", DEFAULT_DECAY.get(kind, 0.0)) or 0.0
    context = Context(
        [v if v in sparse else Variable(v.name, v.weight, v.path) for v in variables],
        exact,
        changing or rate.changes,
        legacy,
        decay,
        rate.initial,
        parameters,
    )
    piece = maker(options, context)
    options.done()
    return Optimizer(piece, rate.piece, clip, average, None, accumulate, (rate.rate,), per_token, class_name)


def _learning_rate(options: Options, kind: str, legacy: bool) -> Schedule:
    """The rate and what changes it from step to step. Keras 1 wrote `lr`; Nadam's `decay` of old is none of rates."""
    value, old = options.value("learning_rate"), options.value("lr")
    value = old if value is None else value
    schedule = schedule_of(DEFAULT_RATES.get(kind, 1e-3) if value is None else value)
    if kind == "nadam":
        return schedule
    decay = options.optional("decay")
    return decayed(schedule, decay) if decay and legacy else schedule


def _clipping(
    options: Options, variables: Sequence[Variable], sparse: Sequence[Variable], exact: bool, parameters: Any
) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """The one of the three ways to clip gradients that is set; the hooks of embeddings."""
    norm, together, value = (options.optional(key) for key in ("clipnorm", "global_clipnorm", "clipvalue"))
    tokens = [v.name.rpartition(".")[0] for v in sparse if v.sparse and exact]
    clipped = {"clip_value": value} if value and value > 0 else {}
    hooks = tuple(Piece(call("optim.PerToken", Attribute(name), **clipped)) for name in tokens)
    if norm and norm > 0:
        groups = _one_in_keras(variables)
        joined = {"together": groups} if groups else {}
        piece = Piece(call("optim.clip_by_norm", parameters, norm, **joined))
        return (piece.saying("Keras clips the gradient of each weight by itself"),), hooks
    if together and together > 0:
        if exact:
            return (Piece(call("optim.clip_by_global_norm", parameters, together)),), hooks
        return (Piece(call("nn.utils.clip_grad_norm_", parameters, together), drift=(GLOBAL_NORM,)),), hooks
    if value and value > 0:
        return (Piece(call("optim.clip_by_value" if hooks else "nn.utils.clip_grad_value_", parameters, value)),), hooks
    return (), hooks


def _one_in_keras(variables: Sequence[Variable]) -> list[list[Attribute]]:
    """Parameters that are parts of one Keras weight: the two biases of a GRU."""
    owners: dict[str, list[Attribute]] = {}
    for variable in variables:
        for key in dict.fromkeys(leaf.key for leaf in variable.weight.leaves()):
            owners.setdefault(key, []).append(Attribute(variable.name))
    return [names for names in owners.values() if len(names) > 1]


def _averaging(options: Options, accumulate: int, version: tuple[int, ...], parameters: Any) -> Piece | None:
    """The moving average of the weights. That of Keras 2 begins at the first weights."""
    momentum, every = options.number("ema_momentum", 0.99), options.value("ema_overwrite_frequency")
    if not options.flag("use_ema"):
        return None
    given = {"momentum": momentum, "overwrite_every": every, "accumulate": accumulate}
    return Piece(call("optim.Average", parameters, **given, from_start=version < (3,)))


# -- optimizers of optimizers ------------------------------------------------------------------------------


def _scaled(settings: Mapping[str, Any], variables: Sequence[Variable], **given: Any) -> Optimizer:
    """LossScaleOptimizer: the scale goes into a GradScaler."""
    options = Options("the optimizer LossScaleOptimizer", settings, *SILENT, "ema_momentum")
    inner = optimizer(options.value("inner_optimizer"), variables, **given)
    scale, growth = options.number("initial_scale", 2.0**15), options.value("dynamic_growth_steps", 2000)
    options.done()
    scaler = Piece(call("torch.amp.GradScaler", init_scale=scale, growth_interval=growth))
    return Optimizer(**{**vars(inner), "scaler": scaler.saying("PyTorch: init_scale=65536")})


def _several(
    settings: Mapping[str, Any],
    variables: Sequence[Variable],
    exact: bool,
    changing: bool,
    version: tuple[int, ...],
) -> Optimizer:
    """MultiOptimizer: one of several optimizers for each weight, by the name of the Keras variable."""
    default, patterns = optimizer_map(settings)
    if not variables or any(not variable.path for variable in variables):
        raise Unsupported(
            "MultiOptimizer chooses by the names of Keras' variables, and these are not known",
            "give the file as .keras or .h5 with names, or write the parameter groups by hand",
        )
    owners: dict[str, list[Variable]] = {}
    for variable in variables:
        owners.setdefault(owner(variable.path, patterns), []).append(variable)
    parts = []
    for pattern in [*(key for key in patterns if key in owners), *([""] if "" in owners else [])]:
        chosen = owners[pattern]
        class_name, inner = named(patterns.get(pattern, default), "the optimizer")
        names = [Attribute(variable.name) for variable in chosen]
        parts.append(_single(class_name, inner, chosen, exact, changing, version, names))
    return _joined(parts)


def _joined(parts: Sequence[Optimizer]) -> Optimizer:
    if any(part.average or part.accumulate > 1 for part in parts):
        raise Unsupported(
            "MultiOptimizer with moving averages or gradient accumulation in one of its optimizers",
            "use one optimizer for all weights, or write the training loop by hand",
        )
    schedules = [
        Piece(call("schedules.PerStep", call(".part", Name("optimizer"), index), part.rates[0]))
        for index, part in enumerate(parts)
        if part.rates[0] is not None
    ]
    schedule = None
    if schedules:
        schedule = Piece(call("schedules.Schedules", *(piece.expression for piece in schedules)))
    expression = call("optim.Optimizers", *(part.optimizer.expression for part in parts))
    comments = tuple(dict.fromkeys(text for part in parts for text in part.optimizer.comments))
    drift = tuple(dict.fromkeys(text for part in parts for text in part.optimizer.drift))
    clip = tuple(piece for part in parts for piece in part.clip)
    tokens = tuple(piece for part in parts for piece in part.per_token)
    rates = tuple(part.rates[0] for part in parts)
    joined = Piece(expression, comments, drift)
    return Optimizer(joined, schedule, clip, rates=rates, per_token=tokens, class_name="MultiOptimizer")


def optimizer_map(settings: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The default and the optimizers by pattern."""
    found = settings.get("optimizer_map")
    inner = found.get("config") if isinstance(found, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(inner.get("optimizer_map"), Mapping):
        raise Unsupported("a MultiOptimizer that chooses by a function", "write the parameter groups by hand")
    return inner.get("default_optimizer"), {_pattern(key): value for key, value in inner["optimizer_map"].items()}


def owner(path: str, patterns: Mapping[str, Any]) -> str:
    """The pattern that chooses a variable, '' for the default: an equal one, else the only one that matches."""
    if path in patterns:
        return path
    matching = [pattern for pattern in patterns if re.fullmatch(pattern, path)]
    if len(matching) > 1:
        raise Unsupported(f"several optimizers of a MultiOptimizer match the variable {path!r:.60}", DAMAGED)
    return matching[0] if matching else ""
