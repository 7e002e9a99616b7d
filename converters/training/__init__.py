"""Keras' training semantics as pieces of a PyTorch training program.

Every function here takes what a Keras file says (compile_config, training_config, configs of layers; data, never
trusted) and gives `Piece`s: an `expression`, `comments` for the reader where Keras' value differs from PyTorch's
default, and `drift`, sentences with a measured figure, where the short form is not exact. With `exact=True` there is
no drift: a short local class takes the place, equal to Keras to rounding in float64.

    build(piece, parameters=..., model=..., optimizer=...)   the object itself, no text in between
    migrate.scaffold.expressions.render(piece.expression)    the same as text: `torch.optim.Adam(parameters, eps=1e-7)`
    migrate.scaffold.expressions.imports(pieces)             the import lines that the text needs
    migrate.scaffold.expressions.local_file("optim", pieces) the text of optim.py (losses.py, metrics.py ...), or ""

    optimizer(config, variables, exact=, changing=, version=) -> Optimizer
    loss(config, output, sparse=, weighted=, exact=)          -> Loss          for one output
    losses(config, outputs, loss_weights, ...)                -> list[Loss]    for all of them
    metric(config, output, loss=, ...)                        -> Metric
    callback(config)                                          -> Piece
    regularizer, constraint, initializer(config, variable)    -> Piece

One update, in this order (what is None is left out):

    optimizer = <optimizer>                     # Names: parameters, a list of the trainable parameters; model
    scheduler = <schedule>                      # Names: optimizer
    average = <average>                         # Names: parameters
    for each batch:
        (loss / accumulate).backward()
        if the batch number is a multiple of accumulate:
            <clip>                              # Names: parameters
            optimizer.step()
            <constraints>                       # after `average.update()`, as in Keras
            optimizer.zero_grad()
        scheduler.step()                        # after every batch, whatever accumulate is
    average.copy_to()                           # after the last epoch: fit() ends with the averages as weights

Whatever cannot be translated raises `Unsupported` with the name of the thing and the way out.
"""

from converters.training.losses import Loss, Output, loss, losses
from converters.training.metrics import Metric, metric, metrics
from converters.training.optimizer_classes import Variable
from converters.training.optimizers import Optimizer, optimizer
from converters.training.piece import Attribute, Call, Name, Piece, build

__all__ = [
    "Attribute", "Call", "Loss", "Metric", "Name", "Optimizer", "Output", "Piece", "Variable", "build", "loss",
    "losses", "metric", "metrics", "optimizer",
]  # fmt: skip
