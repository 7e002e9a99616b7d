"""Keras' training semantics as pieces of a PyTorch training program.

Every function here takes what a Keras file says (compile_config, training_config, configs of layers; data, never
trusted) and gives `Piece`s: an `expression`, `comments` for the reader where Keras' value differs from PyTorch's
default, and `drift`, sentences with a measured figure, where the short form is not exact. With `exact=True` there is
no drift: a short local class takes the place, equal to Keras to rounding in float64.

    build(piece, parameters=..., model=..., optimizer=...)   the object itself, no text in between
    migrate.scaffold.expressions.render(piece.expression)    the same as text: `torch.optim.Adam(parameters, eps=1e-7)`
    migrate.scaffold.expressions.imports(pieces)             the import lines that the text needs
    migrate.scaffold.expressions.local_file("optim", pieces) the text of optim.py (losses.py, metrics.py ...), or ""

    optimizer(config, variables, exact=, changing=, version=)       -> Optimizer
    loss(config, output, sparse=, weighted=, exact=)                -> Loss, for one output
    losses(config, outputs, loss_weights, ...)                      -> list[Loss], for all of them
    metric(config, output, sparse=, weighted=), metrics(...)        -> Metric, list[Metric]
    callback(config)                                                -> Piece, None for what every loop does
    regularizer, constraint, initializer(config, variable)          -> Piece: a term of the loss, a call after each
                                                                       update, a call that starts a training afresh
    activity_regularizer(config, module, version=)                  -> Piece: an object, made once; `take()` is the term
    migrate.scaffold.slots.optimizer_state(...)                     -> arrays of optimizer.safetensors

One update, in this order (what is None is left out):

    <per_token>                                 # Names: model; once, before the optimizer
    optimizer = <optimizer>                     # Names: model; parameters, a list of the trainable ones
    scheduler = <schedule>                      # Names: optimizer
    average = <average>                         # Names: parameters
    resume(optimizer, model, state, scheduler)  # `optim.resume`, with the content of optimizer.safetensors
    for each batch:
        (loss / accumulate).backward()          # the loss with what regularizers add
        if the batch number is a multiple of accumulate:
            <clip>                              # Names: parameters
            optimizer.step(); optimizer.zero_grad()
        average.update()                        # after every batch
        <constraints>                           # after the average, as in Keras
        scheduler.step()                        # after every batch, whatever accumulate is
    average.copy_to()                           # after the last epoch: fit() ends with the averages as weights

With a `scaler` (mixed_float16, LossScaleOptimizer): `scaler.scale(loss).backward()`, `scaler.unscale_(optimizer)`
before clipping, `scaler.step(optimizer)`, `scaler.update()`. mixed_bfloat16 needs none.
Whatever cannot be translated raises `Unsupported` with the name of the thing and the way out.
"""

from converters.training.callbacks import callback
from converters.training.initializers import initializer
from converters.training.losses import Loss, Output, loss, losses
from converters.training.metrics import Metric, metric, metrics
from converters.training.optimizer_classes import Variable
from converters.training.optimizers import Optimizer, optimizer
from converters.training.piece import Attribute, Call, Name, Piece, build
from converters.training.weights import activity_regularizer, constraint, regularizer

__all__ = [
    "Attribute", "Call", "Loss", "Metric", "Name", "Optimizer", "Output", "Piece", "Variable", "activity_regularizer",
    "build", "callback", "constraint", "initializer", "loss", "losses", "metric", "metrics", "optimizer", "regularizer",
]  # fmt: skip
