"""Functions of TensorFlow that models of Keras 2 hold as layers, in the words of keras.ops.

A call gives the first argument by position, the others by TensorFlow's names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from converters.arrangement import Arrangement, channels_first
from converters.graph import Tree, values
from converters.layer import LayerHandle
from converters.registry import converts

# "names in TensorFlow": "op of Keras, its arguments | its config", each by TensorFlow's name; `keras=theirs:default`.
SAME = {
    "math.add __operators__.add": "Add x y",
    "math.subtract __operators__.subtract": "Subtract x y",
    "math.multiply __operators__.multiply": "Multiply x y",
    "math.divide math.truediv realdiv compat.v1.div": "TrueDivide x y",
    "math.divide_no_nan": "DivideNoNan x y",
    "math.floordiv compat.v1.floor_div": "FloorDivide x y",
    "math.floormod math.mod": "Mod x y",
    "math.pow": "Power x y",
    "math.maximum": "Maximum x y",
    "math.minimum": "Minimum x y",
    "math.atan2": "Arctan2 y x",
    "math.greater": "Greater x y",
    "math.greater_equal": "GreaterEqual x y",
    "math.less": "Less x y",
    "math.less_equal": "LessEqual x y",
    "math.equal compat.v1.equal": "Equal x y",
    "math.not_equal compat.v1.not_equal": "NotEqual x y",
    "math.logical_and": "LogicalAnd x y",
    "math.logical_or": "LogicalOr x y",
    "math.logical_xor": "LogicalXor x y",
    "math.logical_not": "LogicalNot x",
    "where where_v2": "Where condition x y",
    "cast": "Cast x | dtype",
    "saturate_cast": "SaturateCast value | dtype",
    "identity": "Copy input",
    "stop_gradient": "StopGradient input",
    "zeros_like": "ZerosLike input | dtype",
    "ones_like": "OnesLike input | dtype",
    "nn.relu": "Relu features",
    "nn.relu6": "Relu6 features",
    "nn.leaky_relu": "LeakyRelu features | negative_slope=alpha",
    "nn.elu": "Elu features",
    "nn.selu": "Selu features",
    "nn.gelu": "Gelu features | approximate=approximate:False",
    "nn.softsign": "Softsign features",
    "math.softplus": "Softplus features",
    "math.sigmoid": "Sigmoid x",
    "math.log_sigmoid": "LogSigmoid x",
    "nn.softmax": "Softmax logits | axis",
    "nn.log_softmax": "LogSoftmax logits | axis",
    "math.reduce_mean": "Mean input_tensor | axis keepdims",
    "math.reduce_sum": "Sum input_tensor | axis keepdims",
    "math.reduce_max": "Max input_tensor | axis keepdims",
    "math.reduce_min": "Min input_tensor | axis keepdims",
    "math.reduce_prod": "Prod input_tensor | axis keepdims",
    "math.reduce_any": "Any input_tensor | axis keepdims",
    "math.reduce_all": "All input_tensor | axis keepdims",
    "math.reduce_std": "Std input_tensor | axis keepdims",
    "math.reduce_variance": "Var input_tensor | axis keepdims",
    "math.reduce_logsumexp": "Logsumexp input_tensor | axis keepdims",
    "math.count_nonzero": "CountNonzero input | axis",
    "math.argmax": "Argmax input | axis=axis:0",
    "math.argmin": "Argmin input | axis=axis:0",
    "math.cumsum": "Cumsum x | axis=axis:0",
    "math.cumprod": "Cumprod x | axis=axis:0",
    "math.top_k": "TopK input | k=k:1 sorted",
    "sort": "Sort values | axis",
    "argsort": "Argsort values | axis",
    "compat.v1.transpose transpose": "Transpose a | axes=perm",
    "linalg.matrix_transpose": "Swapaxes a | axis1=:-1 axis2=:-2",
    "expand_dims": "ExpandDims input | axis",
    "compat.v1.squeeze squeeze": "Squeeze input | axis",
    "concat": "Concatenate values | axis",
    "stack": "Stack values | axis",
    "unstack": "Unstack value | num axis",
    "tile": "Tile input | repeats=multiples",
    "repeat": "Repeat input | repeats axis",
    "reverse": "Flip tensor | axis",
    "roll": "Roll input | shift axis",
    "broadcast_to": "BroadcastTo input | shape",
    "compat.v1.pad pad": "Pad tensor constant_values | pad_width=paddings mode",
    "compat.v1.gather gather": "Take params indices | axis=axis:0",
    "one_hot": "OneHot indices | num_classes=depth axis dtype",
    "slice": "Slice input_ begin | shape=size",
    "tensordot": "Tensordot a b | axes",
    "linalg.diag_part": "Diagonal input | axis1=:-2 axis2=:-1",
    "nn.depth_to_space": "DepthToSpace input | block_size",
    "nn.space_to_depth": "SpaceToDepth input | block_size",
    "image.resize": "Resize images | size interpolation=method antialias",
}
# Functions of one tensor `x` whose names differ by a prefix only.
SAME |= {f"math.{name}": f"{name.capitalize()} x" for name in "sign round floor ceil exp expm1 log log1p sqrt rsqrt "
         "square sin cos tan sinh cosh tanh erf erfc reciprocal negative abs".split()}  # fmt: skip
SAME |= {f"math.{name}": f"{keras} x" for name, keras in {
    "asin": "Arcsin", "acos": "Arccos", "atan": "Arctan", "asinh": "Arcsinh", "acosh": "Arccosh", "atanh": "Arctanh",
    "is_nan": "Isnan", "is_inf": "Isinf", "is_finite": "Isfinite", "rint": "Round",
}.items()}  # fmt: skip
# What changes nothing if it is so.
NEUTRAL: dict[str, Any] = {
    "name": ..., "conjugate": False, "batch_dims": 0, "validate_indices": ..., "exclusive": False, "reverse": False,
    "output_type": ..., "out_type": ..., "direction": "ASCENDING", "stable": ..., "data_format": "NHWC",
    "preserve_aspect_ratio": False, "optimize": ..., "layout": ..., "transpose_a": False, "beta": 1.0,
}  # fmt: skip


@dataclass(frozen=True)
class Words:
    """A function's op in Keras, the names of its arguments, and {key of the config: (their name, default)}."""

    op: str
    arguments: tuple[str, ...]
    config: Mapping[str, tuple[str, Any]]


def words(text: str) -> Words:
    call, _, config = text.partition(" |")
    op, *arguments = call.split()
    keys = {}
    for item in config.split():
        key, _, rest = item.partition("=")
        theirs, _, default = (rest or key).partition(":")
        keys[key] = (theirs, {"": None, "False": False}.get(default, default and _number(default)))
    return Words(f"ops.{op}", tuple(arguments), keys)


def _number(text: str) -> Any:
    return int(text) if text.lstrip("-").isdigit() else text


WORDS = {name: words(text) for names, text in SAME.items() for name in names.split()}


def AS_IT_COMES(inputs: Sequence[Any], config: Mapping[str, Any]) -> list[Arrangement]:
    """The op of Keras has the rule."""
    return [x.arrangement for x in inputs]


AS_IT_COMES.follows = True  # type: ignore[attr-defined]  # an image before it may be channels first


def IMAGES(inputs: Sequence[Any], config: Mapping[str, Any]) -> list[Arrangement]:
    """The first input channels first, as the op of Keras will ask for."""
    return [channels_first(x.rank) if i == 0 else x.arrangement for i, x in enumerate(inputs)]


IMAGES.images = True  # type: ignore[attr-defined]  # an input that comes to it is an image
OF_IMAGES = frozenset(
    name for name, meant in WORDS.items() if meant.op in ("ops.Resize", "ops.DepthToSpace", "ops.SpaceToDepth")
)


@converts(*(f"tf.{name}" for name in WORDS.keys() - OF_IMAGES), layout=AS_IT_COMES)
@converts(*(f"tf.{name}" for name in OF_IMAGES), layout=IMAGES)
def translated(layer: LayerHandle, *inputs: Tree, **arguments: Tree) -> Any:
    meant = WORDS[layer.class_name]
    names = [*meant.arguments, *(theirs for theirs, _ in meant.config.values())]
    given = dict(zip(names, inputs, strict=False)) | arguments
    if any(v.dtype == "shape" for v in values(given)):
        layer.unsupported("it computes with a whole shape", "take single sizes of it, such as tf.shape(x)[1], in Keras")
    for name in given.keys() - set(names):
        if NEUTRAL.get(name) not in (..., given[name]):
            layer.unsupported(f"the argument {name}={given[name]!r:.40}", "leave it out in Keras")
    call = [given.get(name) for name in meant.arguments]
    config = {key: given.get(theirs, default) for key, (theirs, default) in meant.config.items()}
    return layer.apply(meant.op, *_trimmed(call), **{key: value for key, value in config.items() if value is not None})


def _trimmed(call: list[Any]) -> list[Any]:
    """Without what is not given at the end."""
    while call and call[-1] is None:
        call.pop()
    return call
