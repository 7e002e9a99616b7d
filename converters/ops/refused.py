"""Ops that a PyTorch model cannot hold, or that no two libraries agree on: why, and the way out."""

from __future__ import annotations

DATA_DEPENDENT = "the size of its result depends on the data"
FIXED = "in Keras, use an op whose result has a fixed size"
CODE = "it holds a Python function, which is never run here"
WRITE_OUT = "in Keras, write it with layers and ops that need no function"
SIGNS = "what it computes is not unique: each library picks signs or an order of its own"
UNIQUE = "in Keras, use an op whose result is unique, such as solve, det or svd(compute_uv=False)"
COMPLEX = "it makes a complex tensor, which Keras cannot give to a layer either"
PAIR = "in Keras, keep real and imaginary part as two tensors"
RESAMPLE = "PyTorch samples images at other points, or at their edges in another way"
BEFORE = "do it in the input pipeline, before the model"
BROKEN = "Keras 3 itself cannot run this op in a model that it has saved"
LAYER = "in Keras, use the layer of the same name"
SHAPE = "it gives a shape as a tensor"
NUMBERS = "in Keras, use x.shape, whose sizes are numbers"

_GROUPS: tuple[tuple[str, str, str], ...] = (
    ("Nonzero Unique Bincount Histogram", DATA_DEPENDENT, FIXED),
    ("SegmentSum SegmentMax SegmentMin SegmentProd", DATA_DEPENDENT, FIXED),
    ("Arange", DATA_DEPENDENT, FIXED),
    ("Map Scan AssociativeScan Switch WhileLoop ForiLoop Cond VectorizedMap JVP", CODE, WRITE_OUT),
    ("Eig Eigh Qr LuFactor Lstsq Argpartition", SIGNS, UNIQUE),
    ("Polar ViewAsComplex ViewAsReal", COMPLEX, PAIR),
    ("AffineTransform PerspectiveTransform ElasticTransform MapCoordinates ScaleAndTranslate", RESAMPLE, BEFORE),
    ("ConvTranspose AdaptiveMaxPool AdaptiveAveragePool", BROKEN, LAYER),
    ("Size Ndim", SHAPE, NUMBERS),
    ("CTCLoss CTCDecode SSIM", "it measures what the model predicts", "compute it outside of the model"),
    ("Nextafter View", "it reads the bits of numbers", "in Keras, use arithmetic or cast"),
    ("UnravelIndex", "Keras numbers the axes of tensors of higher rank in the wrong order", "in Keras, use // and %"),
    ("ISTFT", "TensorFlow scales overlapping windows in a way of its own", "transform back outside of the model"),
)

_OLD = {
    "tf.einsum": ("Keras 2 does not save the tensors that it multiplies", "in Keras, use matmul, Dot or EinsumDense"),
    "tf.__operators__.eq": ("Keras 2 does not save what == compares with", "in Keras, use tf.equal"),
    "tf.__operators__.ne": ("Keras 2 does not save what != compares with", "in Keras, use tf.not_equal"),
    "tf.compat.v1.boolean_mask": (DATA_DEPENDENT, FIXED),
    "tf.range": ("it counts up to a size that is known at run time", "in Keras, count in a layer, or state the size"),
    "tf.nn.dropout": ("it drops at random in inference too", "in Keras, use the Dropout layer"),
    "tf.compat.v1.image.resize_bilinear": (RESAMPLE, "in Keras, use tf.image.resize"),
    "layers.TensorFlowOpLayer": (
        "it holds an op of TensorFlow as bytes",
        "save the model again with TensorFlow 2.4 or later",
    ),
}

REFUSED = _OLD | {f"ops.{name}": (reason, way_out) for names, reason, way_out in _GROUPS for name in names.split()}
