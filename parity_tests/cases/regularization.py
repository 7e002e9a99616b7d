"""Layers that act in training only: in inference they pass data on."""

from parity_tests.case import case

CASES = [
    case("dropout", "Dense(4), Dropout(0.5)", (5,)),
    case("dropout of whole samples", "Conv2D(3, 2), Dropout(0.5, noise_shape=(None, 1, 1, 1))", (5, 4, 2)),
    case("dropout with noise shape", "Dropout(0.5, noise_shape=(None, 1, 4))", (5, 4)),
    case("spatial dropout", "Conv2D(4, 3), SpatialDropout2D(0.5)", (6, 6, 2), permutes=0),
    case("spatial dropout 1d", "SpatialDropout1D(0.5)", (6, 2)),
    case("gaussian noise and dropout", "GaussianNoise(0.1), GaussianDropout(0.3)", (5,)),
    case("alpha dropout", "Dense(4, activation='selu'), AlphaDropout(0.2)", (5,)),
    case("activity regularization", "Dense(4), ActivityRegularization(l2=0.1)", (5,)),
]
