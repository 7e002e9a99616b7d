"""Runs the original and records a reference bundle: load, draw inputs, run, write."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import file_digest
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from converters.errors import UserError
from migrate.outputs import by_key, output_keys
from migrate.readers import Source, read
from migrate.readers.version import parse_version
from migrate.reference.client import SILENCE, Backend, Client
from migrate.reference.draw import ATTEMPTS, Array, Drawn, draw_batches, draw_sets, draw_target, loss_names, own_sets
from migrate.reference.inputs import Role, roles
from migrate.reference.transfer import to_safetensors
from migrate.verify.bundle import CHECKS, DOCUMENT, DTYPES, FORMAT, KIND, Bundle
from migrate.version import __version__
from migrate.write import new_folder

Progress = Callable[[str], None]
BATCHES = 2  # different training batches, taken in turn
MODEST = 200_000  # numbers of an input set with which every layer is recorded
ROOM_FOR_STATES = 2 << 30  # bytes of weights and slots that are recorded step by step


@dataclass(frozen=True)
class Options:
    """How the original is run, and what is recorded. `python`: the interpreter that has its framework.

    `timeout`: seconds without a sign of life after which it counts as hung. `steps`: of training.
    """

    checks: Sequence[str] = CHECKS
    dtypes: Sequence[str] = DTYPES
    seed: int = 0
    steps: int = 5
    inputs: Path | None = None
    python: str = ""
    backend: Backend = "tensorflow"
    trust: bool = False
    timeout: float = SILENCE

    @classmethod
    def of(
        cls,
        *,
        checks: Sequence[str] = (),
        dtypes: Sequence[str] = DTYPES,
        seed: int = 0,
        inputs: Path | None = None,
        python: str = "",
        backend: Backend = "tensorflow",
        trust: bool = False,
        timeout: float | None = None,
    ) -> Options:
        """As a user gives them: what is empty or None is as usual."""
        return cls(
            checks=tuple(checks) or CHECKS, dtypes=tuple(dtypes), seed=seed, inputs=inputs, python=python,
            backend=backend, trust=trust, timeout=timeout or SILENCE,
        )  # fmt: skip


def capture_file(
    path: Path,
    folder: Path,
    options: Options,
    *,
    weights: Path | None = None,
    input_shape: tuple[int | None, ...] | None = None,
    progress: Progress = lambda step: None,
    client: Client | None = None,
) -> Bundle:
    """Model file -> reference bundle in `folder`. Raises UserError; nothing is written then.

    `client`: a worker that runs already, for one model after the other; by default one is started for this.
    """
    check_options(folder, options)
    progress("read")
    with ExitStack() as stack:
        source = stack.enter_context(read(path, weights=weights, input_shape=input_shape))
        generation = generation_of(source, options)
        beside = stack.enter_context(new_folder(folder, overwrite=False, needed=0))
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tf2torch-")))
        if client is None:
            python = str(Path(options.python).expanduser()) if options.python else sys.executable
            client = stack.enter_context(Client(python, options.backend, options.timeout, progress))
        capture = Capture(source, client, options, scratch, beside)
        capture.open(generation, weights, input_shape)
        capture.record()
        progress("write")
        (beside / DOCUMENT).write_text(json.dumps(capture.document(), indent=1) + "\n", encoding="utf-8")
    return Bundle(folder)


def check_options(folder: Path, options: Options) -> None:
    """Raises UserError for what cannot be asked for."""
    for what, asked, known in (("check", options.checks, CHECKS), ("dtype", options.dtypes, DTYPES)):
        unknown = [name for name in asked if name not in known]
        if unknown or not asked:
            raise UserError(
                f"there is no {what} {', '.join(map(repr, unknown)) or 'asked for'}",
                expected=f"some of {', '.join(known)}",
                found=", ".join(asked) or "none",
                remedy=f"leave the option out to record every {what}",
            )
    if folder.exists() or folder.is_symlink():
        raise UserError(
            f"{folder} exists",
            expected="a path that is free",
            found="a folder" if folder.is_dir() else "a file",
            remedy="choose another path, or remove it",
        )


def generation_of(source: Source, options: Options) -> int:
    """The generation of Keras that runs a file as it was meant: 3, or 2 for all that came before."""
    stated = parse_version(source.keras_version)
    major = stated[0] if stated else int(source.keras_version[0]) if source.keras_version[:1].isdigit() else 3
    if major < 3 and options.backend == "jax":
        raise UserError(
            f"a file of Keras {source.keras_version} cannot be run on JAX",
            expected="a file of Keras 3",
            found=f"Keras {source.keras_version}, which computes some layers in another way",
            remedy="leave --backend out: tf_keras runs it on TensorFlow",
        )
    return 3 if major >= 3 else 2


@dataclass
class Capture:
    """What has been recorded so far, on its way into `beside`. Arrays travel in files of the folder `scratch`."""

    source: Source
    client: Client
    options: Options
    scratch: Path
    beside: Path
    opened: Mapping[str, Any] = field(default_factory=dict)
    roles: list[Role] = field(default_factory=list)
    sets: list[Drawn] = field(default_factory=list)
    rounding: list[float] = field(default_factory=list)
    rung: int = 0
    parts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def open(self, generation: int, weights: Path | None, input_shape: tuple[int | None, ...] | None) -> None:
        """Has the original loaded, and learns what it takes and gives."""
        shape = list(input_shape) if input_shape is not None else None
        self.opened = self.asked(
            do="open", model=str(self.source.path.resolve()), weights=str(weights.resolve()) if weights else "",
            generation=generation, dtypes=list(self.options.dtypes), trust=self.options.trust, input_shape=shape,
            keys=self.source.weights,
        )  # fmt: skip
        self.roles = roles(self.source.graph, self.opened["inputs"])
        if unmapped := self.opened["unmapped"]:
            names = ", ".join(unmapped[:5])
            self.notes.append(f"the file holds no array that is, as it stands, the original's {names}")

    def asked(self, **request: Any) -> Mapping[str, Any]:
        """The answer to `open`. Keras 1 needs TensorFlow 1, or none; what is left of it reads few of its files."""
        try:
            return self.client.ask(**request)
        except UserError as error:
            if not self.source.keras_version.startswith("1.") or self.client.process.poll() is not None:
                raise
            raise UserError(
                f"nothing that is installed runs a file of Keras {self.source.keras_version}",
                expected="a file that tf_keras loads",
                found=error.found,
                remedy="load it in an old Keras 2 (2.0 to 2.3, which reads files of Keras 1), save it there, "
                "and give the new file",
            ) from error

    def record(self) -> None:
        outputs = self.forward()
        if "layers" in self.options.checks:
            modest = 0 if sum(array.size for array in self.sets[0].arrays) < MODEST else 1  # the second has batch 1
            answer = self.client.ask(do="layers", **self.files("layers", numbered([self.sets[modest]])))
            self.parts["layers"] = {"set": modest, "calls": answer["calls"]}
            self.keep("layers")
        if "gradients" in self.options.checks:
            self.gradients(outputs)
        if "training" in self.options.checks:
            self.training(outputs)

    # -- the checks ------------------------------------------------------------------------------------

    def forward(self) -> list[Array]:
        """Runs every set; gives the outputs of the first. Where the model does not take a size, others are tried."""
        own = self.own()
        dynamic = any(size is None for role in self.roles for size in role.shape)
        attempts = [attempt for attempt in ATTEMPTS if dynamic or attempt[0] == 0]
        for self.rung, smallest in attempts:
            self.sets = [*draw_sets(self.roles, self.options.seed, self.rung, smallest), *own]
            files = self.files("forward", numbered(self.sets))
            try:
                self.rounding = self.client.ask(do="forward", **files)["rounding"]
                with np.load(files["outputs"]) as arrays:
                    first = [arrays[f"{self.options.dtypes[0]}/0/{i}"] for i in range(len(self.opened["outputs"]))]
                if not dynamic or any(np.isfinite(output).any() for output in first):
                    break  # of a picture that is too small, TensorFlow makes windows of nothing, and NaN
            except UserError:
                if (self.rung, smallest) == attempts[-1] or self.client.process.poll() is not None:
                    raise
        self.keep("forward")
        to_safetensors([Path(files["inputs"])], self.beside / "inputs.safetensors")
        return first

    def own(self) -> list[Drawn]:
        if self.options.inputs is None:
            return []
        try:
            with np.load(self.options.inputs, allow_pickle=False) as arrays:
                return own_sets(arrays, self.roles)
        except (OSError, ValueError, AttributeError) as error:
            raise UserError(
                f"{self.options.inputs} cannot be read",
                expected="an .npz file of numbers",
                found=str(error)[:200],
                remedy="write it with np.savez(FILE, **{input: array})",
            ) from error

    def gradients(self, outputs: Sequence[Array]) -> None:
        """Of fixed random projections of the outputs for the first set; what is no number has no gradient."""
        random = np.random.default_rng([self.options.seed, 2])
        given: dict[str, Array] = {f"in/{i}": array for i, array in enumerate(self.sets[0].arrays)}
        for i, output in enumerate(outputs):
            if output.dtype.kind == "f":
                given[f"projection/{i}"] = np.where(np.isfinite(output), random.normal(0, 1, output.shape), 0.0)
        files = self.files("gradients", given)
        if answer := self.possible("gradients", do="gradients", **files):
            self.parts["gradients"] = {"set": 0, "modes": answer["modes"], "without": answer["without"]}
            projections = {key: array for key, array in given.items() if key.startswith("projection")}
            self.keep("gradients", self.saved("projections", projections))

    def training(self, outputs: Sequence[Array]) -> None:
        """Steps on the same batches with the file's own optimizer and losses."""
        steps, batches = self.options.steps, self.batches(outputs)
        keep = self.kept_steps()
        files = self.files("training", batches)
        answer = self.possible("training", do="training", steps=steps, keep=keep, **files)
        if not answer:
            self.parts["training"] = None
            return
        plan = {key: answer[key] for key in ("from", "optimizer", "loss", "loss_weights", "slots", "losses")}
        self.parts["training"] = {"steps": steps, "batches": BATCHES, "recorded": keep, **plan}
        if plan["from"] == "default":
            self.parts["training"]["from"] = "default (the file has no compile config)"
        self.keep("training", Path(files["inputs"]))

    def batches(self, outputs: Sequence[Array]) -> dict[str, Array]:
        """Inputs of the sizes of the first set, and a target for each output."""
        random = np.random.default_rng([self.options.seed, 3])
        structure = self.source.graph.outputs
        names = output_keys(structure) or [entry["name"] for entry in self.opened["outputs"]]
        losses = loss_names(by_key(self.opened["training"], structure)["loss"], names)
        given: dict[str, Array] = {}
        for number, arrays in enumerate(draw_batches(self.roles, self.options.seed, self.rung, BATCHES)):
            given |= {f"batch/{number}/in/{i}": array for i, array in enumerate(arrays)}
            for i, (loss, output) in enumerate(zip(losses, outputs, strict=True)):
                given[f"batch/{number}/target/{i}"] = draw_target(loss, output, len(arrays[0]), random)
        return given

    def kept_steps(self) -> list[int]:
        """The steps of which weights and slots are recorded: all, or, where these take too much room, the last."""
        steps = self.options.steps
        size = sum(prod(entry["shape"]) for entry in self.opened["weights"].values()) * 12 * 3
        if size * steps <= ROOM_FOR_STATES:
            return list(range(1, steps + 1))
        kept = [1, steps] if size * 2 <= ROOM_FOR_STATES and steps > 1 else [steps]
        self.notes.append(f"weights and slots of the training steps {kept} only are recorded: the model is large")
        return kept

    def possible(self, what: str, **request: Any) -> Mapping[str, Any]:
        """An answer; nothing, and a note, where the original itself cannot do it."""
        self.client.send(**request)
        answer = self.client.receive()
        if not answer["ok"]:
            self.notes.append(f"{what} of the original cannot be had: {str(answer['error'])[:300]}")
            return {}
        return answer

    # -- files -----------------------------------------------------------------------------------------

    def files(self, name: str, given: Mapping[str, Array]) -> dict[str, str]:
        return {"inputs": str(self.saved(f"{name}_in", given)), "outputs": str(self.scratch / f"{name}.npz")}

    def saved(self, name: str, arrays: Mapping[str, Array]) -> Path:
        path = self.scratch / f"{name}.npz"
        np.savez(path, **arrays)  # type: ignore[arg-type]  # its stubs take every keyword for allow_pickle
        return path

    def keep(self, name: str, *more: Path) -> None:
        """What the worker has recorded becomes a file of the bundle."""
        recorded = self.scratch / f"{name}.npz"
        to_safetensors([recorded, *more], self.beside / f"{name}.safetensors")
        recorded.unlink()

    def document(self) -> dict[str, Any]:
        """`bundle.json`."""
        done = [name for name in CHECKS if name in ("structure", "forward") or self.parts.get(name)]
        return {
            "kind": KIND, "format": FORMAT, "tf2torch": __version__, "versions": self.opened["versions"],
            "origin": {
                "file": self.source.path.name, "sha256": self.source.sha256(), "format": self.source.format,
                "keras_version": self.source.keras_version,
            },
            "seed": self.options.seed, "dtypes": list(self.options.dtypes), "checks": done,
            "files": {path.name: _stamp(path) for path in sorted(self.beside.glob("*.safetensors"))},
            "inputs": self.opened["inputs"], "outputs": self.opened["outputs"],
            "parameters": self.opened["parameters"], "weights": self.opened["weights"],
            "unmapped": self.opened["unmapped"],
            "sets": [
                {"name": one.name, "batch": one.batch, "rounding": noise}
                for one, noise in zip(self.sets, self.rounding, strict=True)
            ],
            **self.parts, "leaks": self.client.ask(do="leaks")["leaks"], "notes": self.notes,
        }  # fmt: skip


def numbered(sets: Sequence[Drawn]) -> dict[str, Array]:
    """{set/input: array}."""
    return {f"{n}/{i}": array for n, one in enumerate(sets) for i, array in enumerate(one.arrays)}


def _stamp(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": file_digest(file, "sha256").hexdigest()}
