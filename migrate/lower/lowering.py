"""The pass over one model: its nodes in order, each converted once its inputs are there."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from converters.arrangement import Flat, as_written, channels_first, physical_shape
from converters.errors import Gap, Unsupported, UserError
from converters.graph import Call, Graph, Layer, Node, Tree, Value, leaves, map_tree, values
from converters.layer import LayerHandle
from converters.registry import Converter, lookup
from migrate.interpret import instantiate, torch_dtype
from migrate.lower.binding import bind, takes_implied_mask, without_masks_of
from migrate.lower.draft import Draft, Job
from migrate.lower.gaps import unknown
from migrate.lower.layout import input_arrangement
from migrate.lower.nested import check_masks, needed, operands, outer_mask
from migrate.lower.pen import Pen, common_shape, symbolic_sizes

PRECISIONS = {"float16", "bfloat16", "float64"}  # what Keras computed in; here the model chooses, float32 at first
DAMAGED = "check that the file is not damaged"


class Lowering(Pen):
    """One class in the making: values of the source, and what they have become."""

    def __init__(self, source: Graph, job: Job) -> None:
        super().__init__(job)
        self.source = source
        self.lowered: dict[Value, Value] = {}  # value of the source -> value here
        self.nested: dict[str, Lowering] = {}
        self.masks: list[Value | None] = []  # of the inputs, where a nested model gets them from outside
        self.masks_read: list[bool] = []
        self.uses = _uses(source)
        self.reshaped: set[Value] = set()

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
            self.job.gaps.append(Gap(name, "output", "the model gives out a shape", "in Keras, leave this output out"))
            return None
        outputs = map_tree(lambda v: self._output(v, inputs, top) if isinstance(v, Value) else v, self.source.outputs)
        modules = tuple(draft.finished(self.instances[key]) for key, draft in self.drafts.items())
        read = needed(self.calls, values(outputs))
        self.masks_read = [mask in read for mask in self.masks]
        if any(self.masks_read):
            inputs = (inputs, *(mask for mask in self.masks if mask in read))
        tensors = {source: value for source, value in self.lowered.items() if _is_tensor(value)}
        return Graph(self.source.name, inputs, outputs, tuple(self.calls), modules, tensors=tensors).check()

    def _input_mask(self, source: Value, mask: Value | None) -> Value | None:
        """The mask with which an input comes in: its first axes."""
        if mask is None:
            return None
        value = self.lowered[source]
        first, second = (
            torch.empty(meta.shape[: mask.rank], dtype=torch.bool, device="meta") for meta in self.meta[value]
        )
        name = "mask:" if len(values(self.source.inputs)) == 1 else f"mask:{source.name}"
        made = Value(name, common_shape(first, second), "bool", as_written(mask.rank))
        self.meta[made] = (first, second)
        self.lowered[source] = value.masked(made)
        return made

    def _input(self, source: Value) -> Value:
        arrangement = input_arrangement(self.source, source)
        shape = physical_shape(arrangement, source.sizes)
        dtype = "float32" if source.dtype in PRECISIONS else source.dtype
        metas = tuple(
            torch.empty(symbolic_sizes(shape, which), dtype=torch_dtype(dtype), device="meta") for which in (0, 1)
        )
        tried = tuple(tuple(meta.shape) for meta in metas)
        value = Value(source.name, common_shape(*metas), dtype, arrangement, tried=tried)
        self.meta[value] = (metas[0], metas[1])
        self.lowered[source] = value
        return value

    def _output(self, source: Value, inputs: Tree, top: bool) -> Value:
        """The interface: images channels first if the inputs are, else as Keras had it; nested, as it is."""
        value = self.lowered[source]
        images = value.rank in (4, 5) and any(
            v.rank in (4, 5) and not v.arrangement.is_as_written for v in values(inputs)
        )
        if images and value not in self.reshaped:
            return self.coerce(value, channels_first(value.rank), "")
        return self.coerce(value, as_written(value.rank), "") if top else value

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
            problem = f"{error.problem}; found: {error.found}" if error.found else error.problem
            self.job.refuse(layer, problem, error.remedy or DAMAGED)
            return
        except (TypeError, ValueError, RuntimeError, IndexError, KeyError, ArithmeticError, AssertionError) as error:
            # A stranger's config can be wrong in any way; a converter need not foresee each of them.
            problem = (
                f"its config and inputs do not fit together ({str(error).splitlines()[0] if str(error) else error!r})"
            )
            self.job.refuse(layer, problem, DAMAGED)
            return
        made = list(leaves(result))
        if len(made) < len(node.outputs):
            self.job.refuse(layer, f"the model takes its output {len(node.outputs)}, it has {len(made)}", DAMAGED)
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

    def convert(
        self, op: str, layer: Layer, args: Sequence[Tree], kwargs: Mapping[str, Tree], *, calls: int = 1
    ) -> Tree:
        if layer.graph is not None:
            return self._model(layer, args, kwargs)
        converter = lookup(op)
        if converter is None:
            raise unknown(op)
        handle = LayerHandle(self, layer, calls=calls)
        arguments, handle.mask = bind(converter, args, kwargs)
        config = {p.name: p.default for p in converter.parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
        config |= converter.config(layer.config)
        given = values(arguments)
        if handle.mask is None and takes_implied_mask(converter):
            handle.mask = next((v.mask for v in given if v.mask is not None), None)
        arguments = self._arrange(converter, handle, arguments, config)
        result = converter.function(handle, *arguments.pop("*", ()), **arguments, **config)
        mask = self._mask(converter, handle, given)
        for value in values(result):
            if converter.reshapes:
                self.reshaped.add(value)
            else:
                self.reshaped.discard(value)
        result = without_masks_of(result, given)
        return map_tree(lambda v: v.masked(v.mask or mask) if isinstance(v, Value) else v, result)

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
        return converter.mask(handle, given)  # type: ignore[no-any-return]  # a function by now

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

    def end_masks(self, inputs: Sequence[Value]) -> None:
        ended = {self._object(value) for value in inputs}
        for source, value in self.lowered.items():
            if value.mask is not None and self._object(value) in ended:
                self.lowered[source] = value.masked(None)

    def _object(self, value: Value) -> Value:
        while value in self.handed_on:
            value = self.handed_on[value]
        return value


def _uses(graph: Graph) -> dict[str, int]:
    """How often each layer of a graph is called in it."""
    counts: dict[str, int] = {}
    for node in graph.nodes:
        assert isinstance(node, Node)
        counts[node.layer.path] = counts.get(node.layer.path, 0) + 1
    return counts


def _is_tensor(value: Any) -> bool:
    """Not a size, a number, or the stand-in for a whole shape."""
    return isinstance(value, Value) and value.dtype not in ("size", "shape")
