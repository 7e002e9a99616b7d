"""Functions of TensorFlow that models of Keras 2 hold as layers."""

from functools import partial

from parity_tests.case import case

old = partial(case, generation=2, formats=("h5", "keras"))

CASES = [
    old("arithmetic", "lambda x, y: [x + y, x - y, x * y, x / y, x + 1, 1 - x, 2.0 * x, x / 3, 1.0 / (x + 9.0), x ** 2, 2 ** x, -x, abs(x), x // 0.3, x % 0.7, tf.maximum(x, 0.1), tf.minimum(x, y), tf.math.squared_difference(x, y), tf.math.add_n([x, y, x]), tf.math.divide_no_nan(x, tf.nn.relu(y)), tf.math.atan2(x, y)]", (5, 4), (5, 4)),
    old("arrays in arithmetic", "lambda x: [x + np.array([0.5, 0.25, -1.0, 2.0], 'float32'), x * tf.constant([0.5, 0.25, -1.0, 2.0]), tf.nn.bias_add(x, np.array([0.5, 0.25, -1.0, 2.0], 'float32'))]", (5, 4)),
    old("functions", "lambda x: [tf.exp(x), tf.math.log1p(tf.abs(x)), tf.sqrt(tf.square(x)), tf.math.rsqrt(tf.square(x) + 1.0), tf.sin(x), tf.cos(x), tf.tanh(x), tf.sigmoid(x), tf.round(x), tf.floor(x), tf.math.ceil(x), tf.sign(x), tf.math.erf(x), tf.math.reciprocal(tf.exp(x)), tf.math.softplus(x), tf.math.log_sigmoid(x), tf.identity(x), tf.stop_gradient(x), tf.zeros_like(x), tf.ones_like(x), tf.math.asinh(x), tf.math.expm1(x)]", (5, 4)),
    old("activations", "lambda x: [tf.nn.relu(x), tf.nn.relu6(x), tf.nn.leaky_relu(x), tf.nn.leaky_relu(x, alpha=0.1), tf.nn.elu(x), tf.nn.selu(x), tf.nn.gelu(x), tf.nn.gelu(x, approximate=True), tf.nn.swish(x), tf.nn.softsign(x), tf.nn.softmax(x), tf.nn.softmax(x, axis=1), tf.nn.log_softmax(x), tf.nn.crelu(x), keras.backend.hard_sigmoid(x), keras.activations.gelu(x)]", (5, 4), options={"scale": 3.0}),
    old("comparisons", "lambda x, y: [x > y, x >= 0.5, x < y, x <= 0, tf.equal(x, tf.round(x)), tf.not_equal(x, y), (x > 0) & (y > 0), (x > 0) | (y > 0), ~(x > 0), tf.where(x > 0, x, y), tf.where(x > 0, x, 0.0), tf.clip_by_value(x, -0.5, 0.5), tf.clip_by_value(x, -0.5, y + 9.0), tf.math.is_nan(tf.math.log(x))]", (5, 4), (5, 4)),
    old("casts", "lambda x, i: [tf.cast(i, tf.float32) * 0.1, tf.cast(x * 10, tf.int32), tf.cast(i != 0, tf.float32) if False else tf.cast(tf.not_equal(i, 0), tf.float32), tf.one_hot(i, 7), tf.gather(x[0], i % 5), tf.gather(x, [0, 2], axis=1), tf.one_hot(i, 7, axis=1)]", (5, 4), ("int32", 3)),
    old("reductions", "lambda x: [tf.reduce_mean(x, axis=1), tf.reduce_sum(x, 1), tf.reduce_max(x, axis=[1, 2]), tf.reduce_min(x, axis=-1, keepdims=True), tf.reduce_prod(x, axis=1), tf.reduce_any(x > 1, axis=1), tf.math.reduce_std(x, axis=1), tf.math.reduce_variance(x, axis=2), tf.reduce_logsumexp(x, axis=1), tf.argmax(x, axis=-1), tf.argmin(x, axis=1), tf.cumsum(x, axis=1), tf.norm(x, axis=1), tf.norm(x, ord=1, axis=1), tf.reduce_mean(x), *tf.nn.moments(x, [1]), tf.sort(x, axis=1), *tf.math.top_k(x, 2), tf.math.l2_normalize(x, -1)]", (5, 4)),
    old("shapes", "lambda x, y: [tf.reshape(x, (-1, 24)), tf.reshape(x, (-1, 2, 12)), tf.transpose(x, [0, 2, 1]), tf.transpose(x), tf.expand_dims(x, 1), tf.squeeze(tf.expand_dims(x, 1), 1), tf.concat([x, y], -1), tf.stack([x, y], axis=1), *tf.split(x, 2, axis=1), *tf.split(x, [1, -1, 2], axis=2), *tf.unstack(x, axis=1), tf.tile(x, [1, 2, 1]), tf.repeat(x, 2, axis=1), tf.reverse(x, [1]), tf.roll(x, 1, axis=1), tf.pad(x, [[0, 0], [1, 1], [0, 2]]), tf.pad(x, [[0, 0], [1, 1], [0, 0]], mode='REFLECT'), tf.slice(x, [0, 1, 0], [-1, 2, 3]), keras.backend.batch_flatten(x), keras.backend.repeat_elements(x, 2, 1), tf.linalg.band_part(x, -1, 0), tf.linalg.band_part(x, 1, 2)]", (4, 6), (4, 6)),
    old("items", "lambda x: [x[:, 0], x[:, 1:3], x[:, ::-1], x[0], x[:, -1, 2:], x[:, ::2, 1], tf.strided_slice(x, [0, 1, 0], [2, 3, 4])]", (4, 6), options={"batches": (3, 2)}),
    old("shapes at run time", "lambda x: [tf.reshape(x, (tf.shape(x)[0], 24)), tf.reshape(x, (tf.shape(x)[0], tf.shape(x)[1], 2, 3)), tf.reshape(x * 2.0, tf.shape(x))]", (4, 6)),
    old("shapes of steps at run time", "lambda x: [tf.reshape(x, (tf.shape(x)[0], tf.shape(x)[1], 2, 3)), tf.reshape(x, (-1, tf.shape(x)[1] * 2, 3)), tf.reshape(x * 2.0, tf.shape(x))]", (None, 6)),
    old("products", "lambda x, y: [x @ y, tf.matmul(x, x, transpose_b=True), tf.matmul(x, np.arange(12, dtype='float32').reshape(6, 2)), tf.tensordot(x, y[0], 1), keras.backend.batch_dot(x, y), tf.matmul(x, x, transpose_a=True)]", (4, 6), (6, 4)),
    old("attention by hand", "lambda x: tf.nn.softmax(tf.matmul(Dense(4)(x), Dense(4)(x), transpose_b=True) / 2.0) @ Dense(4)(x)", (5, 6)),
    old("images", "lambda x: (lambda c: Conv2D(2, 2)(tf.nn.relu6(c + 3.0) * c / 6.0 + tf.nn.sigmoid(tf.reduce_mean(c, [1, 2], keepdims=True))))(Conv2D(4, 3)(x))", (6, 6, 2), permutes=0),
    old("images concatenated", "lambda x: (lambda c: Conv2D(2, 2)(tf.concat([c, tf.nn.relu(c)], axis=-1)[:, 1:, :-1]))(Conv2D(4, 3)(x))", (6, 6, 2), permutes=0),
    old("images split and joined", "lambda x: (lambda p: Conv2D(2, 2)(tf.concat([p[1], p[0]], -1)))(tf.split(Conv2D(4, 3)(x), 2, axis=-1))", (6, 6, 2), permutes=0),
    old("windows", "lambda x: [tf.nn.max_pool2d(x, 2, 2, 'SAME'), tf.nn.avg_pool2d(x, 2, 1, 'VALID'), tf.nn.max_pool(x, [2, 3], 2, 'VALID'), tf.nn.conv2d(x, np.arange(54, dtype='float32').reshape(3, 3, 2, 3) / 50, 1, 'SAME'), tf.nn.conv2d(x, np.arange(54, dtype='float32').reshape(3, 3, 2, 3) / 50, 2, 'VALID'), tf.nn.space_to_depth(x, 2), tf.nn.depth_to_space(tf.concat([x, x], -1), 2)]", (6, 8, 2), permutes=0),
    old("resized", "lambda x: [tf.image.resize(x, (8, 9), method='nearest'), keras.backend.resize_images(x, 2, 2, 'channels_last')]", (6, 5, 2), permutes=0),
    old("numbers before a dense layer", "lambda x: Dense(3)(tf.cast(x, tf.float32) / 255.0)", ("uint8", 5)),
]
