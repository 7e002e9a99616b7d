"""Every activation of Keras 3.15, as an argument and as a layer."""

from parity_tests.case import case

NAMES = (
    "relu leaky_relu relu6 softmax celu elu selu softplus softsign squareplus soft_shrink sparse_plus silu gelu tanh "
    "tanh_shrink sigmoid sparse_sigmoid exponential hard_sigmoid hard_silu hard_tanh hard_shrink linear mish "
    "log_softmax log_sigmoid sparsemax swish"
).split()

CASES = [
    *(case(f"activation {name}", f"Dense(6), Activation('{name}')", (5,), options={"scale": 3.0}) for name in NAMES),
    case("activation glu", "Dense(6), Activation('glu')", (5,)),
    *(case(f"conv with {name}", f"Conv2D(4, 3, activation='{name}')", (6, 6, 2), permutes=0) for name in ("glu", "sparsemax", "log_softmax", "silu")),
    case("relu layer, capped", "ReLU(max_value=6.0)", (5, 4), options={"scale": 5.0}),
    case("relu layer, capped at 2", "ReLU(max_value=2.0)", (5, 4), options={"scale": 5.0}),
    case("relu layer, leaky", "ReLU(negative_slope=0.1)", (5, 4), options={"scale": 5.0}),
    case("relu layer, leaky and capped", "ReLU(max_value=2.0, negative_slope=0.1)", (5, 4), options={"scale": 5.0}),
    case("relu layer, threshold", "ReLU(max_value=2.0, negative_slope=0.1, threshold=0.5)", (5, 4), options={"scale": 5.0}),
    case("relu layer, threshold only", "ReLU(threshold=0.5)", (5, 4), options={"scale": 5.0}),
    case("leaky relu layer", "LeakyReLU()", (5, 4)),
    case("elu layer", "ELU(alpha=0.5)", (5, 4)),
    case("prelu", "Dense(6), PReLU()", (5,)),
    case("prelu of images", "Conv2D(4, 3), PReLU()", (6, 5, 2), permutes=0),
    case("prelu shared", "Conv2D(4, 3), PReLU(shared_axes=[1, 2])", (6, 5, 2), permutes=0),
    case("prelu half shared", "Conv2D(4, 3), PReLU(shared_axes=[1])", (6, 5, 2), permutes=0),
    case("softmax layer over channels", "Conv2D(4, 3), Softmax()", (6, 5, 2), permutes=0),
    case("softmax layer over two axes", "Conv2D(4, 3), Softmax(axis=[1, 2])", (6, 5, 2), permutes=0),
    case("softmax masked", "lambda x: Softmax()(x, mask=ops.greater(x, 0.0))", (6,)),
    case("activation as a layer argument", "Dense(4, activation=LeakyReLU(0.1))", (5,)),
]
