"""Keras graph -> torch graph, in one forward pass: layouts are coerced, layers converted, shapes inferred.

Each torch call is run on meta tensors as it is written, at two sizes: a dimension that differs is dynamic.
Nothing of Keras is left afterwards.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from converters.arrangement import (
    ANY,
    AXIS,
    SPATIAL,
    Arrangement,
    Flat,
    Perm,
    as_written,
    channels_first,
    movement,
    moves_only_units,
    physical_shape,
)
from converters.errors import Gap, Gaps, Unsupported, UserError
from converters.graph import Call, Graph, Layer, Module, Node, Tree, Value, leaves, map_tree, values
from converters.layer import LayerHandle
from converters.ops.refused import REFUSED
from converters.registry import Converter, lookup
from converters.weights import Weight
from migrate.interpret import instantiate, run_call, torch_dtype
from migrate.nested import check_masks, needed, operands, outer_mask
from migrate.ties import tied_paths

BATCH_SIZES = (2, 3)
# Long enough for the strides of any network, no two axes alike, so that a confusion of axes is seen.
SPATIAL_SIZES = ((256, 320), (272, 336), (288, 352), (304, 368))
SEQUENCE_SIZES = ((24, 36),) * 8

# Layers that return their input itself in inference, and not a tensor of its own.
SAME_IN_INFERENCE = {
    "Dropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "GaussianDropout", "GaussianNoise",
    "AlphaDropout", "ActivityRegularization",
}  # fmt: skip

DAMAGED = "check that the file is not damaged"
Meta = tuple[Any, Any]


@dataclass
class Job:
    """What holds for a whole model: what stands in its way, and what will differ in training."""

    exact: bool = False
    gaps: list[Gap] = field(default_factory=list)
    drift: dict[str, list[str]] = field(default_factory=dict)  # what differs -> the layers in which it does
    tied: set[str] = field(default_factory=set)  # the paths of layers that stand in several models

    def refuse(self, layer: Layer, reason: str, way_out: str) -> None:
        """Notes a gap, the first of each layer."""
        if all(gap.layer != layer.path for gap in self.gaps):
            self.gaps.append(Gap(layer.path, layer.class_name, reason, way_out))


@dataclass(eq=False)
class Draft:
    """A module while it is written; becomes a `Module`."""

    key: str
    constructor: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    layer: Layer
    state: dict[str, Weight] = field(default_factory=dict)
    frozen: set[str] = field(default_factory=set)
    inference: bool = False
    comment: str = ""
    graph: Graph | None = None

    def finished(self, instance: Any = None) -> Module:
        layer = self.layer
        learned = _parameters(instance) - self.frozen if layer.trainable else set()
        return Module(
            self.key, self.constructor, self.args, self.kwargs, dict(self.state), layer.path, layer.class_name,
            learned=frozenset(learned) if self.constructor != "buffer" else frozenset(),
            frozen=frozenset(self.frozen), trainable=layer.trainable, inference=self.inference, comment=self.comment, graph=self.graph,
        )  # fmt: skip


def _parameters(instance: Any) -> set[str]:
    """The parameters of a module that its class lets learn; '' is the module itself, if it is a bare tensor."""
    if isinstance(instance, torch.Tensor):
        return {""}
    if not isinstance(instance, torch.nn.Module):
        return set()
    return {name for name, parameter in instance.named_parameters() if parameter.requires_grad}


class Lowering:
    """The pen of one emitted class: its modules and calls, and the meta tensors behind its values."""

    def __init__(self, source: Graph, job: Job) -> None:
        self.source, self.job = source, job
        self.calls: list[Call] = []
        self.drafts: dict[str, Draft] = {}
        self.instances: dict[str, Any] = {}
        self.meta: dict[Value, Meta] = {}
        self.lowered: dict[Value, Value] = {}  # value of the source -> value here
        self.coerced: dict[tuple[Value, Arrangement], Value] = {}
        self.nested: dict[str, Lowering] = {}
        self.masks: list[Value | None] = []  # of the inputs, where a nested model gets them from outside
        self.masks_read: list[bool] = []
        self.uses = _uses(source)
        self.reshaped: set[Value] = set()
        self.handed_on: dict[Value, Value] = {}  # value -> the one that Keras holds as the same object

    # -- the pass --------------------------------------------------------------------------------------

    def run(self, *, top: bool, masks: Sequence[Value | None] = ()) -> Graph | None:
        """The lowered graph, or None if a gap stands in the way (it is in `gaps` then).

        `masks`: those of the inputs of a nested model. The ones that it reads become inputs of their own.
        """
        inputs = map_tree(self._input, self.source.inputs)
        self.masks = [self._input_mask(*pair) for pair in zip(values(self.source.inputs), masks, strict=False)]
        for node in self.source.nodes:
            assert isinstance(node, Node)
            if all(value in self.lowered for value in values((node.args, node.kwargs))):
                self._node(node)
        wanted = values(self.source.outputs)
        if any(value not in self.lowered for value in wanted):
            return None
        if sizes := [value for value in wanted if not _is_tensor(self.lowered[value])]:
            name = sizes[0].name.partition(":")[0]
            self.gaps.append(Gap(name, "output", "the model gives out a shape", "in Keras, leave this output out"))
            return None
        outputs = map_tree(lambda v: self._output(v, inputs, top) if isinstance(v, Value) else v, self.source.outputs)
        modules = tuple(draft.finished(self.instances[key]) for key, draft in self.drafts.items())
        read = needed(self.calls, values(outputs))
        self.masks_read = [mask in read for mask in self.masks]
        if any(self.masks_read):
            inputs = (inputs, *(mask for mask in self.masks if mask in read))
        return Graph(self.source.name, inputs, outputs, tuple(self.calls), modules).check()

    def _input_mask(self, source: Value, mask: Value | None) -> Value | None:
        """The mask with which an input comes in: its first axes."""
        if mask is None:
            return None
        value = self.lowered[source]
        first, second = (
            torch.empty(meta.shape[: mask.rank], dtype=torch.bool, device="meta") for meta in self.meta[value]
        )
        name = "mask:" if len(values(self.source.inputs)) == 1 else f"mask:{source.name}"
        made = Value(name, _shape(first, second), "bool", as_written(mask.rank))
        self.meta[made] = (first, second)
        self.lowered[source] = value.masked(made)
        return made

    def _input(self, source: Value) -> Value:
        arrangement = input_arrangement(self.source, source)
        shape = physical_shape(arrangement, source.sizes)
        metas = tuple(
            torch.empty(_sizes(shape, which), dtype=torch_dtype(source.dtype), device="meta") for which in (0, 1)
        )
        value = Value(source.name, _shape(*metas), source.dtype, arrangement)
        self.meta[value] = (metas[0], metas[1])
        self.lowered[source] = value
        return value

    def _output(self, source: Value, inputs: Tree, top: bool) -> Value:
        """The interface: images channels first if the inputs are, everything else as Keras had it."""
        value = self.lowered[source]
        if not top:
            return value
        images = value.rank in (4, 5) and any(
            v.rank in (4, 5) and not v.arrangement.is_as_written for v in values(inputs)
        )
        if images and value not in self.reshaped:
            return self.coerce(value, channels_first(value.rank), "")
        return self.coerce(value, as_written(value.rank), "")

    def _node(self, node: Node) -> None:
        op, layer = node.op, node.layer
        args, kwargs = map_tree(self._operand, node.args), map_tree(self._operand, node.kwargs)
        try:
            if not op.startswith("tf.") and any(v.dtype == "shape" for v in values((args, kwargs))):
                raise Unsupported("it takes the shape of a tensor as data", "give it a tensor in Keras")
            calls = self.uses.get(layer.path, 1) + (layer.path in self.job.tied)
            result = self.convert(op, layer, args, kwargs, calls=calls)
        except Unsupported as error:
            self.job.refuse(layer, error.reason, error.way_out)
            return
        except UserError as error:
            self.job.refuse(layer, error.problem, error.remedy or DAMAGED)
            return
        except (TypeError, ValueError, RuntimeError, IndexError, KeyError, ArithmeticError, AssertionError) as error:
            # A stranger's config can be wrong in any way; a converter need not foresee each of them.
            problem = (
                f"its config and inputs do not fit together ({str(error).splitlines()[0] if str(error) else error!r})"
            )
            self.job.refuse(layer, problem, DAMAGED)
            return
        made = [leaf for leaf in leaves(result)]
        for source, value in zip(node.outputs, made, strict=False):
            if source is not None:
                self._agree(layer, source, value)
                self.lowered[source] = value

    def _operand(self, leaf: Any) -> Any:
        return self.lowered[leaf] if isinstance(leaf, Value) else leaf

    def _agree(self, layer: Layer, stated: Value, found: Value) -> None:
        """Where the file states a shape, what was inferred must agree."""
        if stated.shape is None or not isinstance(found, Value):
            return
        shape = found.keras_shape
        if len(shape) != len(stated.shape) or any(
            None not in (a, b) and a != b for a, b in zip(shape, stated.shape, strict=True)
        ):
            stated_shape, given = list(stated.shape), list(shape)
            problem = f"the file states an output of shape {stated_shape}, its inputs and config give {given}"
            self.job.refuse(layer, problem, DAMAGED)

    # -- what converters call (converters.layer.Recorder) --------------------------------------------------

    def convert(
        self, op: str, layer: Layer, args: Sequence[Tree], kwargs: Mapping[str, Tree], *, calls: int = 1
    ) -> Tree:
        if layer.graph is not None:
            return self._model(layer, args, kwargs)
        converter = lookup(op)
        if converter is None:
            raise unknown(op)
        handle = LayerHandle(self, layer, calls=calls)
        arguments, handle.mask = _bind(converter, args, kwargs)
        config = {p.name: p.default for p in converter.parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
        config |= converter.config(layer.config)
        given = values(arguments)
        if handle.mask is None:
            handle.mask = next((v.mask for v in given if v.mask is not None), None) if _single(converter) else None
        arguments = self._arrange(converter, handle, arguments, config)
        result = converter.function(handle, *arguments.pop("*", ()), **arguments, **config)
        mask = self._mask(converter, handle, given)
        for value in values(result):
            if converter.reshapes:
                self.reshaped.add(value)
            else:
                self.reshaped.discard(value)
        return map_tree(lambda v: v.masked(v.mask or mask) if isinstance(v, Value) else v, _fresh(result, given))

    def _arrange(
        self, converter: Converter, handle: LayerHandle, arguments: dict[str, Any], config: Mapping[str, Any]
    ) -> dict[str, Any]:
        inputs = [v for v in values(arguments) if v.dtype != "size"]
        wanted = dict(zip(inputs, converter.layout(inputs, config), strict=True))

        def arrange(leaf: Any) -> Any:
            if not isinstance(leaf, Value) or leaf not in wanted:
                return leaf
            if isinstance(leaf.arrangement, Flat) and converter.features and not handle.shared and leaf == inputs[0]:
                handle.order = leaf.arrangement
                return leaf.arranged(as_written(leaf.rank))
            return self.coerce(leaf, wanted[leaf], handle.path)

        return map_tree(arrange, arguments)  # type: ignore[no-any-return]  # a dict stays a dict

    def _mask(self, converter: Converter, handle: LayerHandle, given: list[Value]) -> Value | None:
        if converter.mask == "end":
            return None
        if converter.mask == "pass":
            return handle.mask  # type: ignore[no-any-return]  # a Value or None
        return converter.mask(handle, given)  # type: ignore[operator, no-any-return]  # a function by now

    def _model(self, layer: Layer, args: Sequence[Tree], kwargs: Mapping[str, Tree]) -> Tree:
        """A call of a nested model, whose class is lowered once."""
        assert layer.graph is not None
        inputs, masks = operands(args, kwargs)
        if layer.path not in self.drafts:
            inner = self.nested[layer.path] = Lowering(layer.graph, self.job)
            graph = inner.run(top=False, masks=masks)
            if graph is None:
                raise Unsupported("it contains layers that cannot be converted", "see the other gaps")
            draft = Draft(layer.path, "model", (), {}, layer, graph=graph)
            self.drafts[layer.path] = draft
            self.instances[layer.path] = instantiate(draft.finished())
        inner, made_graph = self.nested[layer.path], self.drafts[layer.path].graph
        assert made_graph is not None
        sources = values(inner.source.inputs)
        inside = [inner.lowered[source] for source in sources]
        given = [self.coerce(v, e.arrangement, layer.path) for v, e in zip(inputs, inside, strict=True)]
        check_masks(masks, inner.masks)
        border = [mask for mask, read in zip(masks, inner.masks_read, strict=True) if read]
        result = self.call("module", layer.path, [*given, *border], {}, layer.path)
        self.end_masks(
            [v for v, e, m in zip(inputs, inside, inner.masks, strict=True) if m is not None and e.mask is None]
        )
        made = iter(values(result))
        outside = dict(zip(inside, given, strict=True)) | {
            inner_mask: mask for inner_mask, mask in zip(inner.masks, masks, strict=True) if inner_mask and mask
        }

        def write(call: Call, args: Tree, kwargs: Tree) -> Tree:
            return self.call(call.kind, call.target, args, kwargs, layer.path)

        def out(leaf: Any) -> Any:
            """An output of the model, with the mask that its layers give it."""
            if not isinstance(leaf, Value):
                return leaf
            mask = outer_mask(inner.calls, leaf.mask, outside, write) if leaf.mask is not None else None
            return next(made).arranged(leaf.arrangement).masked(mask)

        return map_tree(out, made_graph.outputs)

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
            shape = _shape(first, second)
            same = next((v.arrangement for v in operands if v.rank == len(shape) and v.dtype != "size"), None)
            value = Value(name, shape, str(first.dtype).removeprefix("torch."), same or as_written(len(shape)))
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
            handle = LayerHandle(self, _nameless(origin))
            moved = _unflatten(handle, value) if isinstance(value.arrangement, Flat) else value
            self.coerced[key] = _permuted(handle, moved, arrangement)
            self.coerced.setdefault((self.coerced[key], value.arrangement), value)
            self.handed_on.setdefault(self.coerced[key], value)
        return self.coerced[key].masked(value.mask)

    def end_masks(self, inputs: Sequence[Value]) -> None:
        ended = {self._object(value) for value in inputs}
        for source, value in self.lowered.items():
            if value.mask is not None and self._object(value) in ended:
                self.lowered[source] = value.masked(None)

    def _object(self, value: Value) -> Value:
        while value in self.handed_on:
            value = self.handed_on[value]
        return value


# -- layout ----------------------------------------------------------------------------------------------


def input_arrangement(graph: Graph, source: Value) -> Arrangement:
    """Images are taken channels first if their first consumer, through elementwise and axis ops, is spatial."""
    rank = source.rank
    if rank not in (4, 5):
        return as_written(rank)
    followed, pending = {source}, graph.nodes
    for node in pending:
        assert isinstance(node, Node)
        used = [v for v in values((node.args, node.kwargs)) if v in followed]
        if not used:
            continue
        if node.layer.graph is not None:
            inner = values(node.layer.graph.inputs)[values((node.args, node.kwargs)).index(used[0])]
            return input_arrangement(node.layer.graph, inner)
        converter = lookup(node.op)
        if converter is None or converter.layout is SPATIAL or getattr(converter.layout, "images", False):
            return SPATIAL([source], node.layer.config)[0]
        if converter.layout not in (ANY, AXIS) and not getattr(converter.layout, "follows", False):
            break
        followed.update(v for v in node.outputs if v is not None)
    return as_written(rank)


def _permuted(handle: LayerHandle, value: Value, target: Arrangement) -> Value:
    """One permute, or a reshape where only axes of size 1 move."""
    assert isinstance(value.arrangement, Perm) and isinstance(target, Perm)
    if value.arrangement == target:
        return value
    moves = movement(value.arrangement, target)
    if moves_only_units(moves, value.sizes):
        sizes = [handle.size(value, axis) for axis in moves]
        if [s for s in sizes if isinstance(s, Value)] == sizes[:1]:
            sizes[0] = -1  # the batch, which reshape can work out
        moved: Value = handle.method("reshape", value, *sizes)
    else:
        swapped = [axis for axis, source in enumerate(moves) if axis != source]
        if len(swapped) == 2:
            moved = handle.method("transpose", value, *swapped)
        else:
            moved = handle.method("permute", value, *moves)
    return moved.arranged(target)


def _unflatten(handle: LayerHandle, value: Value) -> Value:
    """Flattened features, put back into the order of Keras."""
    assert isinstance(value.arrangement, Flat)
    last, parts, start = value.rank - 1, [], 0
    for block in value.arrangement.blocks:
        width = 1
        for size in block.sizes:
            width *= size
        part = value
        if len(value.arrangement.blocks) > 1:
            part = handle.index(value, ..., slice(start, start + width))
        start += width
        if not block.is_as_written:
            part = handle.method("unflatten", part, last, tuple(block.sizes[axis] for axis in block.axes))
            order = sorted(range(len(block.axes)), key=block.axes.__getitem__)
            part = handle.method("permute", part, *range(last), *(last + axis for axis in order))
            part = handle.method("flatten", part, last)
        parts.append(part)
    whole: Value = parts[0] if len(parts) == 1 else handle.function("torch.cat", parts, dim=-1)
    return whole.arranged(as_written(value.rank))


# -- small things ----------------------------------------------------------------------------------------


def _sizes(shape: Iterable[int | None], which: int) -> list[int]:
    """Numbers for the dynamic axes of an input."""
    shape = list(shape)
    others = SPATIAL_SIZES if len(shape) in (4, 5) else SEQUENCE_SIZES
    return [(BATCH_SIZES, *others)[axis][which] if size is None else size for axis, size in enumerate(shape)]


def _shape(first: torch.Tensor, second: torch.Tensor) -> tuple[int | None, ...]:
    return tuple(a if a == b else None for a, b in zip(first.shape, second.shape, strict=True))


def _uses(graph: Graph) -> dict[str, int]:
    """How often each layer of a graph is called in it."""
    counts: dict[str, int] = {}
    for node in graph.nodes:
        assert isinstance(node, Node)
        counts[node.layer.path] = counts.get(node.layer.path, 0) + 1
    return counts


def _bind(converter: Converter, args: Sequence[Tree], kwargs: Mapping[str, Tree]) -> tuple[dict[str, Any], Any]:
    """The call arguments by name, and the explicit mask if there is one."""
    kwargs = {k: v for k, v in kwargs.items() if v is not None}
    kwargs.pop("training", None)
    names = [p.name for p in converter.call_arguments]
    mask = kwargs.pop("mask", None) if "mask" not in names else None
    if converter.call_arguments and converter.call_arguments[0].kind is inspect.Parameter.VAR_POSITIONAL:
        return {"*": tuple(args), **kwargs}, mask
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in converter.call_arguments)
    if len(args) > len(names) or (not open_ended and any(key not in names for key in kwargs)):
        unknown_arguments = [repr(key) for key in kwargs if key not in names] or [f"{len(args)} positional arguments"]
        raise Unsupported(
            f"it is called with {', '.join(unknown_arguments)}; known are {names}",
            "remove the argument in Keras, or report the model",
        )
    bound = dict(zip(names, args, strict=False))
    return bound | kwargs, mask


def _is_tensor(value: Any) -> bool:
    """Not a size, a number, or the stand-in for a whole shape."""
    return isinstance(value, Value) and value.dtype not in ("size", "shape")


def _single(converter: Converter) -> bool:
    """Whether the layer takes its implied mask from its first input, as all but the merging layers do."""
    return not callable(converter.mask)


def _fresh(result: Tree, given: list[Value]) -> Tree:
    """A layer that does nothing hands its input on; the input's mask must not slip through with it."""
    return map_tree(lambda v: v.masked(None) if isinstance(v, Value) and v in given else v, result)


def _nameless(origin: str) -> Layer:
    from converters.layer import NoWeights

    return Layer(origin, origin, "", {}, (3,), NoWeights())


def unknown(op: str) -> Unsupported:
    """The refusal of something that has no converter."""
    kind, _, name = op.partition(".")
    if name == "Lambda":
        return Unsupported(
            "a Lambda holds Python bytecode, which is never run here",
            "in Keras, replace it by a built-in layer or keras.ops and save the model again",
        )
    if op in REFUSED:
        return Unsupported(*REFUSED[op])
    if kind == "tf":
        return Unsupported(
            f"the TensorFlow function {op!r:.80} has no converter",
            "in Keras, replace it by a layer or another function, and save the model again",
        )
    what = {"layers": "layer class", "ops": "op", "activations": "activation"}.get(kind, kind)
    return Unsupported(
        f"the {what} {name!r:.80} has no converter",
        "if it is your own class: in Keras, rebuild the model from built-in layers and save it again",
    )


def check_known(graph: Graph) -> list[Gap]:
    """The gaps that can be seen without converting: unknown layers and config keys, nested models included."""
    gaps, seen = [], set()
    for node in graph.nodes:
        assert isinstance(node, Node)
        layer = node.layer
        if layer.path in seen:
            continue
        seen.add(layer.path)
        if layer.graph is not None:
            gaps += check_known(layer.graph)
            continue
        try:
            if layer.refusal is not None:
                raise Unsupported(*layer.refusal)
            converter = lookup(node.op)
            if converter is None:
                raise unknown(node.op)
            converter.config(layer.config)
        except Unsupported as error:
            gaps.append(Gap(layer.path, layer.class_name, error.reason, error.way_out))
    return gaps


@dataclass(frozen=True)
class Lowered:
    """A model as torch calls, and what will differ from Keras in training: {what: the layers in which}."""

    graph: Graph
    drift: Mapping[str, list[str]]


def lower(source: Graph, *, exact: bool = False) -> Lowered:
    """The whole model as torch calls. Raises Gaps with everything that stands in the way.

    `exact`: where PyTorch's standard part differs from Keras in training, a local class that does not.
    """
    job = Job(exact, check_known(source), tied=tied_paths(source))
    graph = Lowering(source, job).run(top=True)
    if job.gaps or graph is None:
        raise Gaps(job.gaps)
    return Lowered(graph, job.drift)
