"""The files of a training project as texts."""

from __future__ import annotations

from collections.abc import Sequence

from converters.training import Loss, Metric, Piece
from converters.training.piece import HOMES
from migrate.emit.literals import literal, prose
from migrate.emit.names import identifier
from migrate.scaffold.expressions import imports, local_file, render, tidy
from migrate.scaffold.fill import filled
from migrate.scaffold.fitting import classes_text
from migrate.scaffold.initial import initial_file
from migrate.scaffold.lightning import lightning_places
from migrate.scaffold.penalties import penalty_terms
from migrate.scaffold.plan import Plan
from migrate.scaffold.training import Training, logged, with_rate

PROBABILITIES = {"softmax": ".softmax(dim=-1)", "sigmoid": ".sigmoid()"}
COMMENT_AT = 100  # columns up to which a comment stands at the end of its line


def training_files(plan: Plan, training: Training) -> dict[str, str]:
    """train.py and what it imports, but for data.py."""
    conditions = flags(plan, training)
    places = config_places(plan, training) | objective_places(plan, training) | update_places(training, conditions)
    plain = plan.options.trainer == "plain"
    if not plain:
        places |= lightning_places(places, training)
    files = {
        "train.py": tidy(filled("train.py" if plain else "train_lightning.py", places, conditions)),
        "checkpoint.py": tidy(filled("checkpoint.py", {}, conditions)),
    }
    if not plain:
        files["run.py"] = tidy(filled("run.py", {}, conditions))
    if plan.batch_norms:
        files["batch_norm.py"] = tidy(filled("batch_norm.py", norm_places(plan), conditions))
    local = {f"{home}.py": local_file(home, training.pieces) for home in HOMES}
    local["initial.py"] = initial_file(plan.project)
    return files | {name: text for name, text in local.items() if text}


def flags(plan: Plan, training: Training) -> set[str]:
    """The conditions of the templates that hold."""
    conditions = {
        plan.options.trainer: True,
        "images": plan.images,
        "exact": plan.exact,
        "batch_norm": plan.batch_norms,
        "learning_rate": training.learning_rate is not None,
        "scheduler": training.optimizer.schedule is not None,
        "clip": bool(training.optimizer.clip),
        "clip_of_model": any("model." in render(piece.expression) for piece in training.optimizer.clip),
        "average": training.optimizer.average is not None,
        "parameters": bool(training.optimizer.clip or training.optimizer.average),
        "optimizer_state": bool(training.state),
        "per_token": bool(training.optimizer.per_token),
        "whole_only": bool(unsharded(training)),
        "metrics": bool(training.metrics),
        "penalty": bool(training.rules.penalties),
        "constraints": bool(training.rules.constraints),
        "accumulate": training.optimizer.accumulate > 1,
        "gradients": training.optimizer.accumulate > 1,
        "class_weights": bool(training.class_weights),
        "masked": bool(training.masks),
        "one_mask": one_mask(plan, training),
        **callback_flags(training),
    }
    return {name for name, holds in conditions.items() if holds}


def unsharded(training: Training) -> list[str]:
    """What of a training does not go with FSDP, for it is about whole weights."""
    made = training.optimizer
    found = {
        "averages of weights (use_ema)": made.average is not None,
        "sums of gradients (gradient_accumulation_steps)": made.accumulate > 1,
        "squares of gradients token by token (PerToken)": bool(made.per_token),
        "weights with a constraint": bool(training.rules.constraints),
    }
    return [what for what, holds in found.items() if holds]


def callback_flags(training: Training) -> dict[str, bool]:
    """What the callbacks make the loop do."""
    names = {piece.expression.target.rpartition(".")[2] for piece in training.callbacks}
    every = any(dict(piece.expression.options).get("every") for piece in training.callbacks)
    return {
        "callbacks": bool(training.callbacks),
        "callbacks_todo": bool(training.callbacks_todo),
        "batch_end": "TerminateOnNaN" in names or every,
        "swap": "SwapEMAWeights" in names,
        "own_schedule": "LearningRateScheduler" in names,
        "board": "TensorBoard" not in names,
        "ends": bool(names & {"EarlyStopping", "TensorBoard"}),
        "final": bool(training.optimizer.average) or "EarlyStopping" in names,
    }


def config_places(plan: Plan, training: Training) -> dict[str, str]:
    """The defaults of `Config`, and names."""
    return {
        "MODEL": plan.class_name,
        "IMPORTS": "\n".join(
            [*imports(training.pieces), *(["import torch.nn.functional as F"] if training.masks else [])]
        ),
        "RUN": literal(f"runs/{identifier(plan.class_name)}"),
        "EPOCHS": literal(plan.options.epochs),
        "BATCH_SIZE": literal(plan.options.batch_size),
        "LEARNING_RATE": literal(training.learning_rate),
        "VALIDATION_SPLIT": literal(plan.options.validation_split),
        "SHUFFLE": literal(plan.options.shuffle),
        "PRECISION": literal("bf16" if plan.policy == "mixed_bfloat16" else "float32"),
    }


def objective_places(plan: Plan, training: Training) -> dict[str, str]:
    """The losses and metrics, and what they are called with."""
    several = len(plan.outputs) > 1
    tensors = "list[Tensor]" if several else "Tensor"
    body = forward_of_several(plan, training) if several else forward_of_one(plan, training)
    return {
        **mask_places(plan, training),
        "CLASS_WEIGHTS": literal(list(training.class_weights)),
        "LOSSES": "\n".join([*todo_lines(training.todo), *loss_lines(training), *activity_lines(training)]),
        "INPUTS_TYPE": "Tensor" if len(plan.inputs) == 1 else "list[Tensor]",
        "TARGETS_TYPE": tensors,
        "OUTPUTS_TYPE": tensors,
        "FORWARD": body,
        "BATCH": "inputs, targets, weights" if plan.options.weighted else "inputs, targets",
        "WEIGHTS_PARAMETER": ", weights: Tensor" if plan.options.weighted else "",
        "SIZE": "len(targets[0])" if several else "len(targets)",
        **metric_places(plan, training),
        "SHARE": share_of(plan, training),
        "PENALTY": " + ".join(penalty_terms(plan.project, training.rules.penalties)),
        "PLUS_PENALTY": " + penalty(objective)" if training.rules.penalties else "",
    }


def metric_places(plan: Plan, training: Training) -> dict[str, str]:
    """The metrics by their names in Keras' logs; those of several outputs are updated one by one."""
    several = len(plan.outputs) > 1
    names = logged(plan, training.metrics)
    made = [
        f"{literal(name)}: {render(metric.piece.expression)},"
        + "".join(f"  # {prose(comment, 100)}" for comment in metric.piece.comments)
        for name, metric in zip(names, training.metrics, strict=True)
    ]
    updates = [_update(plan, name, metric) for name, metric in zip(names, training.metrics, strict=True)]
    if not several and not training.masks:
        updates = ["self.metrics.update(outputs.detach(), targets)"]
    return {
        "METRICS": "\n".join(made),
        "UPDATE_METRICS": "\n".join(updates),
    }


def _update(plan: Plan, name: str, metric: Metric) -> str:
    """The call that shows a batch to one metric."""
    several = len(plan.outputs) > 1
    at = f"[{[port.name for port in plan.outputs].index(metric.output)}]" if several else ""
    mask = f", {'masks' if several else 'mask'}{at}" if metric.masked else ""
    return f"self.metrics[{literal(name)}].update(outputs{at}.detach(), targets{at}{mask})"


def mask_places(plan: Plan, training: Training) -> dict[str, str]:
    """What losses and metrics are told of masks; empty texts where there are none."""
    several, masked, one = len(plan.outputs) > 1, bool(training.masks), one_mask(plan, training)
    name, kind = ("masks", "list[Tensor | None]") if several else ("mask", "Tensor")
    made = f"{name} = mask_of({'inputs' if len(plan.inputs) == 1 else '*inputs'})"
    given = ["inputs", "targets", *(["weights"] if plan.options.weighted else []), *([name] if masked else [])]
    return {
        "MASK_OF": "\n".join(training.masks),
        "MASKS": made if masked else "",
        "GIVEN": ", ".join(given),
        "AND_MASKS": f", {name}" if masked else "",
        "MASK_PARAMETER": f", {name}: {kind}" if masked else "",
        "AND_KEPT": ", mask" if one else "",
        "KEPT_PARAMETER": ", mask: Tensor" if one else "",
    }


def one_mask(plan: Plan, training: Training) -> bool:
    """Whether a mask alone says how much of a batch counts."""
    return bool(training.masks) and len(plan.outputs) == 1


def norm_places(plan: Plan) -> dict[str, str]:
    """The class that BatchNorm is in model.py."""
    if plan.exact:
        return {"KIND": "BatchNorm", "AND_WHY": ", and takes the unbiased variance"}
    return {"KIND": "nn.modules.batchnorm._BatchNorm", "AND_WHY": ""}


def update_places(training: Training, conditions: set[str]) -> dict[str, str]:
    """What follows the gradient."""
    made, rules = training.optimizer, training.rules
    optimizer = made.optimizer if training.learning_rate is None else with_rate(made.optimizer)
    stateful = [name for name in ("scheduler", "average", "gradients", "callbacks") if name in conditions]
    return {
        "OPTIMIZER": assigned("optimizer", optimizer),
        "SCHEDULER": assigned("scheduler", made.schedule),
        "RESUME": render(training.resume.expression) if training.resume is not None else "",
        "AVERAGE": assigned("average", made.average),
        "CLIP": "\n".join(commented(render(piece.expression), piece) for piece in made.clip),
        "PER_TOKEN": "\n".join(
            ["# Keras squares the gradient of an embedding token by token, not after their sum."]
            + [render(piece.expression) for piece in made.per_token]
        ),
        "UNSHARDED": literal(f"FSDP shards no {' and no '.join(unsharded(training))}: start without it, with torchrun"),
        "CALLBACKS": assigned("callbacks", training.called),
        "CALLBACKS_TODO": "\n".join(todo_lines(training.callbacks_todo)),
        "CONSTRAINTS": "\n".join(render(piece.expression) for piece in rules.constraints),
        "ACCUMULATE": literal(made.accumulate),
        "STATEFUL": "".join(f", {name}={name}" for name in stateful),
    }


def todo_lines(todo: Sequence[str]) -> list[str]:
    """Marked places that raise: what the user has to write before the first step."""
    texts = [literal(f"TODO: {prose(text, 300)}") for text in todo]
    return [f"raise NotImplementedError({text})" for text in texts]


def loss_lines(training: Training) -> list[str]:
    return [
        commented(f"self.{attribute} = {render(loss.piece.expression)}", loss.piece)
        for attribute, loss in loss_attributes(training)
    ]


def activity_lines(training: Training) -> list[str]:
    """The attribute that watches the outputs of layers with an activity regularizer."""
    watching = ", ".join(render(piece.expression) for piece in training.rules.activities)
    comments = dict.fromkeys(comment for piece in training.rules.activities for comment in piece.comments)
    return (
        [*(f"# {prose(comment, 110)}" for comment in comments), f"self.activities = [{watching}]"] if watching else []
    )


def share_of(plan: Plan, training: Training) -> str:
    """The factor with which the mean of the losses of all processes is the loss of the whole batch."""
    reductions = [dict(loss.piece.expression.options).get("reduction", "mean") for loss in training.losses]
    if "sum" in reductions:
        return "accelerator.num_processes"
    part, whole = ("kept", "all_kept.clamp(min=1)") if one_mask(plan, training) else ("size", "whole")
    return f"{part} * accelerator.num_processes / {whole}"


def loss_attributes(training: Training) -> list[tuple[str, Loss]]:
    """The attributes of `Objective` that hold the losses."""
    if len(training.losses) == 1:
        return [("loss", training.losses[0])]
    return [(f"loss_{identifier(loss.output)}", loss) for loss in training.losses]


def forward_of_one(plan: Plan, training: Training) -> str:
    """The body of `Objective.forward` where the model has one output."""
    inputs = "inputs" if len(plan.inputs) == 1 else "*inputs"
    loss, weights = training.losses[0], ", weights" if plan.weighted else ""
    weights += ", mask=mask" if training.masks else ""
    classes = f"self.class_weights[{classes_text(plan, loss)}] if self.training else None"
    before = f"weights = {classes}\n" if training.class_weights else ""
    activity = " + sum(activity.take() for activity in self.activities)" if training.rules.activities else ""
    if loss.on == "logits":
        probabilities = f"logits{PROBABILITIES[plan.activation]}"
        made = f"self.loss(logits, targets{weights}){activity}"
        return f"{before}logits = self.model.logits({inputs})\nreturn {made}, {probabilities}"
    return f"{before}outputs = self.model({inputs})\nreturn self.loss(outputs, targets{weights}){activity}, outputs"


def forward_of_several(plan: Plan, training: Training) -> str:
    """The same for several outputs: the sum of their losses by their weights."""
    inputs = "inputs" if len(plan.inputs) == 1 else "*inputs"
    ending = ".values()" if isinstance(plan.project.graph.outputs, dict) else ""
    positions = {port.name: index for index, port in enumerate(plan.outputs)}
    terms = []
    for attribute, loss in loss_attributes(training):
        index = positions[loss.output]
        weights = ", weights" if plan.options.weighted else ""
        weights += f", mask=masks[{index}]" if training.masks and plan.outputs[index].masked else ""
        weight = "" if loss.weight == 1 else f"{literal(loss.weight)} * "
        terms.append(f"{weight}self.{attribute}(outputs[{index}], targets[{index}]{weights})")
    terms += ["sum(activity.take() for activity in self.activities)"] if training.rules.activities else []
    return f"outputs = list(self.model({inputs}){ending})\nreturn {' + '.join(terms)}, outputs"


def assigned(name: str, piece: Piece | None) -> str:
    return "" if piece is None else commented(f"{name} = {render(piece.expression)}", piece)


def commented(statement: str, piece: Piece) -> str:
    """A statement, with what is to be said about it at the end of the line, or above it where that is too long."""
    said = "; ".join(prose(comment, 200) for comment in piece.comments)
    if not said:
        return statement
    return f"{statement}  # {said}" if len(statement) + len(said) < COMMENT_AT else f"# {said}\n{statement}"
