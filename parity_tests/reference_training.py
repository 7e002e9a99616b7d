"""Runs the training cases with Keras in float64 and saves what comes out: `python reference_training.py OUT.npz`.

A process of its own, started once for all tests: TensorFlow and torch do not live together.
"""
# ruff: noqa: TID251

import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path

os.environ.update(
    TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", KERAS_BACKEND="tensorflow", TF_ENABLE_ONEDNN_OPTS="0"
)

import h5py
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
    tf.cast = tf.compat.v2.cast = lambda x, dtype, name=None: (
        tf.constant(x, dtype) if isinstance(x, float) else tf_cast(x, dtype, name)
    )


def make_variables():
    made = []
    for index, (path, shape) in enumerate(cases.VARIABLES):
        layer, name = path.split("/")
        with keras.name_scope(layer):
            made.append(keras.Variable(cases.start(index), name=name, shape=shape, dtype="float64"))
    return made


def applied(optimizer, variables):
    """One step as a graph, which is faster over 20 of them."""
    return tf.function(lambda gradients: optimizer.apply(gradients, variables), autograph=False)


def applied_slices(optimizer, variable):
    shape = tf.constant(variable.shape, tf.int64)
    return tf.function(
        lambda ids, values: optimizer.apply([tf.IndexedSlices(values, ids, shape)], [variable]), autograph=False
    )


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


def weights(out):
    """Penalties of weights, weights after a constraint, and drawn initial values, at other seeds than PyTorch's."""
    for name, (class_name, config) in cases.REGULARIZERS.items():
        made = getattr(keras.regularizers, class_name)(**config)
        out[f"config/regularizer-{name}"] = json.dumps(keras.saving.serialize_keras_object(made))
        out[f"regularizer/{name}"] = np.asarray(made(tf.constant(cases.start(0))))
    for name, (class_name, config, index) in cases.CONSTRAINTS.items():
        made = getattr(keras.constraints, class_name)(**config)
        out[f"config/constraint-{name}"] = json.dumps(keras.saving.serialize_keras_object(made))
        out[f"constraint/{name}"] = np.asarray(made(tf.constant(cases.start(index))))
    for name, (class_name, config) in cases.INITIALIZERS.items():
        made = getattr(keras.initializers, class_name)(**config)
        out[f"config/initializer-{name}"] = json.dumps(keras.saving.serialize_keras_object(made))
        for size, shape in cases.SIZES.items():
            out[f"initializer/{name}/{size}"] = np.asarray(made(shape))
    layer = keras.layers.Dense(4, activity_regularizer=keras.regularizers.L1L2(0.1, 0.2))
    layer(tf.zeros((1, 5), tf.float64))
    layer.set_weights([cases.start(0), cases.start(1)])
    layer(tf.constant(cases.start(0)[:4] @ cases.start(0).T))
    out["activity"] = np.asarray(sum(layer.losses))


def callbacks(out):
    """When training stops and which epoch was the best; the learning rate after each epoch."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    for run in range(cases.RUNS):
        model.compile(keras.optimizers.SGD(0.5), "mse")
        model.stop_training = False
        stopping = keras.callbacks.EarlyStopping(**cases.stopping(run))
        plateau = keras.callbacks.ReduceLROnPlateau(**cases.plateau(run))
        rates, last = [], -1
        for one in (stopping, plateau):
            one.set_model(model)
            one.on_train_begin()
        for epoch, value in enumerate(cases.monitored(run)):
            plateau.on_epoch_end(epoch, {"val_loss": float(value)})
            rates.append(float(model.optimizer.learning_rate))
            if last < 0:
                stopping.on_epoch_end(epoch, {"val_loss": float(value)})
                last = epoch if model.stop_training else -1
        out[f"callbacks/{run}/rates"] = np.array(rates)
        out[f"callbacks/{run}/stop"] = np.array([last, stopping.best_epoch])


def small_model(library):
    """Layers whose names are in another order than they are."""
    layers = library.layers
    image = library.Input((5, 5, 2), name="image")
    x = layers.Flatten()(layers.Conv2D(3, 3, activation="tanh", name="conv")(image))
    both = layers.Concatenate()([layers.Dense(4, name="zz")(x), layers.Dense(4, name="dense")(x)])
    return library.Model(image, layers.Dense(3, name="last")(both))


def trainer(model, optimizer, apply):
    """Runs some steps of gradient descent on the mean squared error."""
    weights = model.trainable_variables

    @tf.function(autograph=False)
    def step(images, targets, scale):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(images, training=True) - targets) ** 2) * scale
        apply(tape.gradient(loss, [getattr(w, "value", w) if keras_3(w) else w for w in weights]), weights)

    def train(steps):
        for number in steps:
            images, targets = map(tf.constant, cases.samples(number))
            scale = optimizer.dynamic_scale.numpy() if hasattr(optimizer, "dynamic_scale") else 1.0
            step(images, targets, tf.constant(scale, tf.float64))

    return train


def keras_3(variable):
    return isinstance(variable, keras.Variable)


def saved(out, name, library, model, optimizer, apply, forms):
    """Trains, saves, goes on; the files as bytes, and the weights after that."""
    model.compile(optimizer, "mse")
    train = trainer(model, optimizer, apply)
    train(range(cases.BEFORE))
    for form in forms:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"model.{form}"
            model.save(file)
            as_usual(file)
            out[f"state/{name}/{form}"] = np.frombuffer(file.read_bytes(), np.uint8)
    train(range(cases.BEFORE, cases.BEFORE + cases.AFTER))
    for layer in model.layers:
        for number, array in enumerate(layer.get_weights()):
            out[f"state/{name}/{layer.name}/{number}"] = array


def as_usual(file):
    """A model of the usual float32 in words, the float64 arrays left: what is converted, but for the rounding."""
    if file.suffix == ".h5":
        with h5py.File(file, "r+") as held:
            held.attrs["model_config"] = held.attrs["model_config"].replace("float64", "float32")
        return
    with zipfile.ZipFile(file) as old:
        members = {name: old.read(name) for name in old.namelist()}
    members["config.json"] = members["config.json"].replace(b"float64", b"float32")
    with zipfile.ZipFile(file, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)


def states(out):
    for name, (class_name, config) in cases.STATES.items():
        keras.utils.set_random_seed(1)
        made = keras.saving.deserialize_keras_object(cases.inner(class_name, **json.loads(json.dumps(config))))
        forms = ("keras", "h5") if name in ("Adam", "SGD", "RMSprop") else ("keras",)
        model = small_model(keras)
        made.build(model.trainable_variables)
        saved(out, name, keras, model, made, lambda g, w, made=made: made.apply(g, w), forms)


def states_of_keras_2(out):
    import tf_keras

    tf_keras.backend.set_floatx("float64")
    for name, config in cases.LEGACY.items():
        tf_keras.utils.set_random_seed(1)
        home = tf_keras.optimizers.legacy if name.startswith("legacy") else tf_keras.optimizers
        made = getattr(home, name.removeprefix("legacy."))(learning_rate=cases.LEGACY_RATE, **config)
        model = small_model(tf_keras)
        if hasattr(made, "build"):
            made.build(model.trainable_variables)
        apply = lambda g, w, made=made: made.apply_gradients(zip(g, w, strict=True))  # noqa: E731
        saved(out, f"2-{name}", tf_keras, model, made, apply, ("h5",) if "legacy" in name else ("keras", "h5"))


PARTS = (optimizers, sparse, schedules, losses, metrics, weights, callbacks, states, states_of_keras_2)

if __name__ == "__main__":
    keras.backend.set_floatx("float64")
    keep_precision()
    results: dict = {}
    for part in PARTS:
        if len(sys.argv) < 3 or part.__name__ in sys.argv[2:]:
            part(results)
    np.savez(sys.argv[1], **results)
