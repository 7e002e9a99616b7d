"""Dense, Embedding, Masking and what passes data on."""

from parity_tests.case import case

CASES = [
    case("dense", "Dense(5)", (7,)),
    case("dense relu, no bias", "Dense(5, activation='relu', use_bias=False)", (7,)),
    case("dense of steps", "Dense(5)", (4, 7)),
    case("dense shared", "lambda x, y: (lambda d: [d(x), d(y)])(Dense(3))", (4,), (4,)),
    case("dense frozen", "Dense(5, trainable=False), Dense(3)", (7,)),
    case("embedding", "Embedding(50, 4)", ("int32", 9)),
    case("embedding of float tokens", "Embedding(50, 4)", (3,), options={"positive": True}),
    case("embedding masked", "Embedding(50, 4, mask_zero=True), Dense(3)", ("int32", 9)),
    case("embedding dynamic", "Embedding(50, 4), Conv1D(3, 2)", ("int32", None)),
    case("identity", "Identity(), Dense(3)", (4,)),
    case("masking", "Masking(0.5), Dense(3)", (4, 3)),
    case("several inputs and outputs", "lambda x, y: [Dense(3)(x), Dense(2)(y), Add()([x, y])]", (4,), (4,)),
    case("half precision", "BatchNormalization(dtype='float16'), Dense(4, activation='relu', dtype='float16'), Dense(2, dtype='float16')", ("float16", 5)),
    case("double precision", "Conv2D(3, 3, dtype='float64'), BatchNormalization(dtype='float64'), Flatten(dtype='float64'), Dense(2, dtype='float64')", ("float64", 6, 6, 2)),
    case("brain floats", "Dense(4, activation='relu', dtype='bfloat16'), Dense(2, dtype='bfloat16')", ("float32", 5), formats=("keras", "h5")),
    case("mixed precision", "Conv2D(3, 3, dtype='mixed_float16'), BatchNormalization(dtype='mixed_float16'), Flatten(), Dense(2, dtype='float32')", (6, 6, 2)),
    case("mixed precision of keras 2", "Dense(4, dtype='mixed_bfloat16'), Dense(2, dtype='float16')", (5,), generation=2, formats=("h5",)),
    case("nested model", "lambda x: Dense(2)(keras.Sequential([Dense(4, activation='relu'), Dense(3)], name='tower')(x))", (5,)),
    case("nested model called twice", "lambda x, y: (lambda m: Subtract()([m(x), m(y)]))(keras.Sequential([layers.Input((6, 6, 2)), Conv2D(4, 3), Flatten(), Dense(3)], name='tower'))", (6, 6, 2), (6, 6, 2), permutes=0),
    case("nested frozen model", "lambda x: (lambda m: (setattr(m, 'trainable', False), Dense(2)(m(x)))[1])(keras.Sequential([layers.Input((6, 6, 2)), Conv2D(4, 3), BatchNormalization(), GlobalAveragePooling2D()], name='base'))", (6, 6, 2)),
    case("a call of a nested functional model is an output", "lambda x, y: (lambda m: [m(x), Dense(3)(m(y))])((lambda i: keras.Model(i, Dense(4, activation='relu')(i)))(layers.Input((5,))))", (5,), (5,)),
    case("the second call of a nested functional model is an output", "lambda x: (lambda m: m(m(x)))((lambda i: keras.Model(i, Dense(5, activation='tanh')(i)))(layers.Input((5,))))", (5,)),
    case("both calls of a nested functional model", "lambda x: (lambda m: (lambda y: [y, Dense(2)(m(y))])(m(x)))((lambda i: keras.Model(i, Dense(5, activation='tanh')(i)))(layers.Input((5,))))", (5,)),
]
