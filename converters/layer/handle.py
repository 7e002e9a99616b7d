"""The handle that a converter gets: the layer that it converts, and the pen with which it writes torch calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NoReturn

from converters.arrangement import Arrangement, Perm, as_written, physical_axis, positive
from converters.errors import Unsupported
from converters.graph import Layer, Tree, Value, values
from converters.layer.config import activation_name
from converters.layer.module import ModuleHandle
from converters.layer.recorder import Recorder
from converters.layer.weights import NoWeights, Weights
from converters.weights import Weight, constant


class LayerHandle:
    """One Keras layer (or op) during its conversion."""

    def __init__(self, recorder: Recorder, layer: Layer, *, calls: int = 1) -> None:
        self._recorder, self._layer = recorder, layer
        self.shared = calls > 1
        self.mask: Any = None
        self.order: Arrangement = Perm(())

    @property
    def name(self) -> str:
        return self._layer.name

    @property
    def path(self) -> str:
        return self._layer.path

    @property
    def class_name(self) -> str:
        return self._layer.class_name

    @property
    def version(self) -> tuple[int, ...]:
        """The Keras version that wrote the file: it decides what its words mean."""
        return self._layer.version

    @property
    def config(self) -> Mapping[str, Any]:
        """The whole config, for a mask or layout rule that needs a key of it."""
        return self._layer.config

    @property
    def trainable(self) -> bool:
        return self._layer.trainable

    @property
    def children(self) -> Mapping[str, Layer]:
        """The layers that this one wraps."""
        return self._layer.children

    # -- weights ---------------------------------------------------------------------------------------

    def weights(self, *names: str | None) -> SimpleNamespace:
        """The layer's arrays by name, all of them in the order in which Keras creates them.

        None stands for one that this configuration does not have. A path such as `cell/kernel` becomes
        the attribute `kernel`, or `query_dense_kernel` where the last part alone is not unique.
        """
        present = [name for name in names if name]
        taken = self._layer.weights.take(present)
        last = [name.rpartition("/")[2] for name in present]
        attributes = {n: (p if last.count(p) == 1 else n.replace("/", "_")) for n, p in zip(present, last, strict=True)}
        return Weights(**{attributes[name]: weight for name, weight in taken.items()})

    def weight_count(self) -> int:
        """How many arrays the file holds for this layer: tells apart what old configs leave unsaid."""
        return self._layer.weights.count

    def expect(self, weight: Weight, shape: Sequence[int | None], name: str) -> Weight:
        """The weight, if it has the shape that the config asks for (None: any size)."""
        if len(shape) != weight.rank or any(a not in (None, b) for a, b in zip(shape, weight.shape, strict=True)):
            raise Unsupported(
                f"its {name} has the shape {list(weight.shape)}, expected {['?' if s is None else s for s in shape]}",
                "check that the weights belong to this architecture",
            )
        return weight

    # -- torch calls -----------------------------------------------------------------------------------

    def module(self, constructor: str, *args: Any, role: str = "", **kwargs: Any) -> ModuleHandle:
        """A submodule (`nn.Conv2d`), made once however often the layer is called.

        `role` tells apart the modules of a layer that needs several (`depthwise`, `pointwise`).
        """
        key = f"{self._layer.path}:{role}" if role else self._layer.path
        draft = self._recorder.module(key, constructor, args, kwargs, self._layer)
        return ModuleHandle(self._recorder, draft, self._layer.path)

    def local(self, class_name: str, *args: Any, role: str = "", **kwargs: Any) -> ModuleHandle:
        """A submodule whose class is written into the emitted file, from `converters/local`."""
        return self.module(f"local.{class_name}", *args, role=role, **kwargs)

    def parameter(self, role: str, weight: Weight, *, fill: float = 0.0) -> Value:
        """A parameter of the emitted model itself: `self.scale = nn.Parameter(...)`. `fill`: where Keras starts."""
        return self._bare("parameter", role, weight, **({"fill": fill} if fill else {}))

    def buffer(self, role: str, weight: Weight) -> Value:
        """A tensor that is saved with the model and does not learn."""
        return self._bare("buffer", role, weight)

    def constant(self, role: str, array: Any) -> Value:
        """Numbers that the config states (a numpy array, at full precision), as a buffer."""
        kinds = {"b": "bool", "i": "int64", "u": "int64"}
        return self.buffer(role, constant(array.ravel().tolist(), array.shape, kinds.get(array.dtype.kind, "float32")))

    def _bare(self, constructor: str, role: str, weight: Weight, **kwargs: Any) -> Value:
        key = f"{self._layer.path}:{role}"
        draft = self._recorder.module(key, constructor, (weight.shape, weight.dtype), kwargs, self._layer)
        if draft.state.setdefault("", weight) != weight:
            self.unsupported("its calls need different numbers", "give each call a layer of its own in Keras")
        return self._recorder.call("attribute", key, (), {}, self._layer.path)  # type: ignore[no-any-return]  # one value

    def floating(self, x: Value) -> Value:
        """`x` in the floating-point type that the model has when it runs; `x` itself if it is of one already."""
        return x if x.dtype.startswith(("float", "bfloat")) else self.to_float(x)

    def to_float(self, x: Value) -> Value:
        """`x` in the floating-point type of the model, whatever its own: half precision that was asked for ends."""
        key = ":to_float"  # one for the whole model
        draft = self._recorder.module(key, "local.ToFloat", (), {}, self._layer)
        draft.state["like"] = constant(0, ())
        cast: Value = self._recorder.call("module", key, (x,), {}, self._layer.path)
        return cast

    def function(self, target: str, *args: Tree, **kwargs: Tree) -> Any:
        """A function: `F.relu`, `torch.cat`, or `local.name` from `converters/local`."""
        return self._recorder.call("function", target, args, kwargs, self._layer.path)

    def method(self, target: str, x: Value, *args: Tree, **kwargs: Tree) -> Any:
        """A method of a tensor: `method("flatten", x, 1)` is `x.flatten(1)`."""
        return self._recorder.call("method", target, (x, *args), kwargs, self._layer.path)

    def operator(self, target: str, *operands: Tree) -> Any:
        """A Python operator, by its sign; `neg` and `~` take one operand."""
        return self._recorder.call("operator", target, operands, {}, self._layer.path)

    def index(self, x: Value, *key: Any) -> Any:
        """`x[key]`; slices, None and Ellipsis allowed."""
        return self._recorder.call("operator", "[]", (x, key if len(key) > 1 else key[0]), {}, self._layer.path)

    def size(self, x: Value, axis: int) -> Any:
        """The size of a physical axis: a number where it is known, else `x.shape[axis]`."""
        axis = positive(axis, x.rank)
        known = x.sizes[axis]
        return known if known is not None else self._recorder.call("size", str(axis), (x,), {}, self._layer.path)

    # -- composition -----------------------------------------------------------------------------------

    def activate(self, x: Value, activation: Any) -> Any:
        """Applies an activation as a config names it: a string, a serialized function or layer, or None."""
        name, config = activation_name(activation)
        if name in (None, "linear"):
            return x
        key = f"layers.{name}" if config is not None else f"activations.{name}"
        layer = Layer(self.name, self._layer.path, str(name), config or {}, self.version, NoWeights())
        return self._recorder.convert(key, layer, [x], {})

    def convert(self, child: Layer, *args: Tree, **kwargs: Tree) -> Any:
        """Converts a call of a wrapped layer."""
        op = "model" if child.graph else f"layers.{child.class_name}"
        return self._recorder.convert(op, child, args, kwargs, calls=2 if self.shared else 1)

    def learning(self, trainable: bool) -> LayerHandle:
        """This layer's pen, for modules that learn only if a layer that it wraps does."""
        return LayerHandle(self._recorder, replace(self._layer, trainable=trainable), calls=2 if self.shared else 1)

    def apply(self, op: str, *args: Tree, **config: Any) -> Any:
        """Converts a call of another Keras op, `apply("ops.Transpose", x, axes=(0, 2, 1))`."""
        layer = Layer(self.name, self._layer.path, op.partition(".")[2], config, self.version, NoWeights())
        return self._recorder.convert(op, layer, args, {})

    # -- axes ------------------------------------------------------------------------------------------

    def axis(self, x: Value, axis: int) -> int:
        """Where Keras axis `axis` of `x` lies in memory."""
        try:
            return physical_axis(x.arrangement, axis, x.rank)
        except IndexError as error:
            self.unsupported(str(error), "check that the file is not damaged")

    def axes(self, x: Value, axes: int | Sequence[int] | None) -> tuple[int, ...]:
        """Where several Keras axes lie in memory, sorted; None means all of them."""
        if axes is None:
            return tuple(range(x.rank))
        return tuple(sorted(self.axis(x, a) for a in ([axes] if isinstance(axes, int) else axes)))

    def coerce(self, x: Value, arrangement: Arrangement) -> Value:
        """`x` laid out as asked, by a permute where it has to be."""
        return self._recorder.coerce(x, arrangement, self._layer.path)

    def end_masks(self, *inputs: Value) -> None:
        """For the layers that follow, these tensors carry no mask: MultiHeadAttention of Keras 3 takes it off them."""
        self._recorder.end_masks(inputs)

    def align(self, inputs: Sequence[Any], *, insert_at: int | None = None) -> list[Any]:
        """Tensors of unequal rank with axes of size 1 added, so that torch broadcasts them as Keras does.

        Keras' merge layers insert them at axis 1, `keras.ops` (insert_at=None) in front.
        """
        rank = max(x.rank for x in values(list(inputs)))
        model = next(x for x in inputs if isinstance(x, Value) and x.rank == rank)
        return [self._expand(x, model, insert_at) if isinstance(x, Value) else x for x in inputs]

    def _expand(self, x: Value, model: Value, insert_at: int | None) -> Value:
        missing = model.rank - x.rank
        if not missing or not x.rank or not isinstance(model.arrangement, Perm):
            return x
        if insert_at is None and model.arrangement.is_as_written:
            return x  # torch aligns on the right by itself
        x = self.coerce(x, as_written(x.rank))
        at = insert_at or 0
        held: list[int | None] = [*range(at), *([None] * missing), *range(at, x.rank)]
        physical = [held[axis] for axis in model.arrangement.axes]
        kept = [axis for axis in physical if axis is not None]
        if kept != sorted(kept):
            x = self.method("permute", x, *kept)
        expanded: Value = self.index(x, *(None if axis is None else slice(None) for axis in physical))
        return expanded.arranged(model.arrangement)

    def rename(self, x: Value, arrangement: Arrangement) -> Value:
        """The same data under other names of its axes: what a transpose is before anybody needs its order."""
        renamed: Value = self._recorder.call("rename", "", (x,), {}, self._layer.path)
        return renamed.arranged(arrangement)

    # -- training --------------------------------------------------------------------------------------

    def exactly(self, drift: str) -> bool:
        """Whether to emit what equals Keras in training too (`--exact`), where PyTorch's own part does not.

        If not, `drift`, a sentence that says what differs, goes into the report.
        """
        return self._recorder.differs(self._layer.path, drift)

    # -- refusal ---------------------------------------------------------------------------------------

    def unsupported(self, reason: str, way_out: str) -> NoReturn:
        """This layer cannot be converted: the reason, and what the user can do."""
        raise Unsupported(reason, way_out)
