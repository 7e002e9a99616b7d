"""Runs the training cases with Keras in float64 and saves what comes out: `python reference_training.py OUT.npz`.

A process of its own, started once for all tests: TensorFlow and torch do not live together.
"""
# ruff: noqa: TID251

import json
import os
import sys
from pathlib import Path

os.environ.update(
    TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", KERAS_BACKEND="tensorflow", TF_ENABLE_ONEDNN_OPTS="0"
)

import keras
import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parent))
import training_cases as cases


def keep_precision():
    """Python floats become tensors of the asked type at once, not by way of float32."""
    core, tf_cast = keras.src.backend.tensorflow.core, tf.cast
    cast, convert = core.cast, core.convert_to_tensor

    def exact_cast(x, dtype):
        return tf.constant(x, keras.backend.standardize_dtype(dtype)) if isinstance(x, float) else cast(x, dtype)

    def exact_convert(x, dtype=None, *args, **kwargs):
        if isinstance(x, float):
            return tf.constant(x, keras.backend.standardize_dtype(dtype or keras.backend.floatx()))
        return convert(x, dtype, *args, **kwargs)

    for name, module in list(sys.modules.items()):
        if name.startswith("keras."):
            for old, new in ((cast, exact_cast), (convert, exact_convert)):
                for attribute, value in list(vars(module).items()):
                    if value is old:
                        setattr(module, attribute, new)
    in_top_k = tf.math.in_top_k  # knows float32 only
    tf.math.in_top_k = lambda targets, predictions, k: in_top_k(targets, tf_cast(predictions, tf.float32), k)
    tf.cast = lambda x, dtype, name=None: tf.constant(x, dtype) if isinstance(x, float) else tf_cast(x, dtype, name)


def make_variables():
    made = []
    for index, (path, shape) in enumerate(cases.VARIABLES):
        layer, name = path.split("/")
        with keras.name_scope(layer):
            made.append(keras.Variable(cases.start(index), name=name, shape=shape, dtype="float64"))
    return made


def applied(optimizer, variables):
    """One step as a graph, which is faster over 20 of them."""
    return tf.function(lambda gradients: optimizer.apply(gradients, variables))


def applied_slices(optimizer, variable):
    shape = tf.constant(variable.shape, tf.int64)
    return tf.function(lambda ids, values: optimizer.apply([tf.IndexedSlices(values, ids, shape)], [variable]))


def optimizers(out):
    for name, (class_name, config) in cases.optimizers().items():
        made = keras.saving.deserialize_keras_object(cases.inner(class_name, **json.loads(json.dumps(config))))
        variables = make_variables()
        made.build(variables)
        out[f"config/{name}"] = json.dumps(keras.saving.serialize_keras_object(made))
        apply = applied(made, variables)
        for step in range(cases.STEPS):
            scale = made.dynamic_scale.numpy() if class_name == "LossScaleOptimizer" else 1.0
            apply([tf.constant(cases.gradient(index, step) * scale) for index in range(len(variables))])
            for index, variable in enumerate(variables):
                out[f"optimizer/{name}/{index}/{step}"] = variable.numpy()
        made.finalize_variable_values(variables)
        for index, variable in enumerate(variables):
            out[f"optimizer/{name}/{index}/end"] = variable.numpy()


def sparse(out):
    """One embedding whose gradients are the slices of its tokens."""
    for name, (class_name, config) in cases.SPARSE.items():
        made = keras.saving.deserialize_keras_object(cases.inner(class_name, **config))
        variable = make_variables()[3]
        made.build([variable])
        out[f"config/sparse-{name}"] = json.dumps(keras.saving.serialize_keras_object(made))
        apply = applied_slices(made, variable)
        for step in range(cases.STEPS):
            apply(*map(tf.constant, cases.tokens(step)))
            out[f"sparse/{name}/{step}"] = variable.numpy()


def schedules(out):
    for name, config in cases.SCHEDULES.items():
        made = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
        out[f"schedule/{name}"] = np.array(
            [float(made(tf.constant(step, tf.int64))) for step in range(3 * cases.STEPS)]
        )


def losses(out):
    """Values and gradients of each loss under each reduction, without and with weights."""
    for number, (class_name, kind, config) in enumerate(cases.LOSSES):
        outputs, targets = cases.batch(kind)
        single = getattr(keras.losses, class_name)(**config, reduction="none")(targets, outputs).numpy().shape
        for reduction in cases.REDUCTIONS:
            made = getattr(keras.losses, class_name)(**config, reduction=reduction)
            out[f"config/loss-{number}-{reduction}"] = json.dumps(keras.saving.serialize_keras_object(made))
            for weighted in (False, True):
                weights = cases.weights(targets, single) if weighted and single else None
                x = tf.Variable(outputs)
                with tf.GradientTape() as tape:
                    value = made(tf.constant(targets), tf.convert_to_tensor(x), sample_weight=weights)
                out[f"loss/{number}/{reduction}/{weighted}"] = value.numpy()
                out[f"loss/{number}/{reduction}/{weighted}/gradient"] = tf.convert_to_tensor(tape.gradient(value, x))


def metrics(out):
    """The result after each of three updates, without and with weights."""
    for number, (class_name, kind, config) in enumerate(cases.METRICS):
        for weighted in (False, True):
            if weighted and not cases.takes_weights(class_name, kind):
                continue
            made = getattr(keras.metrics, class_name)(**config)
            out[f"config/metric-{number}"] = json.dumps(keras.saving.serialize_keras_object(made))
            for update in range(3):
                outputs, targets, weights = cases.metric_batch(kind, update)
                made.update_state(targets, outputs, sample_weight=weights if weighted else None)
                out[f"metric/{number}/{weighted}/{update}"] = np.asarray(made.result())


PARTS = (optimizers, sparse, schedules, losses, metrics)

if __name__ == "__main__":
    keras.backend.set_floatx("float64")
    keep_precision()
    results: dict = {}
    for part in PARTS:
        if len(sys.argv) < 3 or part.__name__ in sys.argv[2:]:
            part(results)
    np.savez(sys.argv[1], **results)
