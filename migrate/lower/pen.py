"""The pen of one emitted class: writes torch calls, and runs each on meta tensors as it is written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from converters.arrangement import Arrangement, as_written
from converters.errors import Unsupported
from converters.graph import Call, Layer, Tree, Value, leaves, map_tree
from converters.layer import LayerHandle, NoWeights
from migrate.interpret import instantiate, run_call
from migrate.lower.draft import Draft, Job
from migrate.lower.layout import rearranged

BATCH_SIZES = (2, 3)
# Long enough for the strides of any network, no two axes alike, so that a confusion of axes is seen.
SPATIAL_SIZES = ((256, 320), (272, 336), (288, 352), (304, 368))
SEQUENCE_SIZES = ((24, 36),) * 8

# Layers that return their input itself in inference, and not a tensor of its own.
SAME_IN_INFERENCE = {
    "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout", "GaussianNoise",
    "AlphaDropout", "ActivityRegularization",
}  # fmt: skip

Meta = tuple[Any, Any]


class Pen(ABC):
    """The calls and modules written so far, and the meta tensors behind the values."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.calls: list[Call] = []
        self.drafts: dict[str, Draft] = {}
        self.instances: dict[str, Any] = {}
        self.meta: dict[Value, Meta] = {}
        self.coerced: dict[tuple[Value, Arrangement], Value] = {}
        self.handed_on: dict[Value, Value] = {}  # value -> the one that Keras holds as the same object

    @abstractmethod
    def convert(
        self, op: str, layer: Layer, args: Sequence[Tree], kwargs: Mapping[str, Tree], *, calls: int = 1
    ) -> Tree:
        """What the converter of an op makes of its arguments."""

    @abstractmethod
    def end_masks(self, inputs: Sequence[Value]) -> None:
        """Takes the masks off what Keras holds as the same objects as some inputs."""

    def call(self, kind: str, target: str, args: Sequence[Tree], kwargs: Mapping[str, Tree], origin: str) -> Tree:
        call = Call(kind, target, tuple(args), dict(kwargs), (), origin)
        results = [run_call(call, {v: self.meta[v][which] for v in call.operands}, self.instances) for which in (0, 1)]
        operands = call.operands
        other = iter(list(leaves(results[1])))
        outputs = map_tree(lambda first: self._value(first, next(other), operands), results[0])
        self.calls.append(Call(kind, target, tuple(args), dict(kwargs), outputs, origin))
        if kind == "module" and self.drafts[target].layer.class_name in SAME_IN_INFERENCE:
            self.handed_on[outputs] = args[0]
        return outputs

    def _value(self, first: Any, second: Any, operands: list[Value]) -> Value:
        name = f"v{len(self.meta)}"
        if not isinstance(first, torch.Tensor):
            value = Value(name, (), "size", as_written(0))
        else:
            shape = common_shape(first, second)
            same = next((v.arrangement for v in operands if v.rank == len(shape) and v.dtype != "size"), None)
            dtype, tried = str(first.dtype).removeprefix("torch."), (tuple(first.shape), tuple(second.shape))
            value = Value(name, shape, dtype, same or as_written(len(shape)), tried=tried)
        self.meta[value] = (first, second)
        return value

    def module(self, key: str, constructor: str, args: Sequence[Any], kwargs: Mapping[str, Any], layer: Layer) -> Draft:
        draft = self.drafts.get(key)
        if draft is None:
            draft = self.drafts[key] = Draft(key, constructor, tuple(args), dict(kwargs), layer)
            self.instances[key] = instantiate(draft.finished())
        elif (draft.constructor, draft.args, draft.kwargs) != (constructor, tuple(args), dict(kwargs)):
            raise Unsupported(
                "it is called at several places that need different PyTorch modules",
                "give each place a layer of its own in Keras, or report the model",
            )
        return draft

    def differs(self, origin: str, what: str) -> bool:
        if not self.job.exact:
            layers = self.job.drift.setdefault(what, [])
            layers += [origin] if origin not in layers else []
        return self.job.exact

    def coerce(self, value: Value, arrangement: Arrangement, origin: str) -> Value:
        if value.arrangement == arrangement or value.rank == 0:
            return value
        key = (value, arrangement)
        if key not in self.coerced:
            self.coerced[key] = rearranged(LayerHandle(self, _nameless(origin)), value, arrangement)
            self.coerced.setdefault((self.coerced[key], value.arrangement), value)
            self.handed_on.setdefault(self.coerced[key], value)
        return self.coerced[key].masked(value.mask)


def symbolic_sizes(shape: Iterable[int | None], which: int) -> list[int]:
    """Numbers for the dynamic axes of an input."""
    shape = list(shape)
    others = SPATIAL_SIZES if len(shape) in (4, 5) else SEQUENCE_SIZES
    return [(BATCH_SIZES, *others)[axis][which] if size is None else size for axis, size in enumerate(shape)]


def common_shape(first: torch.Tensor, second: torch.Tensor) -> tuple[int | None, ...]:
    return tuple(a if a == b else None for a, b in zip(first.shape, second.shape, strict=True))


def _nameless(origin: str) -> Layer:
    return Layer(origin, origin, "", {}, (3,), NoWeights())
