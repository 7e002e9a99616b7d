"""Numbers to run a model on: inputs that fit what it reads, and targets that fit its losses."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from converters.errors import UserError
from migrate.reference.inputs import Role

Array = np.ndarray[Any, Any]
LARGE = 100.0
ANY_INTEGER = 10  # ids of an input that no Embedding limits are below this
# Sizes of dynamic axes, of two sets each: pictures, and sequences. What is too small for a model is followed by more.
SPATIAL = (
    ((24, 40, 16), (25, 39, 17)), ((24, 40, 16), (40, 56, 24)), ((64, 96, 32), (75, 97, 35)),
    ((64, 96, 32), (96, 64, 64)), ((128, 160, 64), (160, 128, 96)), ((256, 320, 128), (320, 256, 160)),
)  # fmt: skip
SEQUENCE = (9, 13), (9, 13), (32, 45), (32, 48), (128, 160), (512, 640)
RUNGS = len(SPATIAL)
# (rung, smallest batch) as they are tried. A model that looks at the second sample of a batch takes no batch of one.
ATTEMPTS = ((0, 1), (0, 2), *((rung, 1) for rung in range(1, RUNGS)))


@dataclass(frozen=True)
class Drawn:
    """One set of inputs."""

    name: str
    arrays: list[Array]

    @property
    def batch(self) -> int:
        return int(self.arrays[0].shape[0]) if self.arrays and self.arrays[0].ndim else 1


def draw_sets(roles: Sequence[Role], seed: int, rung: int = 0, smallest: int = 1) -> list[Drawn]:
    """All sets, the first being the modest one that layers and gradients are looked at with.

    `rung`: how far up the sizes of dynamic axes are taken from; `smallest`: the batch of the small sets.
    """
    check_drawable(roles)
    random = np.random.default_rng([seed, rung])
    padded = any(role.masked for role in roles)
    drawn = [
        Drawn(
            "padding left, right and inside, batch 4" if padded else "random, batch 3",
            [draw(role, 4 if padded else 3, random, sizes(role, 0, rung)) for role in roles],
        ),
        Drawn(f"random, batch {smallest}", [unpadded(role, smallest, random, sizes(role, 0, rung)) for role in roles]),
    ]
    if padded:
        drawn.append(
            Drawn(
                "rows of padding only, batch 3", [empty_rows(role, 3, random, sizes(role, 0, rung)) for role in roles]
            )
        )
    if any(size is None for role in roles for size in role.shape):
        drawn.append(Drawn("other sizes, batch 3", [draw(role, 3, random, sizes(role, 1, rung)) for role in roles]))
    zeros = [np.zeros_like(array[:smallest]) for array in drawn[0].arrays]
    drawn.append(Drawn(f"zeros, batch {smallest}", zeros))
    drawn.append(Drawn("large values, batch 3", [large(role, 3, random, sizes(role, 0, rung)) for role in roles]))
    return drawn


def draw_batches(roles: Sequence[Role], seed: int, rung: int, count: int, batch: int = 4) -> list[list[Array]]:
    """Inputs of training batches, of the sizes of the first set."""
    random = np.random.default_rng([seed, rung, 1])
    return [[draw(role, batch, random, sizes(role, 0, rung)) for role in roles] for _ in range(count)]


def sizes(role: Role, which: int, rung: int) -> tuple[int, ...]:
    """The shape of one sample."""
    spatial = iter(SPATIAL[rung][which])
    picture = len(role.shape) >= 3
    return tuple(
        size if size is not None else next(spatial) if picture else SEQUENCE[rung][which] for size in role.shape
    )


def check_drawable(roles: Sequence[Role]) -> None:
    for role in roles:
        if not re.fullmatch(r"bool|u?int\d+|float\d+|bfloat16", role.dtype):
            raise UserError(
                f"no input {role.name!r} can be drawn",
                expected="numbers",
                found=role.dtype,
                remedy="leave what turns text into numbers out of the model, and save the rest of it",
            )


def draw(role: Role, batch: int, random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Ordinary values; with padding left, right and inside in the rows after the first."""
    array = unpadded(role, batch, random, shape)
    if role.masked and array.ndim > 1:
        length, padding = array.shape[1], 0 if role.padded else role.mask_value
        third = max(1, length // 3)
        for row, place in enumerate((slice(0, third), slice(-third, None), slice(1, 1 + third)), 1):
            if row < batch and length > third:
                array[row, place] = padding
    return array


def unpadded(role: Role, batch: int, random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    full = (batch, *shape)
    if role.dtype == "bool":
        return random.integers(0, 2, full).astype(bool)
    if role.below is not None:
        return random.integers(min(1, role.below - 1), role.below, full).astype(_dtype(role))
    if "int" in role.dtype:
        return random.integers(0, int(role.high or ANY_INTEGER), full).astype(role.dtype)
    if role.low is not None and role.high is not None:
        return random.uniform(role.low, role.high, full).astype("float32")
    return random.normal(0, 1, full).astype("float32")


def empty_rows(role: Role, batch: int, random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """The second row is padding from end to end."""
    array = unpadded(role, batch, random, shape)
    if role.masked:
        array[1] = 0 if role.padded else role.mask_value
    return array


def large(role: Role, batch: int, random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """The largest ids; floats far from zero."""
    if role.below is not None:
        return np.full((batch, *shape), role.below - 1).astype(_dtype(role))
    array = unpadded(role, batch, random, shape)
    return array * np.float32(LARGE) if array.dtype.kind == "f" else array


def _dtype(role: Role) -> str:
    return "float32" if "float" in role.dtype else role.dtype


# -- targets -------------------------------------------------------------------------------------------


def loss_names(loss: Any, outputs: Sequence[str]) -> list[str]:
    """The name of each output's loss in snake case, '' where it has none. `loss`: as a compile config has it."""
    if isinstance(loss, Mapping) and "class_name" not in loss:
        return [_loss_name(loss.get(name)) for name in outputs]
    if isinstance(loss, (list, tuple)):
        return [_loss_name(one) for one in (*loss, *[None] * len(outputs))][: len(outputs)]
    return [_loss_name(loss)] * len(outputs)


def _loss_name(loss: Any) -> str:
    if isinstance(loss, Mapping):
        config = loss.get("config")
        name = config if loss.get("class_name") == "function" else loss.get("class_name")
        if loss.get("class_name") == "LossFunctionWrapper" and isinstance(config, Mapping):
            name = config.get("fn")
            return _loss_name(name) if isinstance(name, Mapping) else str(name)
        loss = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(name))
    return re.sub(r"\W", "_", str(loss or "")).lower()


def draw_target(loss: str, output: Array, batch: int, random: np.random.Generator) -> Array:
    """A target of one output, which has the shape of `output` but for its batch."""
    shape = (batch, *output.shape[1:])
    classes = shape[-1] if len(shape) > 1 else 1
    if loss.startswith("sparse_"):
        return random.integers(0, classes, shape[:-1]).astype("int32")
    if loss.startswith("ctc"):
        return random.integers(1, max(2, classes - 1), (batch, min(3, shape[1]))).astype("int32")
    if loss.startswith("categorical"):
        return np.eye(classes, dtype="float32")[random.integers(0, classes, shape[:-1])]
    if loss.startswith(("kl", "kullback")):
        return random.dirichlet(np.ones(classes), shape[:-1]).astype("float32")
    if loss.startswith(("binary", "dice", "tversky", "circle")):
        return random.integers(0, 2, shape).astype("float32")
    if "hinge" in loss:
        return (2 * random.integers(0, 2, shape) - 1).astype("float32")
    if loss.startswith(("poisson", "msle", "mape", "mean_squared_logarithmic", "mean_absolute_percentage")):
        return random.uniform(0.5, 3.0, shape).astype("float32")
    return random.normal(0, 1, shape).astype("float32")


# -- the user's own ------------------------------------------------------------------------------------


def own_sets(file: Any, roles: Sequence[Role]) -> list[Drawn]:
    """The sets of an opened .npz: an array for each input, by its name or number; `2/image` is of set 2.

    Raises UserError where something is missing or does not fit.
    """
    found: dict[str, dict[str, Array]] = {}
    for key in file.files:
        number, slash, name = key.rpartition("/")
        found.setdefault(number if slash else "", {})[name] = file[key]
    if not found:
        raise _unfit("no arrays", roles)
    return [_own(f"yours {key}".strip(), found[key], roles) for key in sorted(found)]


def _own(name: str, given: Mapping[str, Array], roles: Sequence[Role]) -> Drawn:
    arrays = []
    for number, role in enumerate(roles):
        array = next((given[key] for key in (role.name, str(number), f"arr_{number}") if key in given), None)
        if array is None:
            raise _unfit(f"arrays {', '.join(sorted(given))}", roles)
        fits = array.ndim == len(role.shape) + 1 and all(
            size in (None, actual) for size, actual in zip(role.shape, array.shape[1:], strict=True)
        )
        if not fits or array.dtype.kind not in "fiub":
            raise _unfit(f"{role.name}: {array.dtype} of shape {list(array.shape)}", roles)
        arrays.append(np.asarray(array, "float32" if "float" in role.dtype else role.dtype))
    if len({array.shape[0] for array in arrays}) > 1:
        raise _unfit("batches of several sizes in one set", roles)
    return Drawn(f"{name}, batch {arrays[0].shape[0]}", arrays)


def _unfit(found: str, roles: Sequence[Role]) -> UserError:
    wanted = ", ".join(f"{role.name} {[None, *role.shape]} {role.dtype}" for role in roles)
    return UserError(
        "the file of --inputs does not fit the model",
        expected=f"an .npz with {wanted}".replace("None", "?"),
        found=found,
        remedy="name each array after its input, with the batch in front: np.savez(FILE, **{input: array})",
    )
