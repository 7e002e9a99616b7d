"""How the weights of layers start, for a training from the beginning: Keras' initializers as calls in place.

Distributions are Keras', the random numbers themselves are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isclose, prod, sqrt
from typing import Any

from converters.errors import Unsupported
from converters.training.config import DAMAGED, Options, named, refuse_custom, snake
from converters.training.optimizer_classes import Variable
from converters.training.piece import Attribute, Call, Piece, call

# name -> (scale, which fan, distribution)
SCALED = {
    "glorotuniform": (1.0, "fan_avg", "uniform"),
    "glorotnormal": (1.0, "fan_avg", "truncated_normal"),
    "xavieruniform": (1.0, "fan_avg", "uniform"),
    "heuniform": (2.0, "fan_in", "uniform"),
    "henormal": (2.0, "fan_in", "truncated_normal"),
    "lecununiform": (1.0, "fan_in", "uniform"),
    "lecunnormal": (1.0, "fan_in", "truncated_normal"),
}
DISTRIBUTIONS = {"normal": "truncated_normal"}  # as VarianceScaling calls it, too
TRUNCATED = 0.87962566103423978  # the standard deviation of a normal distribution that ends at 2


def initializer(config: Any, variable: Variable, fans: tuple[int, int] | None = None) -> Piece:
    """How a weight starts, as a call in place: `init.uniform_(model.fc.weight, -0.05, 0.05)`.

    `fans`: (in, out), where the shape of the Keras weight does not tell them (attention, since Keras 3.15).
    Raises Unsupported for an initializer that is not Keras' own.
    """
    class_name, settings = named(config, "the initializer")
    kind = snake(class_name)
    options = Options(f"the initializer {class_name}", settings, "name", "seed", "dtype", "input_axes", "output_axes")
    made = _initial(kind, options, variable, fans)
    if made is None:
        refuse_custom(class_name, "the initializer")
    options.done()
    return Piece(made)


def _initial(kind: str, options: Options, variable: Variable, fans: tuple[int, int] | None) -> Any:
    x = Attribute(variable.name)
    if kind in ("zeros", "zero"):
        return call("init.zeros_", x)
    if kind in ("ones", "one"):
        return call("init.ones_", x)
    if kind == "constant":
        value = options.number("value", 0.0)
        short = {0.0: call("init.zeros_", x), 1.0: call("init.ones_", x)}
        return short.get(value, call("init.constant_", x, value))
    if kind in ("randomuniform", "uniform"):
        return call("init.uniform_", x, options.number("minval", -0.05), options.number("maxval", 0.05))
    if kind in ("randomnormal", "normal"):
        return call("init.normal_", x, options.number("mean", 0.0), options.number("stddev", 0.05))
    if kind == "truncatednormal":
        mean, std = options.number("mean", 0.0), options.number("stddev", 0.05)
        return call("initial.truncated_normal", x, std, mean=mean)
    if kind in ("orthogonal", "orthogonalinitializer"):
        return call("init.orthogonal_", x, gain=options.number("gain", 1.0))
    if kind in ("identity", "identityinitializer") and options.number("gain", 1.0) == 1:
        return call("init.eye_", x)
    if kind == "variancescaling":
        scale, mode = options.number("scale", 1.0), str(options.value("mode", "fan_in"))
        return _scaled(x, scale, mode, str(options.value("distribution", "truncated_normal")), variable, fans)
    return _scaled(x, *SCALED[kind], variable, fans) if kind in SCALED else None


def _scaled(
    x: Attribute, scale: float, mode: str, stated: str, variable: Variable, fans: tuple[int, int] | None
) -> Call:
    """By a function that looks at the shape itself, where PyTorch's shape tells the same; else with the numbers."""
    distribution = DISTRIBUTIONS.get(stated, stated)
    fan = _fans(*(fans or fans_of(next(variable.weight.leaves()).shape))).get(mode)
    if fan is None:
        raise Unsupported(f"VarianceScaling has the unknown mode {mode!r:.40}", DAMAGED)
    if distribution not in ("uniform", "truncated_normal", "untruncated_normal"):
        raise Unsupported(f"VarianceScaling has the unknown distribution {distribution!r:.40}", DAMAGED)
    shape = variable.weight.shape
    here = _fans(prod(shape[1:]), shape[0] * prod(shape[2:])) if len(shape) > 1 else {}
    for seen in (mode, *here):  # a depthwise convolution has the fans of Keras the other way round
        if isclose(here.get(seen, 0), fan):
            return _by_shape(x, scale, seen, distribution)
    spread = sqrt(scale / max(1.0, fan))
    if distribution == "uniform":
        return call("init.uniform_", x, -sqrt(3) * spread, sqrt(3) * spread)
    if distribution == "truncated_normal":
        return call("initial.truncated_normal", x, spread / TRUNCATED)
    return call("init.normal_", x, 0.0, spread)


def _fans(inside: int, outside: int) -> Mapping[str, float]:
    return {"fan_in": inside, "fan_out": outside, "fan_avg": (inside + outside) / 2}


def _by_shape(x: Attribute, scale: float, mode: str, distribution: str) -> Call:
    if (scale, mode, distribution) == SCALED["glorotuniform"]:
        return call("init.xavier_uniform_", x)
    if (scale, mode, distribution) == SCALED["heuniform"]:
        return call("init.kaiming_uniform_", x, nonlinearity="relu")
    return call("initial.variance_scaling", x, scale=scale, mode=mode, distribution=distribution)


def fans_of(shape: Sequence[int]) -> tuple[int, int]:
    """(in, out) of a Keras weight: its last two axes, times all the others."""
    if len(shape) < 2:
        return (shape[0] if shape else 1,) * 2
    return prod(shape[:-2]) * shape[-2], prod(shape[:-2]) * shape[-1]


def forget_gate_bias(variable: Variable) -> Piece:
    """The bias of an LSTM with `unit_forget_bias`, whatever its initializer says."""
    return Piece(call("initial.forget_gate_bias", Attribute(variable.name)))
