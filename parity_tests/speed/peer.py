"""The usual road on the same file: tf2onnx, then onnx2torch. Prints what is left to train."""

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import onnx2torch  # isort: skip  # before TensorFlow: the other way round aborts the process
import keras  # noqa: TID251
import tensorflow as tf  # noqa: TID251
import tf2onnx  # noqa: TID251

model = keras.models.load_model(sys.argv[1], compile=False)
trainable = sum(
    int(w.shape.num_elements() if hasattr(w.shape, "num_elements") else tf.size(w)) for w in model.trainable_weights
)
signature = [tf.TensorSpec((None, *model.inputs[0].shape[1:]), model.inputs[0].dtype, name="x")]
try:
    onnx_model, _ = tf2onnx.convert.from_function(tf.function(model, input_signature=signature), signature, opset=13)
    module = onnx2torch.convert(onnx_model)
    kept = sum(p.numel() for p in module.parameters() if p.requires_grad)
    print(f"{kept / 1e6:.1f} of {trainable / 1e6:.1f} M trainable parameters left")
except Exception as error:
    print(f"fails: {type(error).__name__}: {str(error).splitlines()[0][:120]}")
