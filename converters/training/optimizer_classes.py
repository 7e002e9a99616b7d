"""Keras' optimizers one by one: config in, constructor call out.

PyTorch's own class is used where it computes the same, or differs by where epsilon is added; else, and for weight
decay that is not in PyTorch's class, the local one, which equals Keras to rounding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from converters.errors import Unsupported
from converters.training.config import DAMAGED, Options
from converters.training.piece import Attribute, Name, Piece, call
from converters.weights import Leaf, Reshape, Transpose, Weight

PARAMETERS = Name("parameters")
EPSILON_DRIFT = (
    "Keras adds epsilon {where}, PyTorch {there}: with gradients of 1e-3 the weights differ after 20 steps by {figure} "
    "of the way that they went, in the mean (RMS); --exact: by nothing"
)


@dataclass(frozen=True)
class Variable:
    """A trainable weight of the PyTorch model.

    `name`: its key in the state dict; `weight`: the expression that fills it; `path`: the name of the Keras variable,
    `dense/kernel`, as far as it is known. `sparse`: an embedding whose gradient Keras keeps token by token.
    """

    name: str
    weight: Weight
    path: str = ""
    sparse: bool = False


@dataclass(frozen=True)
class Context:
    """What one optimizer is made for. `changing`: the rate changes during training. `legacy`: an optimizer of Keras
    before 2.11. `decay`: decoupled weight decay, 0.0 for none."""

    variables: Sequence[Variable]
    exact: bool
    changing: bool
    legacy: bool
    decay: float
    lr: float
    parameters: Any = PARAMETERS

    @property
    def local(self) -> bool:
        """Whether PyTorch's own class cannot do it: its weight decay is not Keras', nor has it sums per token."""
        return bool(self.decay) or self.per_token

    @property
    def per_token(self) -> bool:
        return self.exact and any(variable.sparse for variable in self.variables)

    def torch(self, target: str, **options: Any) -> Piece:
        return Piece(call(f"torch.optim.{target}", self.parameters, lr=self.lr, **options))

    def own(self, target: str, parameters: Any = None, **options: Any) -> Piece:
        """A local class."""
        given = self.parameters if parameters is None else parameters
        return Piece(call(f"optim.{target}", given, lr=self.lr, **options, weight_decay=self.decay))


Maker = Callable[[Options, Context], Piece]


def sgd(options: Options, context: Context) -> Piece:
    momentum, nesterov = options.number("momentum", 0.0), options.flag("nesterov")
    arguments = {"momentum": momentum, "nesterov": nesterov and momentum > 0}
    if context.decay or (momentum and context.changing):
        piece = context.own("SGD", **arguments)
        return piece.saying("the rate stands inside the momentum, as in Keras") if momentum else piece
    return context.torch("SGD", **arguments)


def betas(options: Options, second: float = 0.999) -> dict[str, Any]:
    return {"betas": (options.number("beta_1", 0.9), options.number("beta_2", second))}


def adam(options: Options, context: Context) -> Piece:
    eps = options.number("epsilon", 1e-7)
    arguments = betas(options) | {"eps": eps, "amsgrad": options.flag("amsgrad")}
    if context.exact:
        return context.own("Adam", **arguments)
    piece = context.torch("AdamW", **arguments, weight_decay=context.decay) if context.decay else None
    piece = piece or context.torch("Adam", **arguments)
    return _other_epsilon(piece, eps, "before the bias of the second moment is corrected", "after it", "0.9 %")


def _other_epsilon(piece: Piece, eps: float, where: str, there: str, figure: str) -> Piece:
    comments = ("Keras: eps=1e-7, PyTorch: 1e-8",) if eps == 1e-7 else ()
    return Piece(piece.expression, comments, (EPSILON_DRIFT.format(where=where, there=there, figure=figure),))


def rmsprop(options: Options, context: Context) -> Piece:
    arguments = {
        "alpha": options.number("rho", 0.9),
        "eps": options.number("epsilon", 1e-7),
        "momentum": options.number("momentum", 0.0),
        "centered": options.flag("centered"),
    }
    if context.legacy and not arguments["momentum"]:  # the only form with epsilon outside of the root
        return context.torch("RMSprop", **arguments)
    return context.own("RMSprop", **arguments).saying("Keras adds epsilon under the root; torch.optim.RMSprop does not")


def adagrad(options: Options, context: Context) -> Piece:
    start, eps = options.number("initial_accumulator_value", 0.1), options.number("epsilon", 1e-7)
    if context.legacy:
        return context.torch("Adagrad", initial_accumulator_value=start, eps=eps)
    if context.local:
        return context.own("Adagrad", initial_accumulator_value=start, eps=eps)
    piece = context.torch("Adagrad", initial_accumulator_value=start + eps, eps=0.0)
    return piece.saying("Keras' epsilon stands under the root: it is in the initial value")


def adadelta(options: Options, context: Context) -> Piece:
    arguments = {"rho": options.number("rho", 0.95), "eps": options.number("epsilon", 1e-7)}
    return context.own("Adadelta", **arguments) if context.local else context.torch("Adadelta", **arguments)


def adamax(options: Options, context: Context) -> Piece:
    arguments = betas(options) | {"eps": options.number("epsilon", 1e-7)}
    if context.exact or context.local:
        return context.own("Adamax", **arguments)
    piece = context.torch("Adamax", **arguments)
    return _other_epsilon(piece, arguments["eps"], "to the largest gradient so far", "to each gradient", "0.00002 %")


def nadam(options: Options, context: Context) -> Piece:
    arguments = betas(options) | {"eps": options.number("epsilon", 1e-7)}
    if context.legacy:
        piece = context.torch("NAdam", **arguments, momentum_decay=options.number("schedule_decay", 0.004))
        return piece.saying("as Keras before 2.11")
    if context.exact or context.per_token:
        return context.own("Nadam", **arguments)
    decay = {"weight_decay": context.decay, "decoupled_weight_decay": True} if context.decay else {}
    return context.torch("NAdam", **arguments, momentum_decay=1.0, **decay).saying("PyTorch: momentum_decay=4e-3")


def ftrl(options: Options, context: Context) -> Piece:
    return context.own(
        "Ftrl",
        power=options.number("learning_rate_power", -0.5),
        initial_accumulator_value=options.number("initial_accumulator_value", 0.1),
        l1=options.number("l1_regularization_strength", 0.0),
        l2=options.number("l2_regularization_strength", 0.0),
        l2_shrinkage=options.number("l2_shrinkage_regularization_strength", 0.0),
        beta=options.number("beta", 0.0),
    )


def lion(options: Options, context: Context) -> Piece:
    return context.own("Lion", **betas(options, 0.99))


def lamb(options: Options, context: Context) -> Piece:
    _whole(context, "Lamb scales the step of each weight by its norm")
    return context.own("Lamb", **betas(options), eps=options.number("epsilon", 1e-7))


def schedule_free(options: Options, context: Context) -> Piece:
    eps, warmup = options.number("epsilon", 1e-8), options.value("warmup_steps", 0)
    return context.own("ScheduleFreeAdamW", **betas(options), eps=eps, warmup_steps=warmup)


def adafactor(options: Options, context: Context) -> Piece:
    options.flag("relative_step", True)  # Keras takes the smaller of the rate and 1 / sqrt(step) in any case
    eps = (options.number("epsilon_1", 1e-30), options.number("epsilon_2", 1e-3))
    arguments = {"beta2_decay": options.number("beta_2_decay", -0.8), "eps": eps}
    arguments["d"] = options.number("clip_threshold", 1.0)
    views = {variable.name: keras_view(variable.weight) for variable in _known(context, "Adafactor")}
    if not context.exact and all(_matrix(variable.weight) for variable in context.variables):
        return context.torch("Adafactor", **arguments, weight_decay=context.decay)
    groups: dict[Any, list[Attribute]] = {}
    for name, view in views.items():
        groups.setdefault(view, []).append(Attribute(name))
    given = [{"params": names} | ({"view": view} if view else {}) for view, names in groups.items()]
    return context.own("Adafactor", given, **arguments)


def muon(options: Options, context: Context) -> Piece:
    excluded, embeddings = options.value("exclude_layers") or [], options.flag("exclude_embeddings", True)
    adam_decay, rate = options.optional("adam_weight_decay", 4e-3), options.optional("rms_rate", 0.2)
    arguments = {
        "momentum": options.number("momentum", 0.95),
        "nesterov": options.flag("nesterov", True),
        "ns_coefficients": tuple(
            options.number(f"muon_{x}", d) for x, d in (("a", 3.4445), ("b", -4.775), ("c", 2.0315))
        ),
        "ns_steps": options.value("ns_steps", 5),
        "rms_rate": rate,
        "betas": (options.number("adam_beta_1", 0.9), options.number("adam_beta_2", 0.999)),
        "eps": options.number("epsilon", 1e-7),
        "adam_lr_ratio": options.number("adam_lr_ratio", 1.0),
    }
    chosen: list[Attribute] = []
    rest: list[Attribute] = []
    for variable in _known(context, "Muon"):
        matrix = by_muon(variable.path, next(variable.weight.leaves()), embeddings, excluded)
        (chosen if matrix else rest).append(Attribute(variable.name))
    groups = [{"params": chosen, "muon": True}] if chosen else []
    groups += [{"params": rest, "weight_decay": adam_decay or 0.0}] if rest else []
    return context.own("Muon", groups, **arguments)


def by_muon(path: str, leaf: Leaf, exclude_embeddings: bool, exclude_layers: Sequence[Any]) -> bool:
    """Whether Muon itself moves a weight of Keras; Adam moves the others."""
    if leaf.rank != 2 or (exclude_embeddings and "embedding" in path.lower()):
        return False
    return not any(re.search(_pattern(pattern), path) for pattern in exclude_layers)


def _pattern(pattern: Any) -> str:
    """A regular expression of the file, of a length that cannot take for ever."""
    if not isinstance(pattern, str) or len(pattern) > 200:
        raise Unsupported(f"the optimizer's pattern {pattern!r:.60} is not a short string", DAMAGED)
    try:
        re.compile(pattern)
    except re.error as error:
        raise Unsupported(
            f"the optimizer's pattern {pattern!r:.60} is no regular expression: {error}", DAMAGED
        ) from None
    return pattern


# -- what needs to know the weights ------------------------------------------------------------------------


def _known(context: Context, name: str) -> Sequence[Variable]:
    """The variables, for optimizers that cannot do without; each of them one Keras weight."""
    if not context.variables:
        raise Unsupported(f"{name} treats weights by their shape, and none are known", "give it the model's variables")
    _whole(context, f"{name} looks at whole weights")
    return context.variables


def _whole(context: Context, why: str) -> None:
    for variable in context.variables:
        if (context.exact and len(list(variable.weight.leaves())) != 1) or _part(variable.weight):
            raise Unsupported(
                f"{why}, and {variable.name} is not one weight of Keras but a part or several of them",
                "train with another optimizer, or convert without --exact",
            )


def _part(weight: Weight) -> bool:
    while isinstance(weight, (Reshape, Transpose)):
        weight = weight.base
    return weight.rank != next(weight.leaves()).rank or weight.shape != next(weight.leaves()).shape


def _matrix(weight: Weight) -> bool:
    """Whether PyTorch's Adafactor factors it as Keras does: a vector, or a matrix transposed or not."""
    leaf = next(weight.leaves())
    return weight.rank == leaf.rank <= 2


def keras_view(weight: Weight) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None:
    """(sizes, axes, shape) such that `p.reshape(sizes).permute(axes).reshape(shape)` has the axes of the Keras weight.

    None where the parameter is as it was in Keras.
    """
    leaf = next(weight.leaves())
    outer = weight.base if isinstance(weight, Reshape) else weight
    if not isinstance(outer, Transpose):
        return None if weight.shape == leaf.shape else (weight.shape, tuple(range(weight.rank)), leaf.shape)
    axes = tuple(sorted(range(len(outer.axes)), key=outer.axes.__getitem__))
    inner = outer.base.base if isinstance(outer.base, Reshape) else outer.base
    if inner != leaf:
        raise Unsupported(f"the weight of shape {list(weight.shape)} is arranged in more than one step", "--exact off")
    return outer.shape, axes, leaf.shape


MAKERS: dict[str, Maker] = {
    "sgd": sgd,
    "adam": adam,
    "adamw": adam,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
    "adadelta": adadelta,
    "adamax": adamax,
    "nadam": nadam,
    "ftrl": ftrl,
    "lion": lion,
    "lamb": lamb,
    "schedulefreeadamw": schedule_free,
    "adafactor": adafactor,
    "muon": muon,
}
DEFAULT_RATES = {"sgd": 1e-2, "schedulefreeadamw": 2.5e-3}
DEFAULT_DECAY = {"adamw": 4e-3, "muon": 4e-3}
