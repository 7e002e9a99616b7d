"""The verification, from beginning to end: reference, checks, report, evidence."""

from __future__ import annotations

import importlib.metadata
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from converters.errors import UserError
from migrate.emit.project import checksums
from migrate.loading import read_migration
from migrate.readers import Source, read
from migrate.reference.capture import Options, capture_file
from migrate.verify.bundle import CHECKS, Bundle
from migrate.verify.criterion import refused
from migrate.verify.emitted import Emitted, layer_of, load_emitted
from migrate.verify.forward import check_forward, described
from migrate.verify.gradients import check_gradients
from migrate.verify.layers import check_layers
from migrate.verify.modes import check_autocast, check_compile, check_export
from migrate.verify.replay import NAMES, replayable, write_replay
from migrate.verify.report import Check, Finding, LayerRow, Place, Report
from migrate.verify.sites import changed_lines
from migrate.verify.structure import check_structure
from migrate.verify.training import check_training

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What is to be checked. `checks`: empty for all that the reference holds; `dtypes`: float64, float32 or both."""

    checks: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ("float64", "float32")
    device: str = "cpu"
    compiled: bool = False


def verify_project(
    model: Path,
    folder: Path,
    bundle: Bundle,
    wanted: Wanted,
    *,
    weights: Path | None = None,
    input_shape: tuple[int | None, ...] | None = None,
    in_memory: bool = False,
    progress: Progress = lambda step: None,
) -> Report:
    """Compares the project in `folder` with what the original was recorded to compute.

    `in_memory`: the model was just saved, and no two such files are the same. The first verification that passes
    leaves a test and its data in the folder. Raises UserError where the comparison cannot be made; whatever the
    project does wrong is in the report.
    """
    check_possible(wanted, bundle)
    migration = read_migration(folder)
    with read(model, weights=weights, input_shape=input_shape) as source, full_precision():
        same_origin(source, migration, bundle, in_memory=in_memory)
        checks, rows = _checks(folder, bundle, wanted, source, progress)
    report = Report(
        "the model in memory" if in_memory else str(model), str(folder), device_name(wanted.device), versions(bundle),
        tuple(checks), tuple(rows), (repeat(model, folder, bundle, wanted),), tuple(bundle.notes),
        *_text(folder, migration),
    )  # fmt: skip
    if replayable(report) and not any((folder / name).exists() for name in NAMES):
        return replace(report, written=tuple(write_replay(folder, bundle, migration)))
    return report


def _text(folder: Path, migration: Mapping[str, Any]) -> tuple[str, tuple[Place, ...]]:
    """model.py, and its lines that are not as convert wrote them."""
    text = (folder / "model.py").read_text(encoding="utf-8")
    lines = text.splitlines()
    changed = changed_lines(migration.get("lines", checksums(text)), checksums(text))
    return text, tuple(Place(line, lines[line - 1].strip()) for line in changed if line <= len(lines))


def verify_file(
    model: Path,
    folder: Path,
    wanted: Wanted,
    options: Options,
    *,
    reference: Path | None = None,
    weights: Path | None = None,
    input_shape: tuple[int | None, ...] | None = None,
    in_memory: bool = False,
    progress: Progress = lambda step: None,
) -> Report:
    """`verify_project` with a bundle on disk, or with one that is recorded for this occasion."""
    read_migration(folder)  # before the original is run for nothing
    with ExitStack() as stack:
        if reference is not None:
            bundle = Bundle(reference)
        else:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tf2torch-")))
            recorded = replace(options, dtypes=tuple(dict.fromkeys(("float64", *wanted.dtypes))))
            bundle = capture_file(
                model, scratch / "bundle", recorded, weights=weights, input_shape=input_shape, progress=progress
            )
        return verify_project(
            model, folder, bundle, wanted, weights=weights, input_shape=input_shape, in_memory=in_memory,
            progress=progress,
        )  # fmt: skip


def repeat(model: Path, folder: Path, bundle: Bundle, wanted: Wanted) -> str:
    """The command that makes the same checks with the same numbers."""
    words = ["tf2torch", "verify", str(model), str(folder), "--seed", str(bundle.document["seed"])]
    words += ["--checks", ",".join(wanted.checks)] if wanted.checks else []
    words += ["--dtype", wanted.dtypes[0]] if len(wanted.dtypes) == 1 else []
    words += ["--device", wanted.device] if wanted.device != "cpu" else []
    return shlex.join([*words, *(["--compile"] if wanted.compiled else [])])


def check_possible(wanted: Wanted, bundle: Bundle) -> None:
    """Raises UserError where the bundle or the machine lacks what is asked for."""
    if wanted.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "there is no CUDA device",
            expected="a GPU that PyTorch can use",
            found=f"torch {torch.__version__} without one",
            remedy="leave --device out, or run it on a machine with a GPU; a bundle can be carried there",
        )
    if unknown := [name for name in wanted.checks if name not in CHECKS]:
        raise UserError(
            f"there is no check {', '.join(map(repr, unknown))}",
            expected=f"some of {', '.join(CHECKS)}",
            found=", ".join(wanted.checks),
            remedy="leave --checks out to make every check",
        )
    missing = [name for name in wanted.checks if name not in bundle.checks and not bundle.notes]
    missing += [dtype for dtype in dict.fromkeys(("float64", *wanted.dtypes)) if dtype not in bundle.dtypes]
    if missing:
        raise UserError(
            f"the reference bundle {bundle.folder} was recorded without {', '.join(missing)}",
            expected=", ".join((*wanted.checks, *wanted.dtypes)),
            found=", ".join((*bundle.checks, *bundle.dtypes)),
            remedy="ask for fewer --checks, or record it again with tf2torch capture",
        )


def same_origin(source: Source, migration: Mapping[str, Any], bundle: Bundle, *, in_memory: bool) -> None:
    """Model file, project and bundle must come from one and the same file."""
    sha256 = source.sha256()
    if in_memory:
        return  # the weights themselves are compared
    for what, origin in (("the project", migration["origin"]), ("the reference bundle", bundle.origin)):
        if origin["sha256"] != sha256:
            raise UserError(
                f"{what} was made from another file than {source.path}",
                expected=f"{origin['file']} with sha256 {origin['sha256'][:16]}...",
                found=f"{source.path.name} with sha256 {sha256[:16]}...",
                remedy="give the file that it was made from, or make it again",
            )


def _checks(
    folder: Path, bundle: Bundle, wanted: Wanted, source: Source, progress: Progress
) -> tuple[list[Check], list[LayerRow]]:
    checks: list[Check] = []
    rows: list[LayerRow] = []
    layers = source.graph.layers()
    names = wanted.checks or CHECKS
    if "structure" in names:
        progress("structure")
        stored = _opened(folder, "", "cpu", checks)
        if stored is None:
            return checks, rows
        checks.append(check_structure(stored, bundle, source.arrays.read))
    for dtype in wanted.dtypes:
        emitted = _opened(folder, dtype, wanted.device, checks)
        if emitted is None:
            break
        for name in (name for name in CHECKS if name in names and name != "structure"):
            progress(f"{name} in {dtype}")
            if name not in bundle.checks:
                checks.append(Check(name, dtype, skipped="; ".join(bundle.notes) or "it was not recorded"))
            elif name == "layers":
                check, found = check_layers(emitted, bundle, dtype)
                checks.append(check)
                rows += found
            elif name == "training":
                checks.append(check_training(emitted, bundle, dtype, layers))
            else:
                checks.append({"forward": check_forward, "gradients": check_gradients}[name](emitted, bundle, dtype))
        if dtype == "float32":
            checks += _modes(emitted, bundle, wanted, progress)
    return checks, rows


def _modes(emitted: Emitted, bundle: Bundle, wanted: Wanted, progress: Progress) -> Iterator[Check]:
    if wanted.compiled:
        progress("compile")
        yield check_compile(emitted, bundle)
        yield check_export(emitted, bundle)
    if wanted.device == "cuda":
        progress("autocast")
        yield from (check_autocast(emitted, bundle, dtype) for dtype in ("bfloat16", "float16"))


def _opened(folder: Path, dtype: str, device: str, checks: list[Check]) -> Emitted | None:
    """The project; None, and a failed check, where model.py and weights do not make a model."""
    try:
        return load_emitted(folder, dtype, device)
    except UserError:
        raise
    except Exception as error:  # an edited model can fail in any way, and that is a result
        finding = Finding("model.py with weights.safetensors", refused(described(error)), layer_in(str(error), folder))
        checks.append(Check("structure", dtype, (finding,), 1))
        return None


def layer_in(text: str, folder: Path) -> str:
    """The Keras layer of the first tensor that a text about a state dict names."""
    migration = read_migration(folder)
    keys = [key for key in migration["weights"] if f'"{key}"' in text or f" {key}:" in text]
    return layer_of(migration, keys[0]) if keys else ""


@contextmanager
def full_precision() -> Iterator[None]:
    """TF32 off, deterministic algorithms; as it was before, afterwards."""
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = (cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, torch.are_deterministic_algorithms_enabled())
    cuda.allow_tf32 = cudnn.allow_tf32 = cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before[:3]
        torch.use_deterministic_algorithms(before[3])


def device_name(device: str) -> str:
    return f"cuda ({torch.cuda.get_device_name()})" if device == "cuda" else device


def versions(bundle: Bundle) -> dict[str, str]:
    """Of what was compared: torch here, the original's frameworks as the bundle states them."""
    here = {"tf2torch": importlib.metadata.version("tf2torch"), "torch": torch.__version__}
    return here | {name: str(version) for name, version in bundle.versions.items()}
