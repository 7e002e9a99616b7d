"""The compile configuration of a file as pieces of a training program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from converters.errors import Unsupported, UserError
from converters.training import Call, Loss, Name, Optimizer, Output, Piece, losses, optimizer
from converters.training.metrics import Metric, metric
from migrate.scaffold.fitting import callbacks_of, changes_rate, class_weights_of
from migrate.scaffold.masks import mask_function
from migrate.scaffold.plan import Plan, output_of, trainable_variables
from migrate.scaffold.typed import check_outputs, check_typed
from migrate.scaffold.weights import Rules, rules_of

DEFAULT_LOSS = {"softmax": "sparse_categorical_crossentropy", "sigmoid": "binary_crossentropy", "": "mse"}


@dataclass(frozen=True)
class Training:
    """What happens to a batch. `stated`: whether the file says so, or the defaults of this toolkit do.
    `todo`: what the user has to write of losses and metrics, `callbacks_todo`: of callbacks. `class_weights`: one for
    each class. `masks`: the lines of `mask_of`. `state`: that of the optimizer, for optimizer.safetensors."""

    optimizer: Optimizer
    losses: tuple[Loss, ...]
    metrics: tuple[Metric, ...]
    stated: bool
    rules: Rules
    todo: tuple[str, ...] = ()
    callbacks: tuple[Piece, ...] = ()
    callbacks_todo: tuple[str, ...] = ()
    class_weights: tuple[float, ...] = ()
    lightning_callbacks: tuple[Piece, ...] = ()
    masks: tuple[str, ...] = ()
    state: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pieces(self) -> list[Piece]:
        resumed = [self.resume] if self.resume is not None else []
        measured = [*(loss.piece for loss in self.losses), *(metric.piece for metric in self.metrics)]
        called = [self.called] if self.called is not None else []
        return [*self.optimizer.pieces, *resumed, *measured, *self.rules.pieces, *called]

    @property
    def called(self) -> Piece | None:
        """All callbacks as one."""
        if not self.callbacks:
            return None
        comments = tuple(comment for piece in self.callbacks for comment in piece.comments)
        return Piece(Call("callbacks.Callbacks", ([piece.expression for piece in self.callbacks],)), comments)

    @property
    def resume(self) -> Piece | None:
        """What loads the state of the optimizer."""
        if not self.state:
            return None
        given = [Name("optimizer"), Name("model"), Name('load_file(HERE / "optimizer.safetensors")')]
        given += [Name("scheduler")] if self.optimizer.schedule is not None else []
        return Piece(Call("optim.resume", tuple(given)))

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
        check_typed(options)
        check_outputs(options, [port.name for port in plan.outputs])
        todo: list[str] = []
        callbacks_todo: list[str] = []
        made, masks = _losses(plan, todo)
        measured = tuple(_metrics(plan, made, bool(masks), todo))
        updating = optimizer(
            options.optimizer or compiled.get("optimizer") or compiled.get("optimizer_config") or "adam",
            trainable_variables(plan.project),
            exact=plan.exact,
            changing=changes_rate(plan),
            version=plan.version,
        )
        return Training(
            updating,
            made,
            measured,
            bool(compiled),
            rules_of(plan.project, plan.calls, plan.version),
            tuple(todo),
            tuple(callbacks_of(plan, updating, logged(plan, measured), callbacks_todo)),
            tuple(callbacks_todo),
            class_weights_of(plan, made),
            masks=tuple(masks),
        )
    except Unsupported as error:
        raise UserError(error.reason, remedy=error.way_out) from error


def _losses(plan: Plan, todo: list[str]) -> tuple[tuple[Loss, ...], list[str]]:
    """The losses, and the function that makes the masks which they obey."""
    outputs = [output_of(port, plan.activation) for port in plan.outputs]
    default = DEFAULT_LOSS[plan.activation]
    stated = plan.options.loss or plan.compiled.get("loss") or default
    given = {"exact": plan.exact, "version": plan.version, "weighted": plan.weighted}
    try:
        made = losses(stated, outputs, plan.compiled.get("loss_weights"), **given)
        return tuple(made), mask_function(plan, [loss.output for loss in made])
    except Unsupported as error:
        if not plan.options.allow_todo:
            raise
        todo.append(f"{error.reason}: {error.way_out}")
        return tuple(losses(default, [replace(output, masked=False) for output in outputs], **given)), []


def _metrics(plan: Plan, made: Sequence[Loss], masked: bool, todo: list[str]) -> list[Metric]:
    """Metrics as they stand in the compile configuration, called with the outputs and what the losses get."""
    stated = plan.options.metrics or plan.compiled.get("metrics")
    if stated is None and not plan.compiled:
        stated = ["accuracy"] if plan.activation else []
    outputs = [output_of(port, plan.activation) for port in plan.outputs]
    outputs = [replace(output, masked=output.masked and masked) for output in outputs]
    kinds = {loss.output or outputs[0].name: loss.targets for loss in made}
    found = []
    for output, config in per_output(stated, outputs):
        try:
            found.append(_metric(config, output, kinds.get(output.name, "")))
        except Unsupported as error:
            if not plan.options.allow_todo:
                raise
            todo.append(f"{error.reason}: {error.way_out}")
    return found


def _metric(config: Any, output: Output, targets: str) -> Metric:
    one = metric(config, output, sparse=targets == "classes")
    if one.masked and not targets:
        raise Unsupported(f"the metric {one.name} of an output with a mask and no loss", "take it out of compile()")
    if one.on == "logits":  # of the probabilities, which metrics get here
        one = metric(config, replace(output, activation=""), sparse=targets == "classes")
    if one.targets != (targets or "values"):
        raise Unsupported(
            f"the metric {one.name} needs {one.targets} as targets, the loss of {output.name!r} another form",
            "take the metric out of compile(), or give --metrics",
        )
    return one


def per_output(stated: Any, outputs: Sequence[Output]) -> Iterator[tuple[Output, Any]]:
    """The metrics of each output, as `compile` takes them: for all, a list for each, or by name."""
    for index, output in enumerate(outputs):
        own = stated
        if isinstance(stated, Mapping) and "class_name" not in stated:
            own = stated.get(output.name)
        elif len(outputs) > 1 and isinstance(stated, (list, tuple)):
            own = stated[index] if index < len(stated) else None
        yield from ((output, one) for one in (own if isinstance(own, (list, tuple)) else [own]) if one is not None)


def logged(plan: Plan, measured: Sequence[Metric]) -> list[str]:
    """The names of the metrics as train.py logs them, which are those of Keras' logs."""
    several = len(plan.outputs) > 1
    return [f"{metric.output}_{metric.name}" if several else metric.name for metric in measured]


def with_rate(piece: Piece) -> Piece:
    """The optimizer with the rate of `Config`."""
    call: Call = piece.expression
    options = tuple((key, Name("config.learning_rate") if key == "lr" else value) for key, value in call.options)
    return replace(piece, expression=replace(call, options=options))
