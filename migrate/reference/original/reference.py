"""A Keras of one generation, on TensorFlow or JAX: how it loads, runs and differentiates a model in one precision."""

import contextlib
import gc
import json
import sys
import tempfile

import numpy as np

from .files import check_safe, kind_of, read_config, retyped, tagged_weights
from .precision import in_float64, keep_precision, keep_precision2

WRAPPED = (
    "layer",
    "forward_layer",
    "backward_layer",
    "cell",
)  # as configs call what is wrapped; an LSTM has a cell, too


class Reference:
    """`generation`: 2 (tf_keras, or the Keras of an old TensorFlow) or 3."""

    def __init__(self, generation):
        if generation >= 3:
            self.keras = keras3()
        else:
            self.keras = keras2()
        self.generation = generation
        self.backend = self.keras.backend.backend() if generation >= 3 else "tensorflow"
        if self.backend == "tensorflow":
            in_float64()
        version = tuple(map(int, self.keras.__version__.split(".")[:2]))
        self.compiles = version >= (2, 9)  # whether a model can be trained by XLA
        if generation >= 3:
            keep_precision()
        else:
            keep_precision2(self.keras)
        gc.freeze()  # each `clear_session` collects garbage: without it, two thirds of the time of a small model

    def versions(self):
        """Of what runs the model, by name."""
        found = {"python": sys.version.split()[0], "numpy": np.__version__}
        found.update(keras=self.keras.__version__, backend=self.backend)
        found[self.backend] = __import__(self.backend).__version__
        return found

    # -- loading ---------------------------------------------------------------------------------------

    def load(self, path, dtype, weights="", trust=False, tags=None, input_shape=None):
        """The model of a file, built in `dtype` from the start. `tags`: see `files.retyped`.

        `weights`: the file of the weights of an architecture. Raises Refused for a file that holds code.
        """
        if not trust:
            check_safe(list(read_config(path)))
        self.keras.backend.clear_session()
        options = {"compile": False}
        if self.generation >= 3:
            options["safe_mode"] = not trust
        with self.precision(dtype), tempfile.TemporaryDirectory() as folder:
            copy = retyped(path, folder, dtype, self.generation, None if weights else tags)
            if kind_of(path) != "json":
                model = self.keras.models.load_model(copy, **options)
            else:
                model = self.of_json(copy, trust)
            if not getattr(model, "built", True) or not getattr(model, "inputs", None):
                model.build((None,) + tuple(input_shape or ()))
            if weights:
                model.load_weights(weights if tags is None else tagged_weights(weights, folder, tags))
            if self.generation >= 3:
                self.freeze_within(model)
            return model

    def freeze_within(self, model):
        """Keras 3 forgets, as it loads, that parts which a frozen layer makes for itself are frozen too.

        What a wrapper wraps is no such part: it has a flag of its own, which holds whatever the wrapper's says.
        """
        for layer in model.layers:
            self.freeze_parts(layer)

    def freeze_parts(self, layer):
        if isinstance(layer, self.keras.Model):
            self.freeze_within(layer)
            return
        # An LSTM has a cell as well, of which its config does not speak.
        wrapped = [name for name in WRAPPED if hasattr(layer, name) and name in layer.get_config()]
        for name in wrapped:
            self.freeze_parts(getattr(layer, name))
        if not layer.trainable and not wrapped:
            layer.trainable = True  # or it finds nothing to change
            layer.trainable = False

    def of_json(self, path, trust):
        """The model of an architecture, its weights fresh."""
        with open(path, encoding="utf-8-sig") as file:
            config = json.load(file)
        if isinstance(config, list):
            config = {"class_name": "Sequential", "config": config}
        if "class_name" not in config:
            config = {"class_name": "Functional" if "output_layers" in config else "Sequential", "config": config}
        if self.generation >= 3 and trust:
            self.keras.config.enable_unsafe_deserialization()
        return self.keras.models.model_from_json(json.dumps(config))

    @contextlib.contextmanager
    def precision(self, dtype):
        """Everything that is made within is of this dtype where it states none."""
        before = self.keras.backend.floatx()
        self.set_precision(dtype)
        try:
            yield
        finally:
            self.set_precision(before)

    def set_precision(self, dtype):
        if self.backend == "jax":
            import jax

            jax.config.update("jax_enable_x64", dtype == "float64")
            jax.config.update("jax_default_matmul_precision", "highest")
        self.keras.backend.set_floatx(dtype)
        if self.generation >= 3:
            self.keras.config.set_dtype_policy(dtype)

    # -- running ---------------------------------------------------------------------------------------

    def run(self, path, inputs, dtype):
        """Outputs in inference mode, as a flat list of arrays, for each set of inputs (a list of arrays)."""
        model = self.load(path, dtype)
        with self.precision(dtype):
            return [self.forward(model, arrays, dtype) for arrays in inputs]

    def forward(self, model, arrays, dtype):
        """Outputs in inference mode, as a flat list of arrays."""
        outputs = self.call(model, self.pack(model, self.tensors(arrays, dtype)))
        return [np.asarray(value) for value in flatten(outputs)]

    def call(self, model, inputs, training=False):
        return self.attempt(lambda x: model(x, training=training), inputs)

    def attempt(self, function, *args):
        """What TensorFlow has no CPU kernel for (channels first, some dilations), XLA compiles."""
        if self.backend != "tensorflow":
            return function(*args)
        import tensorflow as tf

        try:
            return function(*args)
        except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError, tf.errors.NotFoundError):
            return compiled(tf, function)(*args)

    def tensors(self, arrays, dtype):
        """Tensors of arrays, the floats among them in `dtype`."""
        typed = [array.astype(dtype) if array.dtype.kind == "f" else array for array in arrays]
        if self.generation >= 3:
            return [self.keras.ops.convert_to_tensor(array) for array in typed]
        import tensorflow as tf

        return [tf.constant(array) for array in typed]

    def pack(self, model, tensors):
        """Tensors in the structure that the model takes, from the order of its flattened inputs."""
        structure = getattr(model, "_inputs_struct", None)
        if structure is None:
            structure = getattr(model, "_nested_inputs", None)
        if self.generation >= 3 and structure is not None:
            from keras import tree

            return tree.pack_sequence_as(structure, tensors)
        return tensors[0] if len(tensors) == 1 else tensors

    # -- variables -------------------------------------------------------------------------------------

    def assign(self, variable, array):
        variable.assign(np.asarray(array).astype(dtype_of(variable)))


def keras3():
    import keras

    if keras.__version__.startswith("2"):
        raise ImportError("Keras %s is installed; a file of Keras 3 needs Keras 3" % keras.__version__)
    return keras


def keras2():
    """tf_keras, or the Keras of a TensorFlow that still had version 2."""
    try:
        import tf_keras

        return tf_keras
    except ImportError:
        from tensorflow import keras

        if keras.__version__.startswith("2"):
            return keras
        raise


def compiled(tf, function):
    """A function as XLA compiles it."""
    try:
        return tf.function(function, jit_compile=True)
    except (TypeError, ValueError):  # TensorFlow 2.4
        return tf.function(function, experimental_compile=True)


def flatten(tree):
    """The leaves of nested lists, tuples and dicts (by sorted key, as Keras has them)."""
    if isinstance(tree, (list, tuple)):
        return [leaf for item in tree for leaf in flatten(item)]
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in flatten(tree[key])]
    return [tree]


def value_of(variable):
    """The numbers of a variable; None where they are no numbers (the state of a random generator)."""
    try:
        return np.asarray(variable.numpy() if hasattr(variable, "numpy") else variable)
    except (TypeError, ValueError, NotImplementedError):
        return None


def dtype_of(variable):
    """The numpy name of its dtype."""
    dtype = variable.dtype
    return dtype if isinstance(dtype, str) else getattr(dtype, "name", str(dtype))


def name_of(variable):
    """`dense/kernel`."""
    return str(getattr(variable, "path", variable.name)).split(":")[0]
