"""Normalizations, with the axis and the partial affine forms."""

from parity_tests.case import case

CASES = [
    case("batchnorm after conv", "Conv2D(4, 3, use_bias=False), BatchNormalization(), Activation('relu')", (6, 6, 2), permutes=0),
    *(
        case(f"batchnorm center {c} scale {s}", f"Dense(4), BatchNormalization(center={c}, scale={s}, epsilon=1e-5)", (5,))
        for c in (True, False)
        for s in (True, False)
    ),
    case("batchnorm no scale 2d", "Conv2D(4, 3), BatchNormalization(scale=False, momentum=0.9)", (6, 6, 2)),
    case("batchnorm of steps", "Conv1D(4, 3), BatchNormalization()", (9, 2)),
    case("batchnorm rank 3 input", "BatchNormalization()", (9, 2)),
    case("batchnorm axis 1", "BatchNormalization(axis=1)", (6, 7, 3)),
    case("batchnorm axis 2", "BatchNormalization(axis=2), Conv2D(2, 3)", (6, 7, 3)),
    case("batchnorm 3d", "Conv3D(3, 2), BatchNormalization()", (4, 5, 4, 2)),
    case("flatten batchnorm dense", "Conv2D(4, 3), Flatten(), BatchNormalization(), Activation('tanh'), Dense(3)", (6, 5, 2), permutes=0),
    case("flatten batchnorm output", "Conv2D(4, 3), Flatten(), BatchNormalization()", (6, 5, 2)),
    case("batchnorm frozen", "Conv2D(4, 3, trainable=False), BatchNormalization(trainable=False)", (6, 6, 2)),
    case("layernorm", "Dense(6), LayerNormalization()", (5,)),
    case("layernorm of images", "Conv2D(4, 3), LayerNormalization(epsilon=1e-6), Conv2D(2, 3)", (8, 8, 2), permutes=2),
    case("layernorm all axes of an image", "Conv2D(4, 3), LayerNormalization(axis=[1, 2, 3])", (6, 7, 2), permutes=0),
    case("layernorm axis 1", "LayerNormalization(axis=1)", (6, 7, 3)),
    case("layernorm two axes", "LayerNormalization(axis=[2, 3])", (6, 7, 3)),
    case("layernorm of flattened", "Conv2D(4, 3), Flatten(), LayerNormalization(), Dense(3)", (6, 5, 2), permutes=0),
    *(
        case(f"layernorm center {c} scale {s}", f"LayerNormalization(center={c}, scale={s})", (5, 4))
        for c in (True, False)
        for s in (True, False)
    ),
    case("group normalization", "Conv2D(6, 3), GroupNormalization(3)", (6, 6, 2), permutes=0),
    case("group normalization of each channel", "Conv2D(6, 3), GroupNormalization(-1, scale=False)", (6, 6, 2), permutes=0),
    case("group normalization of steps", "GroupNormalization(2, center=False, epsilon=1e-5)", (5, 4)),
    case("group normalization along rows", "GroupNormalization(2, axis=1, center=False, scale=False)", (4, 3, 5)),
    case("unit normalization", "Dense(6), UnitNormalization()", (5,)),
    case("unit normalization of images", "Conv2D(4, 3), UnitNormalization(axis=[1, 3])", (6, 6, 2), permutes=0),
    case("normalization adapted", "Normalization(), Conv2D(3, 3)", (6, 6, 3), permutes=0),
    case("normalization by numbers", "Normalization(mean=[0.1, 0.2, 0.3], variance=[1.5, 2.0, 0.5]), Conv2D(3, 3)", (6, 6, 3), permutes=0),
    case("normalization by one number", "Normalization(axis=None, mean=0.1, variance=1.5)", (6,)),
    case("normalization inverted", "Normalization(axis=(1, 3), invert=True), Conv2D(3, 3)", (6, 5, 3), permutes=0),
    case("normalization axis none", "Normalization(axis=None)", (6, 2)),
    case("rescaling", "Rescaling(1 / 127.5, offset=-1), Conv2D(3, 3)", (6, 6, 3), permutes=0),
    case("rescaling by channel", "Rescaling([0.1, 0.2, 0.3], offset=[1.0, 2.0, 3.0]), Conv2D(3, 3)", (6, 6, 3), permutes=0),
]
