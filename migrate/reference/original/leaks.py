"""Float32 that is left inside a float64 run of TensorFlow: found op by op, and measured by disturbing it.

An op whose result is float32 is found by a callback that sees every op. How much it matters is measured, not guessed:
the model runs again with every such result changed at random by its rounding error, and the change is the leak.
"""

import contextlib

import numpy as np

SHORT = {"float32": 2.0**-24, "bfloat16": 2.0**-8, "float16": 2.0**-11}
DRAWS, MARGIN = 3, 4.0  # runs that are compared; what a few random draws may miss of the worst case
ROUNDING = {"float64": 2.0**-53}  # of a run that is as it should be
# What moves or chooses numbers rounds none.
EXACT = set(
    """Abs BroadcastTo Ceil ConcatV2 Const ExpandDims Fill Floor GatherNd GatherV2 Identity IdentityN Max MaxPool
    MaxPool3D Maximum Min Minimum MirrorPad Neg OnesLike Pack Pad PadV2 ReadVariableOp Relu ReluGrad Reshape
    ResourceGather Reverse ReverseV2 Round Select SelectV2 Sign Slice Split SplitV Squeeze StopGradient StridedSlice
    Tile Transpose Unpack ZerosLike""".split()
)
# What adds numbers up, and what adds up products of two tensors.
SUMS = ("Sum", "Mean", "BiasAddGrad", "AvgPool", "AvgPool3D", "Cumsum", "SegmentSum", "UnsortedSegmentSum")
PRODUCTS = ("MatMul", "BatchMatMul", "Conv2D", "Conv3D", "DepthwiseConv2d", "Einsum")
TABLES = {"ResizeBicubic": 2e-3}  # the coefficients come from a table of 1024 steps, whatever the precision


class Leaks:
    """Watches for short floats. `found`: {op: largest error known of it}, since `clear`.

    With `ROUNDING` as its `kinds` it tells instead what the rounding of every single op does to a result.
    """

    def __init__(self, reference, kinds=SHORT):
        self.kinds = kinds
        self.active = reference.backend == "tensorflow"
        self.found, self.random, self.inside, self.watches = {}, None, False, False

    @contextlib.contextmanager
    def watching(self):
        if not self.active or self.watches:
            yield self
            return
        from tensorflow.python.framework import op_callbacks

        op_callbacks.add_op_callback(self.on_op)
        self.watches = True
        try:
            yield self
        finally:
            op_callbacks.remove_op_callback(self.on_op)
            self.watches = False

    def on_op(self, op_type, inputs, attrs, outputs, op_name=None, graph=None):
        """Called after every op, with a list of its results that may be changed in place."""
        if graph is not None or self.inside:
            return
        self.inside = True
        try:
            for place, output in enumerate(outputs):
                kind = self.kind(op_type, inputs, output)
                if kind and self.random is None:
                    op = op_type.decode() if isinstance(op_type, bytes) else op_type
                    self.found[op] = TABLES.get(op, 0.0)
                elif kind and isinstance(outputs, list):
                    times = roundings(op_type, inputs, output) if self.kinds is ROUNDING else 1.0
                    outputs[place] = self.disturbed(output, self.kinds[kind] * times)
        finally:
            self.inside = False

    def kind(self, op_type, inputs, output):
        """The dtype that has rounded a result: its own, or, of a cast, that of the constant that was cast."""
        own = dtype_name(output)
        op_type = op_type.decode() if isinstance(op_type, bytes) else op_type
        if own == "float64" and op_type in EXACT:
            return ""
        if own in self.kinds:
            return own if own == "float64" or inexact(output) else ""
        if own != "float64" or op_type != "Cast" or not hasattr(inputs[0], "numpy"):
            return ""
        given = dtype_name(inputs[0])
        return given if given in self.kinds and inexact(inputs[0]) else ""

    def disturbed(self, tensor, step):
        """The tensor times one plus its rounding error: a product, so that gradients flow through it."""
        import tensorflow as tf

        factors = 1.0 + step * self.random.choice([-2.0, -1.0, 1.0, 2.0], tuple(tensor.shape))
        return tensor * tf.constant(factors, tensor.dtype)

    def size(self, run, expected, share=0.0, draws=DRAWS):
        """The largest change of the arrays that `run` gives, relative to the scale of each, under disturbance.

        `draws`: how often it is disturbed. `share`: of the largest of all scales, which is the least that counts (what
        is left of terms that cancel).
        """
        worst = max(self.found.values()) if self.found else 0.0
        least = share * max([scale(array) for array in expected] or [0.0])
        for draw in range(draws):
            self.random = np.random.RandomState(draw)
            try:
                with self.watching():
                    again = run()
            finally:
                self.random = None
            for one, other in zip(again, expected):
                worst = max(worst, MARGIN * distance(one, other, least))
        return worst

    def clear(self):
        self.found = {}


def rounding(reference, model, arrays, result):
    """The largest relative change of an output of a float64 model if every op is off by its rounding error.

    `result`: its outputs for the `arrays`. 0 where TensorFlow does not run it.
    """
    noise = Leaks(reference, ROUNDING)
    if not noise.active:
        return 0.0
    with reference.precision("float64"):
        return noise.size(lambda: reference.forward(model, arrays, "float64"), result)


def roundings(op_type, inputs, output):
    """By how many times its last digit an op may be off: a sum of n terms by about half the root of n."""
    op = op_type.decode() if isinstance(op_type, bytes) else op_type
    sizes = [float(np.prod(x.shape)) for x in inputs if dtype_name(x) == "float64"]
    made = max(float(np.prod(output.shape)), 1.0)
    if op in SUMS and sizes:
        terms = sizes[0] / made
    elif op.startswith(PRODUCTS) and len(sizes) > 1:
        terms = (sizes[0] * sizes[1] / made) ** 0.5
    else:
        terms = 1.0
    return max(1.0, 0.5 * terms**0.5)


def dtype_name(tensor):
    return getattr(getattr(tensor, "dtype", None), "name", "")


def inexact(tensor):
    """Whether float32 may have rounded a value: short binary fractions are what they were meant to be."""
    values = tensor.numpy().astype("float64") * 1024
    values = values[np.isfinite(values)]
    return bool(values.size) and not np.array_equal(values, np.round(values))


def scale(array):
    """The largest finite magnitude; 0 where there is none."""
    if array is None or np.asarray(array).dtype.kind != "f":
        return 0.0
    finite = np.abs(np.asarray(array, "float64"))[np.isfinite(array)]
    return float(finite.max()) if finite.size else 0.0


def distance(one, other, least=0.0):
    """The largest difference of two arrays, relative to the scale of the second, or to `least` if that is more."""
    if one is None or other is None or np.asarray(other).dtype.kind != "f" or not np.asarray(other).size:
        return 0.0
    one, other = np.asarray(one, "float64"), np.asarray(other, "float64")
    finite = np.isfinite(one) & np.isfinite(other)
    if not finite.any():
        return 0.0
    return float(np.abs(one - other)[finite].max() / (max(scale(other), least) or 1.0))
