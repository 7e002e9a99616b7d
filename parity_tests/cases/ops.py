"""keras.ops element by element: arithmetic with numbers on either side, functions, comparisons, choices, casts."""

from parity_tests.case import case

IN_UNIT = "arccos arcsin arctanh erfinv"
POSITIVE = "log log10 log1p log2 sqrt rsqrt reciprocal"
ANYWHERE = (
    "arcsinh arctan cos cosh sin sinh tan tanh sinc deg2rad rad2deg exp exp2 expm1 cbrt ceil floor fabs i0 angle erf "
    "erfc negative sign trunc signbit absolute abs square round real imag conj copy isfinite isinf isnan isneginf "
    "isposinf isreal stop_gradient"
)
WHOLE = (
    "sin cos tanh exp sqrt log1p floor ceil fabs cbrt angle negative sign trunc signbit absolute square round isnan "
    "isfinite bitwise_invert bitwise_not"
)


def listed(names, x="x"):
    """A model that gives the results of many functions of one tensor."""
    return ", ".join(f"ops.{name}({x})" for name in names.split())


CASES = [
    case("functions of numbers", f"lambda x: [{listed(ANYWHERE)}]", (5, 4), options={"scale": 2.0}),
    case("functions of numbers between -1 and 1", f"lambda x: [{listed(IN_UNIT, 'ops.sin(x)')}]", (5, 4)),
    case("functions of positive numbers", f"lambda x: [{listed(POSITIVE)}, ops.arccosh(x + 1.0)]", (5, 4), options={"positive": True}),
    case("functions of whole numbers", f"lambda i: [{listed(WHOLE, 'i')}]", ("int32", 5)),
    case("functions of images", "lambda x: Conv2D(3, 2)(ops.exp(ops.sin(Conv2D(4, 3)(x))))", (6, 6, 2), permutes=0),
    case("functions of flattened images", "lambda x: Dense(3)(ops.tanh(Flatten()(Conv2D(4, 3)(x))))", (6, 5, 2), permutes=0),
    case("not a number", "lambda x: [ops.isnan(ops.log(x)), ops.isinf(1 / ops.relu(x)), ops.isfinite(ops.log(ops.relu(x))), ops.nan_to_num(ops.log(x)), ops.nan_to_num(ops.log(x), nan=1.5), ops.nan_to_num(1 / ops.relu(x), posinf=7.0), ops.isposinf(1 / ops.relu(x)), ops.isneginf(-1 / ops.relu(x)), ops.isreal(x)]", (5, 4)),
    case("rounded", "lambda x: [ops.round(x), ops.round(x, 1), ops.round(100 * x, -1), ops.round(x * 2.0) / 2.0]", (5, 4), options={"scale": 3.0}),
    case("a number on the right", "lambda x: [x + 1, x - 2.5, x * 2, x / 3, x ** 2, x ** 0.5, x // 0.3, x % 0.7, ops.power(x, 3), ops.mod(x, 2), ops.floor_divide(x, 2)]", (5, 4), options={"positive": True}),
    case("a number on the left", "lambda x: [1 + x, 2.5 - x, 2 * x, 3 / x, 2 ** x, 0.5 ** x, 3 // x, 0.7 % x, ops.power(2.0, x)]", (5, 4), options={"positive": True}),
    case("quotients of negative numbers", "lambda x, y: [x // y, x % y, x / y, x // 0.1, x % -0.7, ops.fmod(x, y), ops.divide_no_nan(x, ops.relu(y)), ops.true_divide(x, y)]", (5, 4), (5, 4), options={"scale": 3.0}),
    case("exact quotients", "lambda x: [(x * 0 + 1.0) // 0.1, (x * 0 + 1.0) % 0.1, ops.round(x) // 1.0]", (5,)),
    case("two tensors", "lambda x, y: [x + y, x - y, x * y, x / y, -x, abs(x), ops.arctan2(x, y), ops.hypot(x, y), ops.logaddexp(x, y), ops.maximum(x, y), ops.minimum(x, y), ops.fmax(x, y), ops.fmin(x, y), ops.heaviside(x, y), ops.heaviside(ops.round(x), y)]", (5, 4), (5, 4)),
    case("logaddexp2", "lambda x, y: ops.logaddexp2(x, y)", (5, 4), (5, 4), leak=5e-9, because="Keras casts log(2) from float32"),
    case("tensors of unequal rank", "lambda x, y, z: [x + y[:, None], y[:, None] * x, z - x[:, None], ops.where(y[:, None] > 0, x, x[:, :1]), ops.maximum(z, y[:, None, None]), x[0] + z, x[0] * x]", (5, 4), (4,), (3, 5, 4)),
    case("an image and a vector", "lambda x, y: (lambda c: Conv2D(2, 2)(c * y[:, None, None, :] + ops.expand_dims(ops.sigmoid(y), (1, 2))))(Conv2D(4, 3)(x))", (6, 6, 2), (4,), permutes=0),
    case("an image and an array", "lambda x: (lambda c: Conv2D(2, 2)(c * np.arange(4, dtype='float32') - np.arange(16, dtype='float32').reshape(4, 4, 1)))(Conv2D(4, 3)(x))", (6, 6, 2), permutes=0),
    case("a flattened image and an array", "lambda x: Dense(3)(Flatten()(Conv2D(4, 3)(x)) * np.arange(64, dtype='float32'))", (6, 6, 2)),
    case("an array of higher rank", "lambda x: x[0] + np.arange(40, dtype='float32').reshape(2, 5, 4)", (5, 4)),
    case("an array of higher rank than an image", "lambda x: Conv2D(4, 3)(x)[:, 0, 0] + np.arange(8, dtype='float32').reshape(2, 1, 4)", (6, 6, 2)),
    case("arrays", "lambda x: [x + np.arange(4, dtype='float32'), x * np.arange(4), ops.subtract(np.float32(2.5), x), ops.maximum(x, np.array([0.1, -0.2, 0.3, 0.0], 'float32')), x > np.array([0.1, -0.2, 0.3, 0.0], 'float32'), x - ops.convert_to_tensor([0.1, 0.2, 0.3, 0.4])]", (5, 4)),
    case("one array at several layers", "lambda x: (x - np.array([0.1, 0.2], 'float32')) / np.array([0.1, 0.2], 'float32')", (5, 2)),
    case("whole numbers", "lambda i, j: [i + j, i - 1, i * j, i // (j + 1), i % (j + 1), i ** 2, -i, ops.maximum(i, j), ops.minimum(i, 7), ops.gcd(i, j), ops.lcm(i, j), ops.square(i), i // 3, i % 3, 100 // (i + 1), -i // 7, -i % 7]", ("int32", 5), ("int32", 5)),
    case("whole numbers that become floats", "lambda i, j: [i / j, i / 3, i * 0.1, 0.3 - i, i ** 0.5, ops.maximum(i, 0.5), ops.arctan2(i, j), ops.hypot(i, j), i + 0.7, i // 0.3, ops.where(i > 3, i, 0.5)]", ("int32", 5), ("int32", 5)),
    case("whole numbers and floats", "lambda i, x: [i * x, x - i, i / x, ops.maximum(i, x), x ** i, ops.where(x > 0, i, x), ops.ldexp(x, i), ops.stack([i, x], axis=1), ops.concatenate([x, i], axis=1)]", ("int32", 5), (5,), options={"high": 6}),
    case("ids scaled for a dense layer", "lambda i: Dense(3)(i * 0.1)", ("int32", 5)),
    case("bits", "lambda i, j: [ops.bitwise_and(i, j), ops.bitwise_or(i, np.array([6, 5, 4, 3, 2])), ops.bitwise_xor(i, j), ops.bitwise_left_shift(i, 2), ops.bitwise_right_shift(i, 1), ops.left_shift(i, j % 5), ops.right_shift(i, j % 5), ops.bitwise_invert(i)]", ("int32", 5), ("int32", 5)),
    case("comparisons", "lambda x, y: [x > y, x >= 0.5, x < y, x <= 0, ops.equal(x, ops.round(x)), x != y, ops.greater(0, x), ops.equal(x, 0.5), ops.not_equal(x, y)]", (5, 4), (5, 4)),
    case("comparisons of whole numbers", "lambda i: [i > 3, i >= 2.5, ops.equal(i, 0), i != 0, ops.less(i, np.array([1, 2, 3, 4, 5]))]", ("int32", 5)),
    case("logic", "lambda x, y: [(x > 0) & (y > 0), (x > 0) | (y > 0), ~(x > 0), (x > 0) ^ (y > 0), ops.logical_and(x, y > 0), ops.logical_not(ops.relu(x)), ops.logical_xor(x > 0, True), ops.logical_or(ops.relu(x), ops.relu(y))]", (5, 4), (5, 4)),
    case("a mask in arithmetic", "lambda x, i: [x * (i != 0), 1.0 - ops.cast(i != 0, 'float32'), x - (i != 0), (i != 0) * 0.1, ops.cast(i > 3, 'int32') - 1, 0.3 - (x > 0), (1 - ops.cast(i != 0, 'float32')) * -1e9 + x]", (5,), ("int32", 5)),
    case("close", "lambda x: [ops.isclose(x, x + 1e-6), ops.isclose(x, 0.5, atol=0.3), ops.isclose(ops.log(x), ops.log(x), equal_nan=True), ops.isclose(1 / ops.relu(x), 1 / ops.relu(x)), ops.isclose(x, x + 1e-3, rtol=1e-2)]", (5, 4)),
    case("where", "lambda x, y: [ops.where(x > 0, x, y), ops.where(x > 0, x, 0.0), ops.where(x > 0, 1, x), ops.where(x > 0, 0.1, 0.3), ops.where(x > 0, 1, 0), ops.where(x > 0, 1, 0.3), ops.where(ops.relu(x), x, -1e9), ops.where(np.array([True, False, True, True]), x, y)]", (5, 4), (5, 4)),
    case("a mask of minus infinity", "lambda x, i: [ops.softmax(ops.where(i != 0, x, -np.inf)), ops.max(ops.where(x > 0, x, -float('inf')), axis=1), ops.where(x > 0, x, np.nan)]", (5,), ("int32", 5), options={"high": 3}),
    case("select", "lambda x, y: [ops.select([x > 1, x > 0], [x, y], 0.5), ops.select([x > 0.3, x > 0.1], [x, y])]", (5, 4), (5, 4)),
    case("clip", "lambda x: [ops.clip(x, -0.5, 0.5), ops.clip(x, 0, 1), ops.clip(x, 0.0, 6.0) / 6.0, ops.maximum(x, 0.0), ops.minimum(x, 0.1), ops.maximum(0.2, x)]", (5, 4)),
    case("clip of whole numbers", "lambda i: [ops.clip(i, 1, 7), ops.clip(ops.cast(i, 'bool'), 0, 1)]", ("int32", 5)),
    case("casts of floats", "lambda x: [ops.cast(x, 'float32'), ops.cast(x * 10, 'int32'), ops.cast(x, 'bool'), ops.cast(x * 3, 'int64'), ops.cast(ops.minimum(ops.abs(x) * 9, 255), 'uint8'), ops.cast(ops.cast(x, 'float16'), 'float32')]", (5, 4)),
    case("casts of whole numbers", "lambda i: [ops.cast(i, 'float32') / 3, ops.cast(i, 'bool'), ops.cast(i, 'int64'), ops.cast(i, 'int8'), ops.cast(ops.cast(i != 0, 'float32') * 0.1, 'float32'), ops.saturate_cast(i * 30, 'uint8'), ops.saturate_cast(i * 30 - 600, 'int8'), ops.convert_to_tensor(i, dtype='float32') * 0.1]", ("int32", 5)),
    case("cast before a dense layer", "lambda i: Dense(3)(ops.cast(i, 'float32') / 255.0)", ("uint8", 5)),
    case("a mask by hand", "lambda i: (lambda e: ops.sum(e * ops.cast(i != 0, 'float32')[:, :, None], axis=1) / ops.maximum(ops.sum(ops.cast(i != 0, 'float32'), axis=1, keepdims=True), 1.0))(Embedding(50, 4)(i))", ("int32", 7)),
    case("membership", "lambda i: [ops.isin(i, np.array([1, 2, 3, 30])), ops.isin(i, np.array([7, 8]), invert=True)]", ("int32", 5)),
    case("like another", "lambda x, i: [ops.ones_like(x) + x, ops.zeros_like(x), ops.full_like(x, 0.3), ops.ones_like(i, dtype='float32') * 0.1, ops.full_like(i, 3), ops.zeros_like(x, dtype='int32'), ops.ones_like(x, dtype='bool'), ops.empty_like(x), ops.full_like(x, 0.7) * x, ops.full_like(x, x[:, :1])]", (5, 4), ("int32", 5)),
    case("squeeze and excite by ops", "lambda x: (lambda c: Conv2D(2, 2)(c * Dense(4, activation='sigmoid')(ops.mean(c, axis=(1, 2), keepdims=True))))(Conv2D(4, 3)(x))", (6, 6, 2)),
    case("hard swish by hand", "lambda x: (lambda c: Conv2D(2, 2)(c * ops.relu6(c + 3.0) / 6.0))(Conv2D(4, 3)(x))", (6, 6, 2), permutes=0),
]
