"""Results on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from converters.errors import Gaps, number_of, printable
from migrate.backporting import Backport
from migrate.inspection import Inspection
from migrate.pipeline import Conversion
from migrate.printing import one_line, plain
from migrate.transferring import Transfer
from migrate.verify.bundle import Bundle

if TYPE_CHECKING:
    from migrate.observing import Observed


def show_conversion(done: Conversion) -> None:
    """Where the project is, and what is in it."""
    counts = done.parameters
    print(
        f"{done.folder}: {done.class_name}, {number_of(done.layers, 'layer')}, "
        f"{number_of(counts['total'], 'parameter')} ({counts['trainable']:,} trainable), "
        f"{number_of(done.permutes, 'permute')} at run time, {done.seconds:.1f} s"
    )
    for what, layers in done.drift.items():
        print(f"in training, {_differ(len(layers))} from Keras (--exact removes it): {what}")
    for note in done.notes:
        print(f"note: {printable(note)}")


def show_observed(done: Observed) -> None:
    """The same of a project that was made from a script, and what the script said."""
    from migrate.observing import summary

    show_conversion(done)
    print(f"as line {done.record['line']} of the script calls fit: {summary(done.record)}")
    for note in done.record["notes"]:
        print(f"note: {note}")


def show_next(folder: Path) -> None:
    """What to do with a training project."""
    print(f"next: cd {quote(str(folder))} && pip install -r requirements.txt && python train.py")


def show_capture(bundle: Bundle) -> None:
    """What was recorded, by what, and what to know of it."""
    versions = ", ".join(f"{name} {version}" for name, version in bundle.versions.items() if name != "backend")
    print(f"{bundle.folder}: {', '.join(bundle.checks)} in {' and '.join(bundle.dtypes)}, by {versions}")
    for leak in bundle.leaks:
        where = f"layer {leak['layer']!r}" if leak["layer"] else "the whole model"
        cause = "rounding moves it" if leak["op"] == "rounding" else f"float32 is left in {leak['op']}"
        print(f"the float64 run of {where}, {leak['what']}: {cause}, {leak['size']:.1e}")
    for note in bundle.notes:
        print(note)


def show_transfer(done: Transfer) -> None:
    """What was loaded, and what else in the project it makes out of date."""
    print(f"{done.folder}: {number_of(done.tensors, 'tensor')} from {done.file} (sha256 {done.sha256[:12]})")
    if done.renamed:
        differ = "has another name" if len(done.renamed) == 1 else "have other names"
        print(f"{number_of(len(done.renamed), 'layer')} {differ} there, matched by place in the model")
    for note in done.notes:
        print(f"note: {note}")


def show_backport(done: Backport) -> None:
    """What was written, and what stayed."""
    have = "has" if done.arrays == 1 else "have"
    print(f"{done.file}: {done.changed} of {number_of(done.arrays, 'array')} {have} new numbers")
    if not done.changed:
        print("note: nothing was trained in it; a checkpoint is given as --weights runs/NAME/weights.safetensors")
    for note in done.notes:
        print(f"note: {note}")


def counted(parameters: Mapping[str, int]) -> str:
    """`71 parameters: 61 trainable, 10 not`; where there are gaps, only the total is known."""
    total, trainable = parameters["total"], parameters.get("trainable")
    split = "" if trainable is None else f": {trainable:,} trainable, {total - trainable:,} not"
    return f"{number_of(total, 'parameter')}{split}"


def show_inspection(found: Inspection) -> None:
    """What is in the file, every layer, every gap."""
    console = Console(soft_wrap=True)
    if not console.is_terminal:
        console.width = 1000  # a pipe has no width; nothing is cut short
    console.print(f"{plain(str(found.path))}: {found.format}, Keras {plain(found.keras_version)}", highlight=False)
    for value in found.inputs:
        console.print(f"  input {one_line(value.name)} {list(value.shape or ())} {value.dtype}", highlight=False)
    console.print(f"  outputs {one_line(', '.join(found.outputs))}", highlight=False)
    console.print(f"  {counted(found.parameters)}", highlight=False)
    table = Table("layer", "class", "route", "converter", "trainable", box=None, pad_edge=False)
    for line in found.layers:
        trains = ("yes" if line.trainable else "frozen") if line.weights else ""
        table.add_row(*map(one_line, (line.path, line.class_name, line.route, line.converter, trains)))
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))
    if found.gaps:
        console.print(plain(str(Gaps(found.gaps))), highlight=False)
    else:
        console.print(f"can be converted, with {number_of(found.permutes, 'permute')} at run time", highlight=False)


def _differ(layers: int) -> str:
    return f"{number_of(layers, 'layer')} {'differs' if layers == 1 else 'differ'}"
