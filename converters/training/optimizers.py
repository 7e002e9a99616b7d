"""Keras' optimizers as PyTorch's: one function per class, from its config."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from converters.training.config import Options, named, refuse_custom, snake
from converters.training.piece import Name, Piece, call
from converters.training.schedules import Schedule, decayed, schedule_of
from converters.weights import Weight

PARAMETERS = Name("parameters")
# What says nothing about the update: names, and what Keras 2 says about how it is run.
SILENT = ("name", "jit_compile", "is_legacy_optimizer", "dynamic")
EPSILON_DRIFT = (
    "Keras adds epsilon before the bias of the second moment is corrected, PyTorch after it: {figure} of the way that "
    "the weights go in 20 steps with gradients of 1e-3 (--exact: none)"
)


@dataclass(frozen=True)
class Variable:
    """A trainable weight of the PyTorch model.

    `name`: its key in the state dict; `weight`: the expression that fills it; `path`: the name of the Keras variable,
    `dense/kernel`, as far as it is known.
    """

    name: str
    weight: Weight
    path: str = ""


@dataclass(frozen=True)
class Optimizer:
    """Everything that happens between `loss.backward()` and the next batch (see `converters.training`)."""

    optimizer: Piece
    schedule: Piece | None = None
    clip: Piece | None = None
    average: Piece | None = None
    scaler: Piece | None = None
    accumulate: int = 1

    @property
    def pieces(self) -> tuple[Piece, ...]:
        parts = (self.optimizer, self.schedule, self.clip, self.average, self.scaler)
        return tuple(part for part in parts if part is not None)


@dataclass(frozen=True)
class Context:
    """What one optimizer is made for."""

    variables: Sequence[Variable]
    exact: bool
    changing: bool  # the learning rate changes during training
    legacy: bool  # an optimizer of Keras before 2.11, or of `keras.optimizers.legacy`
    decay: float  # decoupled weight decay, 0.0 for none
    lr: float


Maker = Callable[[Options, Context], Piece]


def optimizer(
    config: Any,
    variables: Sequence[Variable] = (),
    *,
    exact: bool = False,
    changing: bool = False,
    version: tuple[int, ...] = (3,),
) -> Optimizer:
    """A Keras optimizer, as compile_config or training_config states it: a name, or class_name and config.

    `variables`: the trainable weights in the order of Keras; needed by optimizers that treat them differently.
    `changing`: a callback changes the learning rate. `version`: of the Keras that wrote the file.
    Raises Unsupported, with the name and the way out, for what is not Keras' own.
    """
    class_name, settings = named(config, "the optimizer")
    maker = MAKERS.get(snake(class_name))
    if maker is None:
        refuse_custom(class_name, "the optimizer")
    legacy = version < (3,) and bool(settings.get("is_legacy_optimizer", version < (2, 11) or "decay" in settings))
    options = Options(f"the optimizer {class_name}", settings, *SILENT)
    rate = learning_rate(options, class_name, legacy)
    clip, average, accumulate = clipping(options, variables, exact), averaging(options, version), accumulation(options)
    scaler = loss_scale(options)
    decay = options.optional("weight_decay")
    decay = (0.0 if class_name.lower() not in DECAYING else 0.004) if decay is None else decay
    context = Context(variables, exact, changing or rate.changes, legacy, decay, rate.initial)
    piece = maker(options, context)
    options.done()
    schedule = None if rate.piece is None else rate.piece
    return Optimizer(piece, schedule, clip, average, scaler, accumulate)


DECAYING = ("adamw", "muon")


def learning_rate(options: Options, class_name: str, legacy: bool) -> Schedule:
    """The initial rate and, where it changes from step to step, what changes it. Keras 1 wrote `lr`."""
    value = options.value("learning_rate")
    value = options.value("lr") if value is None else value
    value = DEFAULT_RATES.get(snake(class_name), 1e-3) if value is None else value
    decay = options.optional("decay")
    return decayed(schedule_of(value), decay) if decay and legacy else schedule_of(value)


DEFAULT_RATES = {"sgd": 1e-2, "schedulefreeadamw": 2.5e-3}


# -- what all optimizers share ----------------------------------------------------------------------------


def clipping(options: Options, variables: Sequence[Variable], exact: bool) -> Piece | None:
    """The one of the three ways to clip gradients that is set."""
    norm, together, value = (options.optional(key) for key in ("clipnorm", "global_clipnorm", "clipvalue"))
    if norm:
        return Piece(call("optim.clip_by_norm", Name("parameters"), norm)).saying("Keras clips each weight by itself")
    if together:
        if exact:
            return Piece(call("optim.clip_by_global_norm", PARAMETERS, together))
        return Piece(
            call("nn.utils.clip_grad_norm_", PARAMETERS, together),
            drift=("PyTorch adds 1e-6 to the norm by which it divides gradients; Keras does not",),
        )
    if value:
        return Piece(call("nn.utils.clip_grad_value_", PARAMETERS, value))
    return None


def averaging(options: Options, version: tuple[int, ...]) -> Piece | None:
    """The moving average of the weights."""
    momentum, every = options.number("ema_momentum", 0.99), options.value("ema_overwrite_frequency")
    if not options.flag("use_ema"):
        return None
    return Piece(call("optim.Average", PARAMETERS, momentum=momentum, overwrite_every=every))


def accumulation(options: Options) -> int:
    steps = options.value("gradient_accumulation_steps")
    return steps if isinstance(steps, int) else 1


def loss_scale(options: Options) -> Piece | None:
    """A constant factor changes nothing but rounding; it is dropped."""
    options.value("loss_scale_factor")
    return None


# -- one by one -------------------------------------------------------------------------------------------


def sgd(options: Options, context: Context) -> Piece:
    momentum, nesterov = options.number("momentum", 0.0), options.flag("nesterov")
    arguments = {"lr": context.lr, "momentum": momentum, "nesterov": nesterov and momentum > 0}
    if context.decay or (momentum and context.changing):
        piece = Piece(call("optim.SGD", PARAMETERS, **arguments, weight_decay=context.decay))
        return piece.saying("the rate stands inside the momentum, as in Keras") if momentum else piece
    return Piece(call("torch.optim.SGD", PARAMETERS, **arguments))


def adam(options: Options, context: Context) -> Piece:
    arguments = {
        "lr": context.lr,
        "betas": (options.number("beta_1", 0.9), options.number("beta_2", 0.999)),
        "eps": options.number("epsilon", 1e-7),
        "amsgrad": options.flag("amsgrad"),
    }
    if context.exact:
        return Piece(call("optim.Adam", PARAMETERS, **arguments, weight_decay=context.decay))
    comments = ("Keras: eps=1e-7, PyTorch: 1e-8",) if arguments["eps"] == 1e-7 else ()
    drift = (EPSILON_DRIFT.format(figure="0.7 %"),)
    if context.decay:
        return Piece(call("torch.optim.AdamW", PARAMETERS, **arguments, weight_decay=context.decay), comments, drift)
    return Piece(call("torch.optim.Adam", PARAMETERS, **arguments), comments, drift)


def rmsprop(options: Options, context: Context) -> Piece:
    arguments = {
        "lr": context.lr,
        "alpha": options.number("rho", 0.9),
        "eps": options.number("epsilon", 1e-7),
        "momentum": options.number("momentum", 0.0),
        "centered": options.flag("centered"),
    }
    if context.legacy and not arguments["momentum"]:
        return Piece(call("torch.optim.RMSprop", PARAMETERS, **arguments))
    piece = Piece(call("optim.RMSprop", PARAMETERS, **arguments, weight_decay=context.decay))
    return piece.saying("Keras adds epsilon under the root; torch.optim.RMSprop does not")


MAKERS: dict[str, Maker] = {"sgd": sgd, "adam": adam, "adamw": adam, "rmsprop": rmsprop}
