"""What all commands share: arguments, options, how a result is told, and how an error ends."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click

import migrate
from converters.errors import Gaps, UserError

MODEL = click.argument("model", type=click.Path(path_type=Path))
PROJECT = click.argument("project", metavar="DIR", type=click.Path(path_type=Path))
OUTPUT = click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The folder to write.")
EXACT = click.option(
    "--exact", is_flag=True, help="Equal Keras in training too, by local classes where PyTorch differs."
)
FLAT = click.option("--flat", is_flag=True, help="One attribute for each Keras layer, under its Keras name: no blocks.")
CLASS_NAME = click.option("--name", default="", help="The name of the model's class.")
OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace a project that was converted before.")
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
    click.option("--dtype", type=click.Choice(["float64", "float32", "both"]), default="both", help="Of the runs."),
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


AFTER = "tf2torch.after"


class Command(click.Command):
    """A command that knows how many of its arguments stood after `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[AFTER] = len(args) - args.index("--") - 1 if "--" in args else 0
        return super().parse_args(ctx, args)


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
            except BrokenPipeError:  # whoever reads has seen enough: click ends in silence
                raise
            except Exception as error:
                if debug:
                    raise
                said = f"tf2torch: an error in tf2torch itself: {type(error).__name__}: {error}"
                click.echo(f"{said}\n  what to do: run it again with --debug, and report what it prints", err=True)
                sys.exit(2)

        for option in reversed((*arguments, *options, *talking)):
            run = option(run)
        return main.command(cls=Command, name=function.__name__.rstrip("_"), help=function.__doc__)(run)

    return decorate


def tell(done: Any, show: Callable[[Any], None], *, as_json: bool, quiet: bool) -> None:
    """The result for a program, for a reader, or not at all."""
    if as_json:
        click.echo(json.dumps(done.to_json(), indent=1))
    elif not quiet:
        show(done)


def split_names(text: str | None) -> tuple[str, ...]:
    """`forward,layers` as names."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


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
