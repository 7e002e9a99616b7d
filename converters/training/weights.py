"""What configs of layers say about a weight: what it adds to the loss, and what holds after each update.

Keras states axes and sizes of its own arrays; the weight's expression says where these are in PyTorch.
"""

from __future__ import annotations

from typing import Any

from converters.errors import Unsupported
from converters.graph import Layer
from converters.training.config import Options, named, refuse_custom, snake
from converters.training.optimizer_classes import Variable
from converters.training.piece import Attribute, Piece, call
from converters.weights import Transpose

# -- regularizers ------------------------------------------------------------------------------------------


def regularizer(config: Any, variable: Variable) -> Piece:
    """What a weight adds to the loss, as an expression: `l1_l2(model.fc.weight, l2=1e-2)`."""
    class_name, settings = named(config, "the regularizer")
    kind, options = snake(class_name), Options(f"the regularizer {class_name}", settings, "name")
    if kind == "orthogonalregularizer":
        if not (isinstance(variable.weight, Transpose) and variable.weight.rank == 2):
            raise Unsupported("OrthogonalRegularizer of another weight than a matrix", "write it in PyTorch")
        rows = options.value("mode", "rows") == "columns"  # the matrix is transposed
        factor = options.number("factor", 0.01)
        options.done()
        return Piece(call("penalties.orthogonal", Attribute(variable.name), factor=factor, rows=rows))
    strengths = _strengths(kind, options)
    options.done()
    return Piece(call("penalties.l1_l2", Attribute(variable.name), **strengths))


def activity_of(layer: Layer) -> Any:
    """What a layer's config says of the penalty on its output, None if there is none."""
    if layer.class_name == "ActivityRegularization":
        return {"class_name": "L1L2", "config": {key: layer.config.get(key, 0.0) for key in ("l1", "l2")}}
    return layer.config.get("activity_regularizer")


def activity_regularizer(config: Any, module: str, *, version: tuple[int, ...] = (3, 15)) -> Piece:
    """What a layer's output adds to the loss. `module`: the path of the PyTorch module that makes this output.

    The object watches the module; `penalty.take()` is the sum of the last passes.
    """
    class_name, settings = named(config, "the activity regularizer")
    options = Options(f"the activity regularizer {class_name}", settings, "name")
    strengths = _strengths(snake(class_name), options)
    options.done()
    divided = not (3,) <= version < (3, 15)
    piece = Piece(call("penalties.ActivityPenalty", Attribute(module), **strengths, per_sample=divided))
    return piece if divided else piece.saying("divided by the batch size from Keras 3.15 on")


def _strengths(kind: str, options: Options) -> dict[str, float]:
    if kind in ("l1", "l2"):
        return {kind: options.number(kind, 0.01)}
    if kind in ("l1l2", "activityregularization"):
        return {key: options.number(key, 0.0) for key in ("l1", "l2")}
    return refuse_custom(kind, "the regularizer")


# -- constraints -------------------------------------------------------------------------------------------


def constraint(config: Any, variable: Variable) -> Piece:
    """What is done to a weight after every update: `max_norm(model.fc.weight, 2.0, dims=(1,))`."""
    class_name, settings = named(config, "the constraint")
    kind, options = snake(class_name), Options(f"the constraint {class_name}", settings, "name")
    x = Attribute(variable.name)
    if kind in ("nonneg", "nonnegative"):
        made = call("constraints.non_negative", x)
    elif kind == "maxnorm":
        made = call("constraints.max_norm", x, options.number("max_value", 2.0), dims=_dims(options, variable))
    elif kind == "unitnorm":
        made = call("constraints.unit_norm", x, dims=_dims(options, variable))
    elif kind == "minmaxnorm":
        limits = {"least": options.number("min_value", 0.0), "most": options.number("max_value", 1.0)}
        rate, dims = options.number("rate", 1.0), _dims(options, variable)
        made = call("constraints.min_max_norm", x, **limits, rate=rate, dims=dims)
    else:
        refuse_custom(class_name, "the constraint")
    options.done()
    return Piece(made)


def _dims(options: Options, variable: Variable) -> tuple[int, ...]:
    """The axes of PyTorch's weight for those of Keras'."""
    stated = options.value("axis", 0)
    axes = [stated] if isinstance(stated, int) else list(stated)
    weight, leaf = variable.weight, next(variable.weight.leaves())
    axes = [axis % leaf.rank for axis in axes]
    if weight == leaf:
        return tuple(sorted(axes))
    if isinstance(weight, Transpose) and weight.base == leaf:
        return tuple(sorted(weight.axes.index(axis) for axis in axes))
    if weight.rank == leaf.rank == 2 and weight.shape == leaf.shape[::-1]:  # rows of a Flatten, reordered
        return tuple(sorted(1 - axis for axis in axes))
    raise Unsupported(f"a constraint along axes of {variable.name}, which is arranged otherwise", "take it out")
