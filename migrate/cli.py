"""The command line: arguments and exit codes, nothing else.

0 done · 1 parity does not hold · 2 cannot be done: the message on stderr says what was expected, found, what to do.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Literal

import click

import migrate
from converters.errors import Gaps, UserError
from migrate.coexist import keep_apart

MODEL = click.argument("model", type=click.Path(path_type=Path))
PROJECT = click.argument("project", metavar="DIR", type=click.Path(path_type=Path))
DATA_KINDS = ["arrays", "images", "csv", "tfrecord", "text"]
READING = (
    click.option("--weights", type=click.Path(path_type=Path), help="The weights (.h5) of an architecture (.json)."),
    click.option("--input-shape", help="Of one sample, such as 28,28,1, where the file does not state it."),
)
TALKING = (
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    click.option("--quiet", is_flag=True, help="Print errors only."),
    click.option("--verbose", is_flag=True, help="Print every step."),
    click.option("--debug", is_flag=True, help="Show the traceback of an error."),
)


def versions() -> str:
    """The toolkit, and what it works with, without importing any of it."""
    found = [f"tf2torch {migrate.__version__}"]
    for name in ("torch", "tensorflow", "keras"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(migrate.__version__, message=versions())
def main() -> None:
    """Saved Keras models -> PyTorch projects that stand alone."""


def command(
    *options: Any, arguments: tuple[Any, ...] = (MODEL,), talking: tuple[Any, ...] = TALKING
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A command whose errors become a message and exit code 2."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def run(*, debug: bool, **given: Any) -> None:
            try:
                function(**given)
            except UserError as error:
                if debug:
                    raise
                if given.get("as_json") and isinstance(error, Gaps):
                    click.echo(json.dumps({"ok": False, "gaps": [gap.to_json() for gap in error.gaps]}))
                click.echo(f"tf2torch: {error}", err=True)
                sys.exit(2)
            except Exception as error:
                if debug:
                    raise
                said = f"tf2torch: an error in tf2torch itself: {type(error).__name__}: {error}"
                click.echo(f"{said}\n  what to do: run it again with --debug, and report what it prints", err=True)
                sys.exit(2)

        for option in reversed((*arguments, *options, *talking)):
            run = option(run)
        return main.command(name=function.__name__.rstrip("_"), help=function.__doc__)(run)

    return decorate


@command(*READING)
def inspect(
    model: Path, weights: Path | None, input_shape: str | None, as_json: bool, quiet: bool, verbose: bool
) -> None:
    """What is in MODEL and what a conversion would do with it."""
    from migrate.show import show_inspection

    found = migrate.inspect(model, weights=weights, input_shape=parsed_shape(input_shape))
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1))
    elif not quiet:
        show_inspection(found)


@command(
    click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The folder to write."),
    *READING,
    click.option("--route", type=click.Choice(["auto", "direct"]), default="auto", help="How layers are mapped."),
    click.option("--exact", is_flag=True, help="Equal Keras in training too, by local classes where PyTorch differs."),
    click.option("--flat", is_flag=True, help="One attribute for each Keras layer, under its Keras name: no blocks."),
    click.option("--name", default="", help="The name of the model's class."),
    click.option("--overwrite", is_flag=True, help="Replace a project that was converted before."),
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
    if as_json:
        click.echo(json.dumps(done.to_json(), indent=1))
    elif not quiet:
        show_conversion(done)


RUNNING = (
    click.option("--checks", help="Some of structure,forward,layers,gradients,training; all by default."),
    click.option("--seed", type=int, default=0, help="Of the inputs, targets and projections that are drawn."),
    click.option("--inputs", type=click.Path(path_type=Path), help="Your own inputs besides: an .npz, by input name."),
    click.option("--python", default="", help="The interpreter that has the original's framework."),
    click.option(
        "--backend", type=click.Choice(["tensorflow", "jax"]), default="tensorflow", help="What Keras 3 uses."
    ),
    click.option("--trust", is_flag=True, help="Run code that the model file brings with it."),
    click.option("--timeout", type=float, help="Seconds without a sign of life after which the original has hung."),
)


@command(
    click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The folder to write."),
    *READING,
    *RUNNING,
    click.option("--dtype", type=click.Choice(["float64", "float32", "both"]), default="both", help="Of the runs."),
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


def capture_options(
    *, dtype: str, checks: str | None, seed: int, inputs: Path | None, python: str, backend: str, trust: bool,
    timeout: float | None,
) -> Any:  # fmt: skip
    """`migrate.reference.capture.Options` of the command line."""
    from migrate.reference.capture import Options

    defaults = Options()
    return Options(
        checks=split_names(checks) or defaults.checks, dtypes=defaults.dtypes if dtype == "both" else (dtype,),
        seed=seed, inputs=inputs, python=python, backend="jax" if backend == "jax" else "tensorflow", trust=trust,
        timeout=timeout or defaults.timeout,
    )  # fmt: skip


def split_names(text: str | None) -> tuple[str, ...]:
    """`forward,layers` as names."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


@command(
    *READING,
    *RUNNING,
    click.option(
        "--reference", type=click.Path(path_type=Path), help="A bundle of tf2torch capture, instead of a run."
    ),
    click.option("--dtype", type=click.Choice(["float64", "float32", "both"]), default="both", help="Of the runs."),
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
    if as_json:
        click.echo(json.dumps(done.to_json(), indent=1))
    elif not quiet:
        show_transfer(done)


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
    if as_json:
        click.echo(json.dumps(done.to_json(), indent=1))
    elif not quiet:
        show_backport(done)


@command(
    click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The folder to write."),
    *READING,
    click.option("--trainer", type=click.Choice(["plain", "lightning"]), default="plain", help="The form of train.py."),
    click.option("--data", type=click.Choice(DATA_KINDS), default="arrays", help="The form of the data."),
    click.option("--exact", is_flag=True, help="Equal Keras in training too, by local classes where PyTorch differs."),
    click.option("--optimizer", help="A Keras optimizer by name, instead of the file's."),
    click.option("--loss", help="A Keras loss by name, instead of the file's."),
    click.option("--metrics", help="Keras metrics by name, with commas, instead of the file's."),
    click.option("--epochs", type=click.IntRange(1), default=10, help="The default of train.py."),
    click.option("--batch-size", type=click.IntRange(1), default=32, help="The default of train.py."),
    click.option("--sample-weights", is_flag=True, help="The data brings a weight for each sample."),
    click.option("--allow-todo", is_flag=True, help="Mark the places of losses and metrics of your own."),
    click.option("--name", default="", help="The name of the model's class."),
    click.option("--overwrite", is_flag=True, help="Replace a project that was converted before."),
)
def scaffold(
    model: Path, output: Path, weights: Path | None, input_shape: str | None,
    trainer: Literal["plain", "lightning"], data: str, exact: bool,
    optimizer: str | None, loss: str | None, metrics: str | None, epochs: int, batch_size: int,
    sample_weights: bool, allow_todo: bool, name: str, overwrite: bool, as_json: bool, quiet: bool, verbose: bool,
) -> None:  # fmt: skip
    """Writes the PyTorch project of MODEL with a training project around it."""
    from migrate.scaffold.plan import Options
    from migrate.scaffold.scaffold import scaffold_file
    from migrate.show import show_conversion

    keep_apart()
    options = Options(
        trainer, data, exact, optimizer, loss, split_names(metrics) if metrics is not None else None, epochs,
        batch_size, allow_todo, sample_weights,
    )  # fmt: skip
    with progress_bar(hidden=quiet or as_json, verbose=verbose) as progress:
        done = scaffold_file(
            model, output, options, name=name, overwrite=overwrite, weights=weights,
            input_shape=parsed_shape(input_shape), progress=progress,
        )  # fmt: skip
    if as_json:
        click.echo(json.dumps(done.to_json(), indent=1))
    elif not quiet:
        show_conversion(done)


def parsed_shape(text: str | None) -> tuple[int | None, ...] | None:
    """`28,28,1` or `?,64`: sizes of one sample, ? for a dynamic one."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or any(part != "?" and not (part.isdigit() and int(part)) for part in parts):
        raise UserError(
            f"--input-shape {text!r} cannot be read",
            expected="sizes of one sample, such as 28,28,1, with ? for a dynamic one",
            found=text,
            remedy="leave the batch out",
        )
    return tuple(None if part == "?" else int(part) for part in parts)


@contextmanager
def progress_bar(*, hidden: bool, verbose: bool) -> Iterator[Callable[[str], None]]:
    """A line that shows the step, on a terminal; nothing when piped. With --verbose, a line a step on stderr."""
    if verbose:
        yield lambda step: click.echo(step, err=True)
    elif hidden or not sys.stderr.isatty():
        yield lambda step: None
    else:
        from rich.console import Console

        with Console(stderr=True).status("start") as status:
            yield lambda step: status.update(step)
