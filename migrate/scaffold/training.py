"""The compile configuration of a file as pieces of a training program."""

from __future__ import annotations

from dataclasses import dataclass, replace

from converters.errors import Unsupported, UserError
from converters.training import Call, Loss, Name, Optimizer, Piece, losses, optimizer
from migrate.scaffold.plan import Plan, output_of, trainable_variables

DEFAULT_LOSS = {"softmax": "sparse_categorical_crossentropy", "sigmoid": "binary_crossentropy", "": "mse"}


@dataclass(frozen=True)
class Training:
    """What happens to a batch. `stated`: whether the file says so, or the defaults of this toolkit do."""

    optimizer: Optimizer
    losses: tuple[Loss, ...]
    metrics: tuple[tuple[str, Piece, str], ...]
    stated: bool

    @property
    def pieces(self) -> list[Piece]:
        return [*self.optimizer.pieces, *(loss.piece for loss in self.losses), *(piece for _, piece, _ in self.metrics)]

    @property
    def learning_rate(self) -> float | None:
        """The rate, where it is one number for all steps."""
        expression = self.optimizer.optimizer.expression
        rates = [value for key, value in expression.options if key == "lr"] if isinstance(expression, Call) else []
        return rates[0] if rates and self.optimizer.schedule is None else None


def training_of(plan: Plan) -> Training:
    """The pieces. Raises UserError that names what is not Keras' own."""
    compiled, options = plan.compiled, plan.options
    try:
        return Training(
            optimizer(
                options.optimizer or compiled.get("optimizer") or compiled.get("optimizer_config") or "adam",
                trainable_variables(plan.project),
                exact=plan.exact,
                version=plan.version,
            ),
            tuple(_losses(plan)),
            tuple(_metrics(plan)),
            bool(compiled),
        )
    except Unsupported as error:
        raise UserError(error.reason, remedy=error.way_out) from error


def _losses(plan: Plan) -> list[Loss]:
    outputs = [output_of(port, plan.activation) for port in plan.outputs]
    stated = plan.options.loss or plan.compiled.get("loss") or DEFAULT_LOSS[plan.activation]
    return losses(stated, outputs, plan.compiled.get("loss_weights"), exact=plan.exact, version=plan.version)


def _metrics(plan: Plan) -> list[tuple[str, Piece, str]]:
    stated = plan.options.metrics or plan.compiled.get("metrics") or (["accuracy"] if plan.activation else [])
    if plan.activation == "softmax" and "accuracy" in str(stated):
        classes = plan.outputs[0].shape[-1]
        call = Call("torchmetrics.classification.MulticlassAccuracy", (classes,), (("average", "micro"),))
        return [("accuracy", Piece(call), "outputs, targets")]
    return []


def with_rate(piece: Piece) -> Piece:
    """The optimizer with the rate of `Config`."""
    call: Call = piece.expression
    options = tuple((key, Name("config.learning_rate") if key == "lr" else value) for key, value in call.options)
    return replace(piece, expression=replace(call, options=options))
