"""A float64 run in float64 throughout: what Keras and TensorFlow would round to float32 on the way."""

import sys

import numpy as np

DONE = []  # whether `in_float64` has been called
WIDE = []  # while a function runs that casts to float32 what is wider: the dtype that it shall take instead


def keep_precision():
    """Keras 3: Python numbers go straight to the asked dtype. (On JAX they do, but float64 is not kept as a result.)"""
    import keras

    if keras.backend.backend() != "tensorflow":
        table = getattr(sys.modules["keras.src.backend.common.dtypes"], "BIT64_TO_BIT32_DTYPE", {})
        table.update(float64="float64", complex128="complex128")
        return
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

    replace_everywhere(("keras",), cast, exact_cast)
    replace_everywhere(("keras",), convert, exact_convert)


def keep_precision2(keras):
    """The same for Keras 2, where a number may stand in front of a tensor: 1 - x."""
    import tensorflow as tf

    call = keras.layers.Layer.__call__

    def exact_call(self, *args, **kwargs):
        typed = [tf.constant(x, keras.backend.floatx()) if isinstance(x, float) else x for x in args]
        return call(self, *typed, **kwargs)

    keras.layers.Layer.__call__ = exact_call
    old = getattr(keras.optimizers, "legacy", keras.optimizers)
    exact_settings(keras, getattr(old, "Optimizer", None))
    wide_losses(keras)
    fused_in_float64(tf, keras)


def exact_settings(keras, optimizer):
    """The optimizers of TensorFlow 2.4 to 2.10 keep their settings in float32 variables, unless they are told."""
    if optimizer is None or not hasattr(optimizer, "_create_hypers"):
        return
    add_weight = optimizer.add_weight

    def typed_weight(self, name, shape, dtype=None, initializer="zeros", *args, **kwargs):
        if isinstance(initializer, float):
            initializer = np.asarray(initializer, keras.backend.floatx())
        return add_weight(self, name, shape, dtype, initializer, *args, **kwargs)

    optimizer.add_weight = typed_weight


def wide_losses(keras):
    """Up to TensorFlow 2.12 losses are cast to float32 before they are summed."""
    for name, module in list(sys.modules.items()):
        if name.endswith("keras.utils.losses_utils") or name.endswith("keras.src.utils.losses_utils"):
            module.compute_weighted_loss = without_casts(keras, module.compute_weighted_loss)


def without_casts(keras, function):
    def wide(*args, **kwargs):
        WIDE.append(keras.backend.floatx())
        try:
            return function(*args, **kwargs)
        finally:
            WIDE.pop()

    return wide


def fused_in_float64(tf, keras):
    """Keras 2 keeps the unbiased variance where its fused kernel runs, in float32 only; float64 shall do the same."""
    norm = keras.layers.BatchNormalization
    moments, update = norm._calculate_mean_and_var, norm._assign_moving_average
    ranks = (4,) if tuple(map(int, keras.__version__.split(".")[:2])) < (2, 5) else (4, 5)

    def exact_moments(self, x, *args, **kwargs):
        axes, rank = list(self.axis), len(x.shape)
        fused = rank in ranks and axes in ([1], [rank - 1]) and not (self.renorm or self.virtual_batch_size)
        self._factor = None
        if fused and x.dtype == tf.float64:
            count = tf.cast(tf.size(x), x.dtype) / tf.cast(tf.shape(x)[axes[0]], x.dtype)
            self._factor = count / tf.maximum(count - tf.constant(1.0, x.dtype), tf.constant(1.0, x.dtype))
        return moments(self, x, *args, **kwargs)

    def exact_update(self, variable, value, momentum, *args, **kwargs):
        if getattr(self, "_factor", None) is not None and variable is self.moving_variance:
            value = value * self._factor
        return update(self, variable, value, tf.constant(momentum, variable.dtype), *args, **kwargs)

    norm._calculate_mean_and_var, norm._assign_moving_average = exact_moments, exact_update


def replace_everywhere(roots, old, new):
    """Every module of some packages that holds a function gets another."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in roots and module is not None:
            for attribute, value in list(vars(module).items()):
                if value is old:
                    setattr(module, attribute, new)


def plain_floats(x):
    """Whether x is a Python float, or lists of them."""
    if isinstance(x, (list, tuple)):
        return bool(x) and all(plain_floats(item) for item in x)
    return isinstance(x, float)


def in_float64():
    """TensorFlow functions whose float64 kernel is missing or holds a float32 number, made of others that are exact."""
    import tensorflow as tf
    from tensorflow.python.ops import gen_nn_ops, math_ops

    if DONE:
        return
    DONE.append(True)
    leaky_relu, tf_cast = gen_nn_ops.leaky_relu, math_ops.cast

    def exact_cast(x, dtype, name=None):
        if isinstance(x, float):
            return tf.constant(x, dtype)
        return tf_cast(x, WIDE[-1] if WIDE and dtype == "float32" else dtype, name)

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
