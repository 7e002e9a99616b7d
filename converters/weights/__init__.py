"""Weight expressions: how arrays of the model file become a tensor of the PyTorch model, and back.

An expression is stored, not just done: the same one maps the weights, an optimizer's slots, a gradient,
a newer checkpoint, and, by `restore`, trained PyTorch weights into the arrays of the Keras file.
"""

from converters.weights.arrays import Array, Read, evaluate, numpy_dtype, restore
from converters.weights.expressions import (
    Concat,
    Constant,
    Flip,
    Leaf,
    Reshape,
    Shape,
    Slice,
    Transpose,
    Weight,
    WeightSource,
    concat,
    constant,
    merged_axes,
)
from converters.weights.json import from_json, to_json

__all__ = [
    "Array",
    "Concat",
    "Constant",
    "Flip",
    "Leaf",
    "Read",
    "Reshape",
    "Shape",
    "Slice",
    "Transpose",
    "Weight",
    "WeightSource",
    "concat",
    "constant",
    "evaluate",
    "from_json",
    "merged_axes",
    "numpy_dtype",
    "restore",
    "to_json",
]
