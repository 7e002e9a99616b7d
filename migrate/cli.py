"""The command line: arguments and exit codes, nothing else.

0 done · 1 parity does not hold · 2 cannot be done: the message on stderr says what was expected, found, what to do.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

import click

import migrate
from converters.errors import UserError
from migrate.coexist import keep_apart
from migrate.command import (
    AFTER,
    CLASS_NAME,
    EXACT,
    FLAT,
    MODEL,
    OUTPUT,
    OVERWRITE,
    PROJECT,
    READING,
    RUNNING,
    TALKING,
    command,
    main,
    parsed_shape,
    progress_bar,
    split_names,
    tell,
)

__all__ = ["main"]

SCRIPT = "A Keras training script instead of MODEL: run up to its first fit. Arguments of its own stand after --."
DATA_KINDS = ["arrays", "images", "csv", "tfrecord", "text"]


@command(*READING)
def inspect(
    model: Path, weights: Path | None, input_shape: str | None, as_json: bool, quiet: bool, verbose: bool
) -> None:
    """What is in MODEL and what a conversion would do with it."""
    from migrate.show import show_inspection

    found = migrate.inspect(model, weights=weights, input_shape=parsed_shape(input_shape))
    tell(found, show_inspection, as_json=as_json, quiet=quiet)


@command(
    OUTPUT,
    *READING,
    click.option(
        "--route",
        type=click.Choice(["auto", "direct"]),
        default="auto",
        help="auto and direct: each layer by its converter.",
    ),
    EXACT,
    FLAT,
    CLASS_NAME,
    OVERWRITE,
)
def convert(
    model: Path, output: Path, weights: Path | None, input_shape: str | None, route: str, exact: bool, flat: bool,
    name: str, overwrite: bool, as_json: bool, quiet: bool, verbose: bool,
) -> None:  # fmt: skip
    """Writes the PyTorch project of MODEL."""
    from migrate.pipeline import convert_file
    from migrate.show import show_conversion

    keep_apart()
    with progress_bar(hidden=quiet or as_json, verbose=verbose) as progress:
        done = convert_file(
            model, output, name=name, exact=exact, flat=flat, overwrite=overwrite, weights=weights,
            input_shape=parsed_shape(input_shape), progress=progress,
        )  # fmt: skip
    tell(done, show_conversion, as_json=as_json, quiet=quiet)


@command(
    OUTPUT,
    *READING,
    *RUNNING,
)
def capture(
    model: Path, output: Path, weights: Path | None, input_shape: str | None, dtype: str, as_json: bool, quiet: bool,
    verbose: bool, **running: Any,
) -> None:  # fmt: skip
    """Runs MODEL in its own framework and records a reference bundle."""
    from migrate.reference.capture import capture_file
    from migrate.show import show_capture

    keep_apart()
    with progress_bar(hidden=quiet or as_json, verbose=verbose) as progress:
        bundle = capture_file(
            model, output, capture_options(dtype=dtype, **running), weights=weights,
            input_shape=parsed_shape(input_shape), progress=progress,
        )  # fmt: skip
    if as_json:
        click.echo(json.dumps(bundle.summary(), indent=1))
    elif not quiet:
        show_capture(bundle)


def capture_options(*, dtype: str, checks: str | None, backend: Literal["tensorflow", "jax"], **running: Any) -> Any:
    """`migrate.reference.capture.Options` of the command line."""
    from migrate.reference.capture import Options

    return Options.of(
        checks=split_names(checks), dtypes=("float64", "float32") if dtype == "both" else (dtype,), backend=backend,
        **running,
    )  # fmt: skip


@command(
    *READING,
    *RUNNING,
    click.option(
        "--reference", type=click.Path(path_type=Path), help="A bundle of tf2torch capture, instead of a run."
    ),
    click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", help="Where PyTorch runs."),
    click.option("--compile", "compiled", is_flag=True, help="Compare torch.compile and torch.export, too."),
    click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the report as JSON."),
    click.option("--html", "html_file", type=click.Path(path_type=Path), help="Write the report as one page."),
    arguments=(MODEL, PROJECT),
    talking=TALKING[1:],
)
def verify(
    model: Path, project: Path, weights: Path | None, input_shape: str | None, reference: Path | None, dtype: str,
    device: str, compiled: bool, json_file: Path | None, html_file: Path | None, quiet: bool, verbose: bool,
    **running: Any,
) -> None:  # fmt: skip
    """Compares the project DIR with MODEL, its original; exit code 1 where they differ."""
    from migrate.verify.report.terminal import show, write_report
    from migrate.verify.run import Wanted, verify_file

    keep_apart()
    dtypes = ("float64", "float32") if dtype == "both" else (dtype,)
    wanted = Wanted(split_names(running["checks"]), dtypes, device, compiled)
    with progress_bar(hidden=quiet, verbose=verbose) as progress:
        report = verify_file(
            model, project, wanted, capture_options(dtype=dtype, **running), reference=reference, weights=weights,
            input_shape=parsed_shape(input_shape), progress=progress,
        )  # fmt: skip
    write_report(report, json_file, html_file)
    if not quiet:
        show(report)
    if not report.passed:
        sys.exit(1)


@command(*READING, arguments=(MODEL, PROJECT))
def transfer(
    model: Path, project: Path, weights: Path | None, input_shape: str | None, as_json: bool, quiet: bool, verbose: bool
) -> None:
    """Loads MODEL, a newer checkpoint of the same model, into the project DIR."""
    from migrate.show import show_transfer

    done = migrate.transfer(model, project, weights=weights, input_shape=parsed_shape(input_shape))
    tell(done, show_transfer, as_json=as_json, quiet=quiet)


@command(
    click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The Keras file to write."),
    click.option("--weights", type=click.Path(path_type=Path), help="A trained checkpoint (.safetensors, .pt)."),
    click.option("--input-shape", help="Of one sample, where MODEL does not state it."),
    click.option("--overwrite", is_flag=True, help="Replace the file if it exists."),
    arguments=(PROJECT, MODEL),
)
def backport(
    project: Path, model: Path, output: Path, weights: Path | None, input_shape: str | None, overwrite: bool,
    as_json: bool, quiet: bool, verbose: bool,
) -> None:  # fmt: skip
    """Writes the PyTorch weights of the project DIR into a copy of MODEL, its Keras file."""
    from migrate.show import show_backport

    done = migrate.backport(
        project, model, output, weights=weights, input_shape=parsed_shape(input_shape), overwrite=overwrite
    )
    tell(done, show_backport, as_json=as_json, quiet=quiet)


@command(
    OUTPUT,
    *READING,
    click.option("--trainer", type=click.Choice(["plain", "lightning"]), default="plain", help="The form of train.py."),
    click.option("--data", type=click.Choice(DATA_KINDS), default="arrays", help="The form of the data."),
    EXACT,
    click.option("--optimizer", help="A Keras optimizer by name, instead of the file's."),
    click.option(
        "--loss", multiple=True, help="A Keras loss by name, instead of the file's; OUTPUT=LOSS for each of several."
    ),
    click.option("--metrics", multiple=True, help="Keras metrics, with commas; OUTPUT=METRICS for each of several."),
    click.option("--epochs", type=click.IntRange(1), help="The default of train.py: 10, or as the script says."),
    click.option("--batch-size", type=click.IntRange(1), help="The default of train.py: 32, or as the script says."),
    click.option("--sample-weights", is_flag=True, help="The data brings a weight for each sample."),
    click.option(
        "--callback", "callbacks", multiple=True, help="As in Keras: 'EarlyStopping(patience=3)'. Repeatable."
    ),
    click.option("--class-weight", help="The weights of classes, such as 0=1.0,1=2.5."),
    click.option("--allow-todo", is_flag=True, help="Mark the places of losses, metrics and callbacks of your own."),
    FLAT,
    CLASS_NAME,
    OVERWRITE,
    click.option("--script", type=click.Path(path_type=Path), help=SCRIPT),
    click.option("--trust", is_flag=True, help="The script may be run."),
    click.option("--python", default="", help="The interpreter that the script runs with."),
    click.option("--timeout", type=float, help="Seconds without a sign of life after which the script has hung."),
    click.option("--max-data", type=float, default=4.0, help="Gigabytes of arrays that a script may give: 4."),
    arguments=(click.argument("model", nargs=-1, metavar="[MODEL]", type=click.Path(path_type=Path)),),
)
def scaffold(
    model: tuple[Path, ...], output: Path, weights: Path | None, input_shape: str | None,
    loss: tuple[str, ...], metrics: tuple[str, ...], callbacks: tuple[str, ...], class_weight: str | None,
    script: Path | None, as_json: bool, quiet: bool, verbose: bool, **given: Any,
) -> None:  # fmt: skip
    """Writes the PyTorch project of MODEL, or of a Keras training script, with a training project around it."""
    from migrate.scaffold.fitting import parsed_callback, parsed_class_weight
    from migrate.scaffold.typed import per_output
    from migrate.show import show_conversion, show_next, show_observed

    measured = per_output("--metrics", metrics)
    before = model[: len(model) - click.get_current_context().meta[AFTER]]
    if (script is None and len(model) != 1) or (script is not None and before):
        raise UserError(
            "scaffold takes one model file, or a training script",
            expected="MODEL, or --script FILE, whose own arguments stand after --",
            found=", ".join([*map(str, model), *([f"--script {script}"] if script is not None else [])]) or "neither",
            remedy="tf2torch scaffold MODEL -o DIR, or tf2torch scaffold --script FILE -o DIR -- ARGUMENTS",
        )
    paths = {"script": script, "script_args": list(map(str, model))} if script is not None else {"model": model[0]}
    with progress_bar(hidden=quiet or as_json, verbose=verbose) as progress:
        done = migrate.scaffold(
            folder=output, **paths, **given, weights=weights, input_shape=parsed_shape(input_shape),
            loss=per_output("--loss", loss),
            metrics=(
                {name: split_names(stated) for name, stated in measured.items()} if isinstance(measured, dict)
                else split_names(measured) if measured is not None else None
            ),
            callbacks=tuple(map(parsed_callback, callbacks)),
            class_weight=parsed_class_weight(class_weight) if class_weight is not None else None,
            progress=progress, hear=progress if verbose else None,
        )  # fmt: skip
    tell(done, show_observed if script is not None else show_conversion, as_json=as_json, quiet=quiet)
    if not (as_json or quiet):
        show_next(output)
