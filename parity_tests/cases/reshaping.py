"""Layers that move elements; a permute only where the weights cannot absorb it."""

from parity_tests.case import case

FLOAT32_RESIZE = "TensorFlow resizes in float32 whatever the dtype of its input"
BICUBIC_TABLE = "TensorFlow takes the coefficients of its bicubic from a table of 1024 offsets; a third is not among them"

CASES = [
    case("flatten conv dense", "Conv2D(4, 3), Flatten(), Dense(5)", (6, 5, 3), permutes=0),
    case("flatten conv dropout relu dense", "Conv2D(4, 3), Flatten(), Dropout(0.5), Activation('relu'), Dense(5)", (6, 5, 3), permutes=0),
    case("flatten conv, as output", "Conv2D(4, 3), Flatten()", (6, 5, 3), permutes=1),
    case("flatten to a shared dense", "lambda x, y: (lambda d: [d(Flatten()(Conv2D(4, 3)(x))), d(y)])(Dense(3))", (6, 5, 2), (48,)),
    case("flatten channels first", "Conv2D(4, 3), Flatten(data_format='channels_first'), Dense(3)", (6, 5, 2)),
    case("flatten 3d", "Conv3D(4, 2), Flatten(), Dense(3)", (4, 5, 3, 2), permutes=0),
    case("flatten steps", "Conv1D(4, 2), Flatten(), Dense(3)", (9, 2)),
    case("flatten softmax", "Conv2D(4, 3), Flatten(), Activation('softmax'), Dense(2)", (6, 5, 3)),
    case("dense reshape conv", "Dense(48), BatchNormalization(), LeakyReLU(), Reshape((3, 4, 4)), Conv2DTranspose(2, 3, strides=2)", (7,), permutes=1),
    case("reshape", "Reshape((3, 4)), Dense(5)", (12,)),
    case("reshape -1", "Reshape((-1, 2)), Dense(5)", (3, 4)),
    case("reshape dynamic", "Reshape((-1, 2)), Dense(5)", (None, 4)),
    case("reshape of images", "Conv2D(4, 3), Reshape((-1, 4)), Dense(2)", (6, 5, 3)),
    case("reshape to a vector", "Conv2D(4, 3), Reshape((48,)), Dense(2)", (6, 5, 3)),
    case("keepdims reshape", "Conv2D(4, 3), GlobalAveragePooling2D(keepdims=True), Conv2D(3, 1), Reshape((3,))", (6, 5, 3), permutes=0),
    case("permute", "Permute((2, 1)), Dense(5)", (3, 4)),
    case("permute before conv", "Permute((2, 1, 3)), Conv2D(3, 2)", (5, 4, 2)),
    case("permute of images, as output", "Conv2D(3, 2), Permute((3, 1, 2))", (5, 4, 2)),
    case("permute twice", "Conv2D(3, 2), Permute((3, 1, 2)), Permute((2, 3, 1)), Conv2D(2, 2)", (5, 4, 2), permutes=0),
    case("repeat vector", "RepeatVector(3), Dense(2)", (4,)),
    case("zero padding", "ZeroPadding2D(3), Conv2D(4, 7, strides=2)", (8, 8, 3), permutes=0),
    case("zero padding asymmetric", "ZeroPadding2D(((0, 1), (2, 0))), Conv2D(4, 3, strides=2)", (8, 8, 3), permutes=0),
    case("zero padding before pooling", "Conv2D(4, 3), ZeroPadding2D(1), MaxPooling2D(3, strides=2)", (8, 8, 3), permutes=0),
    case("zero padding 1d", "ZeroPadding1D((1, 2)), Conv1D(3, 3)", (6, 2)),
    case("zero padding 3d", "ZeroPadding3D(1)", (3, 4, 3, 2)),
    case("zero padding before pooling of positives", "Conv2D(4, 3, activation='relu'), ZeroPadding2D(1), MaxPooling2D(3, strides=2)", (8, 8, 3), permutes=0),
    case("zero padding read twice", "lambda x: (lambda p: Add()([Conv2D(3, 3)(p), Conv2D(3, 3)(p)]))(ZeroPadding2D(1)(x))", (6, 6, 2)),
    case("cropping 1d", "Cropping1D((1, 2))", (7, 2)),
    case("cropping 2d", "Cropping2D(((1, 0), (0, 2))), Conv2D(2, 2)", (7, 6, 2), permutes=0),
    case("cropping 3d", "Cropping3D(1)", (4, 5, 4, 2)),
    case("up sampling nearest", "UpSampling2D((2, 3)), Conv2D(2, 2)", (4, 5, 2), permutes=0),
    case("up sampling bilinear", "UpSampling2D((2, 3), interpolation='bilinear'), Conv2D(2, 2)", (4, 5, 2), leak=5e-7, because=FLOAT32_RESIZE),
    case("up sampling bicubic", "UpSampling2D(2, interpolation='bicubic'), Conv2D(2, 2)", (4, 5, 2), leak=5e-7, because=FLOAT32_RESIZE),
    case("up sampling bicubic by 3", "UpSampling2D(3, interpolation='bicubic'), Conv2D(2, 2)", (4, 5, 2), leak=2e-3, because=BICUBIC_TABLE),
    case("up sampling 1d", "UpSampling1D(3)", (4, 2)),
    case("up sampling 3d", "UpSampling3D(2)", (2, 3, 2, 2)),
    case("up sampling dynamic", "Conv2D(2, 2), UpSampling2D(2, interpolation='bilinear')", (None, None, 2), leak=5e-7, because=FLOAT32_RESIZE),
    case("dense on images", "Conv2D(4, 3), Dense(5), Conv2D(2, 1)", (6, 5, 2)),
]
