"""The reference: runs the original model in its own framework. Started as a process; files in, files out.

Stands alone: needs numpy and the TensorFlow and Keras of whatever interpreter runs it. One request a line on
stdin, as JSON; one answer a line on stdout: {"ok": true, ...} or {"ok": false, "error": "..."}.
"""

import contextlib
import json
import os
import sys
import tempfile
import traceback
import zipfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np


class Reference:
    """A Keras of one generation, and how it loads and runs a model in a given precision."""

    def __init__(self, generation):
        if generation >= 3:
            import keras
        else:
            keras = keras2()
        self.keras, self.generation = keras, generation

    def load(self, path, dtype):
        """The model of a file, built in `dtype` from the start."""
        self.keras.backend.clear_session()
        with self.precision(dtype), tempfile.TemporaryDirectory() as folder:
            return self.keras.models.load_model(retyped(path, folder, dtype), compile=False)

    @contextlib.contextmanager
    def precision(self, dtype):
        before = self.keras.backend.floatx()
        self.keras.backend.set_floatx(dtype)
        if self.generation >= 3:
            self.keras.config.set_dtype_policy(dtype)
        try:
            yield
        finally:
            self.keras.backend.set_floatx(before)
            if self.generation >= 3:
                self.keras.config.set_dtype_policy(before)

    def run(self, path, inputs, dtype):
        """Outputs in inference mode, as a flat list of arrays, for each set of inputs (a list of arrays)."""
        model = self.load(path, dtype)
        with self.precision(dtype):
            results = []
            for arrays in inputs:
                outputs = self.call(model, self.structured(model, arrays, dtype))
                results.append([np.asarray(value) for value in flatten(outputs)])
            return results

    def call(self, model, inputs):
        """Inference. What TensorFlow has no CPU kernel for (channels first, some dilations), XLA compiles."""
        import tensorflow as tf

        try:
            return model(inputs, training=False)
        except (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError, tf.errors.NotFoundError):
            return tf.function(lambda x: model(x, training=False), jit_compile=True)(inputs)

    def structured(self, model, arrays, dtype):
        """Arrays in the structure that the model takes, in the order of its flattened inputs."""
        tensors = [
            self.keras.ops.convert_to_tensor(array.astype(dtype) if array.dtype.kind == "f" else array)
            if self.generation >= 3
            else array.astype(dtype)
            if array.dtype.kind == "f"
            else array
            for array in arrays
        ]
        structure = getattr(model, "_inputs_struct", None)
        if structure is None:
            structure = getattr(model, "_nested_inputs", None)
        if self.generation >= 3 and structure is not None:
            from keras import tree

            return tree.pack_sequence_as(structure, tensors)
        return tensors[0] if len(tensors) == 1 else tensors


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


def flatten(tree):
    """The leaves of nested lists, tuples and dicts (by sorted key, as Keras has them)."""
    if isinstance(tree, (list, tuple)):
        return [leaf for item in tree for leaf in flatten(item)]
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in flatten(tree[key])]
    return [tree]


def retyped(path, folder, dtype):
    """A copy of a model file whose layers compute in `dtype`; the file itself for float32."""
    if dtype == "float32":
        return path
    copy = os.path.join(folder, os.path.basename(path))
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
            for name in old.namelist():
                data = old.read(name)
                if name == "config.json":
                    data = json.dumps(retyped_config(json.loads(data), dtype)).encode()
                new.writestr(name, data)
        return copy
    import shutil

    import h5py

    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        config = file.attrs["model_config"]
        config = config.decode() if isinstance(config, bytes) else config
        del file.attrs["model_config"]
        file.attrs["model_config"] = json.dumps(retyped_config(json.loads(config), dtype))
    return copy


def retyped_config(config, dtype):
    """The config with every float32 that is a dtype replaced: of policies, layers, inputs and casts.

    Numbers that passed through float32 on their way into the file are what they were meant to be.
    """
    if isinstance(config, list):
        return [retyped_config(item, dtype) for item in config]
    if isinstance(config, float):
        return short(config)
    if not isinstance(config, dict):
        return config
    changed = {}
    for key, value in config.items():
        is_dtype = key == "dtype" or (key == "name" and "DTypePolicy" in str(config.get("class_name", "")))
        changed[key] = dtype if is_dtype and value == "float32" else retyped_config(value, dtype)
    if "DTypePolicy" in str(changed.get("class_name", "")) and changed.get("config", {}).get("name") == "float32":
        changed["config"] = dict(changed["config"], name=dtype)
    return changed


def short(number):
    """0.0010000000474974513 as 0.001; the reader of model files does the same (`migrate/readers/data.py`)."""
    if abs(number) > np.finfo(np.float32).max or float(np.float32(number)) != number:
        return number
    written = str(np.float32(number))
    return float(written) if len(written) + 4 < len(repr(number)) else number


def keep_precision():
    """A float64 run of Keras 3 in float64 throughout: Python numbers go straight to the asked dtype, where Keras
    would round them to float32 on the way."""
    import keras
    import tensorflow as tf

    core = sys.modules["keras.src.backend.tensorflow.core"]
    cast, convert = core.cast, core.convert_to_tensor

    def exact_cast(x, dtype):
        if plain_floats(x):
            return tf.constant(x, keras.backend.standardize_dtype(dtype))
        return cast(x, dtype)

    def exact_convert(x, dtype=None, *args, **kwargs):
        if plain_floats(x):
            return tf.constant(x, keras.backend.standardize_dtype(dtype or keras.backend.floatx()))
        return convert(x, dtype, *args, **kwargs)

    for name, module in list(sys.modules.items()):
        if name.startswith("keras."):
            for old, new in ((cast, exact_cast), (convert, exact_convert)):
                for attribute, value in list(vars(module).items()):
                    if value is old:
                        setattr(module, attribute, new)


def keep_precision2(keras):
    """The same for Keras 2, where a number may stand in front of a tensor: 1 - x."""
    import tensorflow as tf

    call = keras.layers.Layer.__call__

    def exact_call(self, *args, **kwargs):
        typed = [tf.constant(x, keras.backend.floatx()) if isinstance(x, float) else x for x in args]
        return call(self, *typed, **kwargs)

    keras.layers.Layer.__call__ = exact_call


def plain_floats(x):
    """Whether x is a Python float, or lists of them."""
    if isinstance(x, (list, tuple)):
        return bool(x) and all(plain_floats(item) for item in x)
    return isinstance(x, float)


def in_float64():
    """TensorFlow functions whose float64 kernel is missing or holds a float32 number, made of others that are exact."""
    import tensorflow as tf
    from tensorflow.python.ops import gen_nn_ops, math_ops

    leaky_relu, tf_cast = gen_nn_ops.leaky_relu, math_ops.cast

    def exact_cast(x, dtype, name=None):
        return tf.constant(x, dtype) if isinstance(x, float) else tf_cast(x, dtype, name)

    def exact_leaky_relu(features, alpha=0.2, name=None):
        if features.dtype != tf.float64:
            return leaky_relu(features, alpha, name)
        return tf.where(features > 0, features, tf.constant(alpha, tf.float64) * features)

    math_ops.cast, gen_nn_ops.leaky_relu = exact_cast, exact_leaky_relu
    for module in (tf, tf.compat.v2):  # Keras 2 takes its functions from the second
        module.cast = exact_cast
    in_top_k = tf.math.in_top_k
    tf.math.in_top_k = lambda targets, predictions, k: in_top_k(targets, tf.cast(predictions, tf.float32), k)
    gen_nn_ops.max_pool3d = by_planes(tf, gen_nn_ops.max_pool3d, tf.nn.max_pool2d, ("SAME", "VALID"))
    gen_nn_ops.avg_pool3d = by_planes(tf, gen_nn_ops.avg_pool3d, tf.nn.avg_pool2d, ("VALID",))


def by_planes(tf, pool_3d, pool_2d, paddings):
    """Pooling of float64 (N, D, H, W, C) by planes, then along depth, where that is the same."""

    def pool(input, ksize, strides, padding, data_format="NDHWC", name=None):
        if input.dtype != tf.float64 or padding not in paddings or data_format != "NDHWC":
            return pool_3d(input, ksize, strides, padding, data_format, name)
        n, d, h, w, c = tf.unstack(tf.shape(input))
        planes = pool_2d(tf.reshape(input, (n * d, h, w, c)), ksize[2:4], strides[2:4], padding)
        _, h, w, _ = tf.unstack(tf.shape(planes))
        columns = pool_2d(tf.reshape(planes, (n, d, h * w, c)), [ksize[1], 1], [strides[1], 1], padding)
        return tf.reshape(columns, (n, -1, h, w, c))

    return pool


class Worker:
    """Answers requests; keeps what is slow to make."""

    def __init__(self):
        self.references = {}

    def reference(self, generation):
        if generation not in self.references:
            if not self.references:
                in_float64()
            self.references[generation] = Reference(generation)
            if generation >= 3:
                keep_precision()
            else:
                keep_precision2(self.references[generation].keras)
        return self.references[generation]

    def answer(self, request):
        what = request.pop("do")
        if what == "versions":
            return self.versions()
        if what == "build":
            sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
            from build import build

            return build(self.reference(request.get("generation", 3)), **request)
        if what == "save":
            sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
            from build import save

            return save(self.reference(request.get("generation", 3)), **request)
        if what == "run":
            return self.run(**request)
        raise ValueError("unknown request: " + what)

    def run(self, model, inputs, outputs, dtypes, generation=3):
        """Runs a model file on the arrays of an .npz (`set/input`) in each precision; writes `dtype/set/output`."""
        reference = self.reference(generation)
        sets = input_sets(np.load(inputs))
        found = {}
        for dtype in dtypes:
            for number, result in enumerate(reference.run(model, sets, dtype)):
                found.update({"%s/%d/%d" % (dtype, number, i): array for i, array in enumerate(result)})
        np.savez(outputs, **found)
        return {"outputs": outputs}

    def versions(self):
        import tensorflow as tf

        return {"tensorflow": tf.__version__, "keras": self.reference(3).keras.__version__}


def input_sets(arrays):
    """[[input, ...], ...] of an .npz with the keys `set/input`."""
    sets = {}
    for key in arrays.files:
        number, position = map(int, key.split("/"))
        sets.setdefault(number, {})[position] = arrays[key]
    return [[sets[n][p] for p in sorted(sets[n])] for n in sorted(sets)]


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what TensorFlow prints must not mix with the answers
    worker = Worker()
    for line in sys.stdin:
        try:
            answer = dict(worker.answer(json.loads(line)), ok=True)
        except Exception as error:  # a model can fail in any way; the answer says how
            answer = {"ok": False, "error": "%s: %s" % (type(error).__name__, error), "trace": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
