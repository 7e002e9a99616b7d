"""What a file does not hold and `fit` was told: callbacks and class weights, as the user states them."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from converters.errors import Unsupported, UserError
from converters.training import Loss, Optimizer, Piece, callback
from converters.training.config import named, snake
from migrate.scaffold.plan import Plan

CHANGING = ("reducelronplateau", "learningratescheduler", "learningrates")  # the learning rate


def kind_of(stated: Mapping[str, Any]) -> str:
    """`earlystopping`, however it is written; nothing for a class of the user's own."""
    try:
        return snake(named(stated, "the callback")[0])
    except Unsupported:
        return ""


def changes_rate(plan: Plan) -> bool:
    return any(kind_of(stated) in CHANGING for stated in plan.options.callbacks)


def callbacks_of(plan: Plan, optimizer: Optimizer, metrics: Sequence[str], todo: list[str]) -> list[Piece]:
    """The callbacks in their order. What cannot be carried is raised as Unsupported, or is left `todo`.

    `metrics`: by their names in the logs.
    """
    found = []
    for stated in plan.options.callbacks:
        try:
            _check_fits(kind_of(stated), plan, optimizer)
            piece = callback(stated)
            _check_monitored(stated, metrics)
        except Unsupported as error:
            if not plan.options.allow_todo:
                raise
            todo.append(f"{error.reason}: {error.way_out}")
        else:
            found += [piece] if piece is not None else []
    return found


def _check_monitored(stated: Mapping[str, Any], metrics: Sequence[str]) -> None:
    """Keras warns at each epoch where what a callback monitors does not exist, and never acts."""
    class_name, config = named(stated, "the callback")
    if kind_of(stated) == "modelcheckpoint" and not config.get("save_best_only"):
        return
    monitor = str(config.get("monitor", "loss")).removeprefix("val_")
    if monitor not in ("loss", *metrics) and not monitor.startswith(tuple(f"{name}_" for name in metrics)):
        raise Unsupported(
            f"{class_name} monitors {config['monitor']!r:.80}, which train.py does not log",
            f"monitor one of {', '.join(('loss', *metrics))}, or the same with val_",
        )


def _check_fits(kind: str, plan: Plan, optimizer: Optimizer) -> None:
    if kind in CHANGING and optimizer.schedule is not None:
        raise Unsupported(
            "a callback that sets the learning rate, which follows a schedule already (Keras refuses it too)",
            "leave the callback out, or give --optimizer",
        )
    if kind == "learningratescheduler" and not plan.options.allow_todo:
        raise Unsupported(
            "LearningRateScheduler, whose schedule is a function of your own",
            "write it in PyTorch where train.py says TODO (scaffold --allow-todo), or use a schedule of Keras' in "
            "the optimizer",
        )
    if kind == "swapemaweights" and optimizer.average is None:
        raise Unsupported("SwapEMAWeights, but the optimizer keeps no average", "compile with use_ema=True")


def class_weights_of(plan: Plan, losses: Sequence[Loss]) -> tuple[float, ...]:
    """The weight of every class; empty where none are stated. Raises Unsupported where targets are no classes."""
    stated = plan.options.class_weight
    if not stated:
        return ()
    if plan.options.weighted:
        raise Unsupported("class weights and sample weights at once (Keras refuses them too)", "leave one of them out")
    port = plan.outputs[0]
    if len(plan.outputs) != 1 or len(port.keras_shape) != 2 or not losses:
        raise Unsupported("class weights of a model without one class for each sample", "use sample weights")
    count = port.keras_shape[-1] or 0
    count = 2 if count == 1 and losses[0].targets == "values" else count
    if wrong := [number for number in stated if not 0 <= number < count]:
        raise Unsupported(
            f"a class weight of class {wrong[0]}, but there are {count}", f"name classes 0 to {count - 1}"
        )
    return tuple(float(stated.get(number, 1.0)) for number in range(count))


def classes_text(plan: Plan, loss: Loss) -> str:
    """The expression for the class of each sample of a batch."""
    if loss.targets == "classes":
        return "targets"
    return "targets.flatten().round().long()" if plan.outputs[0].keras_shape[-1] == 1 else "targets.argmax(-1)"


# -- the command line ------------------------------------------------------------------------------------------


def parsed_callback(text: str) -> dict[str, Any]:
    """`EarlyStopping(patience=3)` as class name and config. Read as data: nothing in it is evaluated."""
    try:
        call = ast.parse(text.strip(), mode="eval").body
        call = ast.Call(call, [], []) if isinstance(call, (ast.Name, ast.Attribute)) else call
        if not isinstance(call, ast.Call) or call.args or any(word.arg is None for word in call.keywords):
            raise ValueError(text)
        name = _name(call.func)
        config = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise UserError(
            f"the callback {text!r:.100} cannot be read",
            expected="a class of Keras' and arguments by name, as in EarlyStopping(patience=3, mode='min')",
            found=text[:100],
            remedy="write numbers, strings, True, False and None as arguments",
        ) from error
    return {"class_name": name, "config": config}


def _name(node: ast.expr) -> str:
    """`EarlyStopping`, of `keras.callbacks.EarlyStopping` too."""
    if not isinstance(node, (ast.Name, ast.Attribute)):
        raise ValueError(ast.unparse(node))
    return node.attr if isinstance(node, ast.Attribute) else node.id


def parsed_class_weight(text: str) -> dict[int, float]:
    """`0=1.0,1=2.5` as a table."""
    try:
        pairs = [part.split("=") for part in text.split(",") if part.strip()]
        return {int(number): float(weight) for number, weight in pairs}
    except ValueError as error:
        raise UserError(
            f"--class-weight {text!r:.100} cannot be read",
            expected="numbers of classes and their weights, such as 0=1.0,1=2.5",
            found=text[:100],
            remedy="leave classes out whose weight is 1",
        ) from error
