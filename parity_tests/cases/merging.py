"""Layers that merge, with unequal ranks and flattened branches."""

from parity_tests.case import case

CASES = [
    *(case(f"{name} of images", f"lambda x: {name}()([Conv2D(4, 3)(x), Conv2D(4, 3)(x)])", (6, 6, 2), permutes=0) for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")),
    case("add of three", "lambda x, y, z: Add()([x, y, z])", (5,), (5,), (5,)),
    case("squeeze and excite", "lambda x: (lambda c: Multiply()([c, Dense(4, activation='sigmoid')(Dense(2, activation='relu')(GlobalAveragePooling2D()(c)))]))(Conv2D(4, 3)(x))", (6, 6, 2), permutes=0),
    case("squeeze and excite by reshape and conv", "lambda x: (lambda c: Multiply()([c, Conv2D(4, 1, activation='sigmoid')(Reshape((1, 1, 4))(GlobalAveragePooling2D()(c)))]))(Conv2D(4, 3)(x))", (6, 6, 2), permutes=0),
    case("squeeze and excite by dense of images", "lambda x: (lambda c: Multiply()([c, Dense(4, activation='hard_sigmoid')(Dense(2, activation='swish', use_bias=False)(GlobalAveragePooling2D(keepdims=True)(c)))]))(Conv2D(4, 3)(x))", (6, 6, 2), permutes=0),
    case("squeeze and excite by reshape, normalized", "lambda x: (lambda c: Multiply()([c, Activation('sigmoid')(Dense(4)(Dropout(0.2)(ReLU()(BatchNormalization()(Dense(2)(Reshape((1, 1, 4))(GlobalAveragePooling2D()(c))))))))]))(Conv2D(4, 3)(x))", (6, 6, 2), permutes=0),
    case("squeeze and excite with reshape last", "lambda x: (lambda c: Multiply()([c, Reshape((1, 1, 4))(Dense(4, activation='sigmoid')(GlobalAveragePooling2D()(c)))]))(Conv2D(4, 3)(x))", (None, None, 2), permutes=0),
    case("squeeze and excite of steps", "lambda x: (lambda c: Multiply()([c, Dense(4, activation='sigmoid')(Dense(2, activation='relu')(Reshape((1, 4))(GlobalAveragePooling1D()(c))))]))(Conv1D(4, 3)(x))", (9, 2), permutes=2),
    case("squeeze and excite of volumes", "lambda x: (lambda c: Multiply()([c, LayerNormalization()(Dense(4)(GlobalMaxPooling3D(keepdims=True)(c)))]))(Conv3D(4, 2)(x))", (4, 5, 4, 2), permutes=0),
    case("channel attention", "lambda x: (lambda c, a, b: Multiply()([c, Activation('sigmoid')(Add()([b(a(GlobalAveragePooling2D(keepdims=True)(c))), b(a(GlobalMaxPooling2D(keepdims=True)(c)))]))]))(Conv2D(4, 3)(x), Dense(2, activation='relu'), Dense(4))", (6, 6, 2), permutes=0),
    case("a gate that is an output, and read by a convolution", "lambda x: (lambda c: (lambda m, g: [Multiply()([c, g]), g, Conv2D(3, 1)(m), Conv2D(2, 1)(g)])(GlobalAveragePooling2D(keepdims=True)(c), Dense(4, activation='sigmoid')(GlobalAveragePooling2D(keepdims=True)(c))))(Conv2D(4, 3)(x))", (6, 6, 2)),
    case("a gate of one channel", "lambda x: (lambda c: Multiply()([c, Dense(1, activation='sigmoid')(GlobalAveragePooling2D(keepdims=True)(c))]))(Conv2D(4, 3)(x))", (6, 6, 2), permutes=0),
    case("add of unequal ranks", "lambda x, y: Add()([x, y])", (5, 4), (4,)),
    case("images disagree", "lambda x: Add()([Conv2D(4, 1)(x), Dense(4)(x)])", (6, 6, 2)),
    case("concatenate channels", "lambda x: Concatenate()([Conv2D(4, 3)(x), Conv2D(2, 3)(x)])", (6, 6, 2), permutes=0),
    case("concatenate rows", "lambda x: Concatenate(axis=1)([Conv2D(4, 3)(x), Conv2D(4, 3)(x)])", (6, 6, 2), permutes=0),
    case("concatenate flattened", "lambda x, y: Dense(3)(Concatenate()([Flatten()(Conv2D(4, 3)(x)), y, Flatten()(Conv2D(2, 3)(x))]))", (6, 5, 2), (7,), permutes=0),
    case("concatenate flattened, as output", "lambda x, y: Concatenate()([Flatten()(Conv2D(4, 3)(x)), y])", (6, 5, 2), (7,)),
    case("dot", "lambda x, y: Dot(axes=1)([x, y])", (5,), (5,)),
    case("dot normalized", "lambda x, y: Dot(axes=-1, normalize=True)([x, y])", (5,), (5,)),
    case("dot of matrices", "lambda x, y: Dot(axes=(1, 2))([x, y])", (5, 3), (4, 5)),
    case("dot rank 3 and 2", "lambda x, y: Dot(axes=(2, 1))([x, y])", (5, 3), (3,)),
    case("dot rank 4", "lambda x, y: Dot(axes=(3, 1))([x, y])", (2, 5, 3), (3, 4)),
]
