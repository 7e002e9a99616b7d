"""README.md of a training project: that of the model, and how to train it."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import fill

from converters.training import Piece
from migrate.emit.literals import prose
from migrate.emit.names import identifier
from migrate.emit.readme import readme
from migrate.scaffold.data import data_readme
from migrate.scaffold.expressions import render
from migrate.scaffold.plan import Plan
from migrate.scaffold.text import unsharded
from migrate.scaffold.training import Training


def project_readme(plan: Plan, training: Training) -> str:
    """The whole text."""
    several = _several(training) if plan.options.trainer == "plain" else _several_of_lightning()
    sections = [_train(plan), _said(plan, training), several, _tools(plan)]
    parts = ["\n".join(lines) for lines in sections]
    return "\n\n".join([readme(plan.project).rstrip(), parts[0], data_readme(plan).rstrip(), *parts[1:]]) + "\n"


def _train(plan: Plan) -> Iterator[str]:
    run, plain = f"runs/{identifier(plan.class_name)}", plan.options.trainer == "plain"
    yield from ("## Train", "```", "pip install -r requirements.txt")
    yield f"python train.py --epochs {plan.options.epochs}"
    shared = "torchrun --nproc-per-node 2 train.py" if plain else "python train.py --devices 2"
    yield f"{shared} --epochs {2 * plan.options.epochs} --resume"
    yield from ("tensorboard --logdir runs", "```")
    yield paragraph(
        "The options are the fields of `Config` in `train.py`; `python train.py --help` lists them.",
        f"`{run}` holds `weights.safetensors` (as the one beside `model.py`), `history.json` (as Keras' `History`),",
        f"`checkpoint.{'pt' if plain else 'ckpt'}` and TensorBoard's curves, written at the end of each epoch.",
        "`--resume` goes on there with the options that the run was begun with; a run that was killed ends with the",
        "same bits as one that was not. `--fresh` begins with new weights, drawn from the distributions that Keras",
        "draws from (`initial.py`); what is frozen keeps those of the file.",
    )


def _said(plan: Plan, training: Training) -> Iterator[str]:
    """What the file says about training, and what of it is not exact."""
    yield "## What the Keras file says"
    if not training.stated:
        yield "It was not compiled: optimizer, loss and metrics are defaults of tf2torch. `scaffold --optimizer --loss"
        yield "--metrics` chooses others by their Keras names."
    yield from ("| | |", "|---|---|")
    yield f"| optimizer | `{code(training.optimizer.optimizer)}` |"
    if training.optimizer.schedule is not None:
        yield f"| learning rate | `{code(training.optimizer.schedule)}` |"
    for loss in training.losses:
        of = f" of `{prose(loss.output)}`, times {loss.weight}" if len(training.losses) > 1 else ""
        yield f"| loss{of} | `{code(loss.piece)}` of the {loss.on} |"
    for metric in training.metrics:
        yield f"| metric | `{prose(metric.name)}`: `{code(metric.piece)}` |"
    for piece in (*training.callbacks, *training.lightning_callbacks):
        yield f"| callback | `{code(piece)}` |"
    if plan.policy:
        yield f"| precision | `{plan.policy}`: {_precision(plan)} |"
    if training.class_weights:
        yield f"| class weights | {', '.join(map(str, training.class_weights))} |"
    if training.state:
        yield "| state | `optimizer.safetensors`: training goes on with the momenta and step count of Keras |"
    yield ""
    if plan.compiled.get("weighted_metrics"):
        yield "`weighted_metrics` of `compile` are left out: the metrics of `train.py` count every sample once."
    if not plan.options.weighted:
        yield "Sample weights in the data need `scaffold --sample-weights`."
    yield f"What the file does not hold, and `fit` was told: {', '.join(_untold(plan))}."
    drift = list(dict.fromkeys(text for piece in training.pieces for text in piece.drift))
    if drift:
        yield "Differs from Keras (`tf2torch scaffold --exact` emits what does not):"
        yield from (f"- {text}" for text in drift)


def _precision(plan: Plan) -> str:
    """What `--precision` makes of the policy of the file."""
    if plan.policy == "mixed_bfloat16":
        return "`--precision bf16`, which is the default here"
    return "`--precision fp16`, which takes a GPU; the default is float32"


def _untold(plan: Plan) -> Iterator[str]:
    """What `fit` may have been told that the user has not said."""
    yield from ("epochs", "batch size")
    if not plan.options.callbacks:
        yield "callbacks (`scaffold --callback`)"
    if not plan.options.class_weight:
        yield "class weights (`--class-weight`)"


def code(piece: Piece) -> str:
    """An expression between backquotes in a table; its strings are literals, so of printable ASCII."""
    return render(piece.expression).replace("`", "'").replace("|", "\\|")


def _several(training: Training) -> Iterator[str]:
    yield "## More than one device"
    yield paragraph(
        "`train.py` runs on Hugging Face Accelerate: `torchrun --nproc-per-node N train.py` trains with DDP on N GPUs,",
        "or in N CPU processes.",
        _SAME_BATCHES,
        "A checkpoint goes on in any number of them.",
        _fsdp(training),
        _AUTOCAST,
    )


def _fsdp(training: Training) -> str:
    if left_out := unsharded(training):
        return f"FSDP is refused: it shards no {' and no '.join(left_out)}."
    fresh = " --no-keep-optimizer-state" if training.state else ""
    return (
        "FSDP, which divides the weights among N GPUs, is a matter of the start: `accelerate launch --use_fsdp "
        f"--fsdp_version 2 --num_processes N train.py{fresh}`. On CPU, Accelerate takes DDP for it."
    )


def _several_of_lightning() -> Iterator[str]:
    yield "## More than one device"
    yield paragraph(
        "`python train.py --devices N` trains with DDP on N GPUs, or in N CPU processes.", _SAME_BATCHES, _AUTOCAST
    )


_SAME_BATCHES = (
    "`--batch-size` is that of all of them: each takes its part of the same batches, BatchNorm counts over whole "
    "batches, and the losses are those of one process."
)
_AUTOCAST = (
    "`--precision bf16` or `fp16` computes under autocast. Losses that look at a whole batch at once (Dice, Tversky) "
    "or leave samples out (ignore_class, the masks of several outputs) are averaged over the parts of the processes: "
    "not the same number."
)


def _tools(plan: Plan) -> Iterator[str]:
    run = f"runs/{identifier(plan.class_name)}/weights.safetensors"
    yield from ("## Evaluate, predict, export", "```")
    yield f"python evaluate.py --data data --weights {run}"
    yield f"python predict.py --data data --weights {run}"
    yield f"python export.py --weights {run}"
    yield "```"
    yield paragraph(
        "`evaluate.py` and `predict.py` take the data for validation where the folder brings its own, else all of it,",
        "and say so on their first line; `--part train` or `--part val` chooses.",
    )
    yield ""
    yield paragraph(
        "`export.py` writes torch.export's and ONNX form, on request a TorchScript trace, each compared with the model",
        "before it gets its name.",
    )


def paragraph(*parts: str) -> str:
    """One paragraph, wrapped at the width that our READMEs have."""
    return fill(" ".join(parts), 110, break_long_words=False, break_on_hyphens=False)
