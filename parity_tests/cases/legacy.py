"""Models of Keras 2 (tf_keras) in both of its formats, and HDF5 files of Keras 3."""

from functools import partial

from parity_tests.case import case

keras2 = partial(case, formats=("h5", "keras"), generation=2)
hdf5 = partial(case, formats=("h5",))

# Keras flattens dicts by their sorted keys, however they were written.
DICTS = "model: (lambda a, b: keras.Model({'b': b, 'a': a}, {'z': Dense(2)(Subtract()([Dense(3)(a), b])), 'c': Dense(1)(a)}))(keras.Input((4,), name='a'), keras.Input((3,), name='b'))"

NAMES = "Dense(4, name='dense_1'), Dense(5, name='dense'), Dense(4, name='dense_1_1'), Dense(3, name='my_dense')"
TIED = "lambda x: (lambda d: Add()([keras.Sequential([layers.Input((6,)), d, Dense(4)], name='one')(x), keras.Sequential([layers.Input((6,)), d, Dense(4)], name='two')(x)]))(Dense(5, name='tied'))"

CASES = [
    keras2("cnn", "Conv2D(4, 3, padding='same', strides=2), BatchNormalization(), ReLU(), MaxPooling2D(2), Flatten(), Dropout(0.5), Dense(5), LeakyReLU(0.3), Dense(3, activation='softmax')", (12, 12, 3)),
    keras2("activations", "Conv1D(4, 3, activation='hard_sigmoid'), LeakyReLU(.2), ELU(.7), PReLU(), ThresholdedReLU(.1), Activation('selu'), Softmax(), ReLU(6., .1, .2), SpatialDropout1D(.2), GaussianNoise(.1), Activation('gelu')", (9, 8)),
    keras2("activation layers in layers", "Dense(5, activation=LeakyReLU(0.1)), Dense(4, activation=ReLU(max_value=6.0)), Dense(3, activation='swish')", (7,)),
    keras2("convolutions", "DepthwiseConv2D(3, depth_multiplier=2), SeparableConv2D(5, 3), Conv2DTranspose(4, 3, strides=2, padding='same'), UpSampling2D(), ZeroPadding2D(1), Cropping2D(2), MaxPooling2D(), AveragePooling2D(padding='same'), GlobalMaxPooling2D()", (9, 9, 4)),
    keras2("grouped convolution", "Conv2D(4, 3, groups=2), GlobalAveragePooling2D()", (6, 6, 4)),
    keras2("channels first", "Conv2D(4, 3, data_format='channels_first'), MaxPooling2D(2, data_format='channels_first'), Flatten(), Dense(3)", (2, 8, 7)),
    keras2("axis of batchnorm", "Conv2D(4, 3), BatchNormalization(axis=1, scale=False), Flatten(), Dense(2)", (6, 7, 2)),
    keras2("normalizations", "Dense(6), LayerNormalization(epsilon=1e-5), GroupNormalization(2), UnitNormalization()", (5, 4)),
    keras2("rescaling and normalization", "Rescaling(1 / 127.5, offset=-1), Normalization(mean=[0.1, 0.2, 0.3], variance=[1.5, 2.0, 0.5]), Conv2D(3, 3)", (6, 6, 3)),
    keras2("lstm with the old hard sigmoid", "LSTM(5, recurrent_activation='hard_sigmoid', return_sequences=True), GRU(4, recurrent_activation='hard_sigmoid', reset_after=False), Dense(2)", (7, 4)),
    keras2("bidirectional and time distributed", "Bidirectional(LSTM(3, return_sequences=True)), TimeDistributed(Dense(5)), Bidirectional(GRU(4), merge_mode='sum')", (7, 4)),
    keras2("stacked cells", "RNN([LSTMCell(3), GRUCell(4), LSTMCell(2)])", (7, 4)),
    keras2("embedding", "Embedding(50, 4, mask_zero=True), LSTM(5), Dense(2)", ("int32", 9)),
    keras2("attention", "lambda x: GlobalAveragePooling1D()(Add()([x, LayerNormalization()(MultiHeadAttention(2, 3)(x, x))]))", (7, 4)),
    keras2("several inputs and outputs", "lambda x, y: [Dense(3)(Concatenate()([Dense(3)(y), Dense(2)(x)])), Dot(axes=1)([x, y])]", (4,), (4,)),
    keras2("dicts of inputs and outputs", DICTS, (4,), (3,)),
    case("keras 3 dicts of inputs and outputs", DICTS, (4,), (3,)),
    keras2("shared layer", "lambda x: (lambda d: d(d(x)))(Dense(4, activation='tanh'))", (4,)),
    keras2("nested", "lambda x: Dense(2)(keras.Sequential([Dense(4), BatchNormalization(), Dense(5)], name='tower')(x))", (6,)),
    keras2("nested twice", "lambda x, y: (lambda m: Subtract()([m(x), m(y)]))(keras.Sequential([layers.Input((6, 6, 2)), Conv2D(4, 3), Flatten(), Dense(3)], name='tower'))", (6, 6, 2), (6, 6, 2)),
    keras2("a call of a nested functional model is an output", "lambda x, y: (lambda m: [m(x), Dense(3)(m(y))])((lambda i: keras.Model(i, Dense(4, activation='relu')(i)))(layers.Input((5,))))", (5,), (5,)),
    keras2("nested, part of it frozen", "lambda x: Dense(2)(keras.Sequential([layers.Input((6,)), Dense(4, trainable=False), BatchNormalization(), Dense(4), BatchNormalization(trainable=False), Dense(5)], name='tower')(x))", (6,)),
    keras2("nested in nested", "lambda x: keras.Sequential([layers.Input((6,)), Dense(4, trainable=False), keras.Sequential([layers.Input((4,)), BatchNormalization(), Dense(3)], name='inner'), Dense(5)], name='outer')(x)", (6,)),
    keras2("model over time", "TimeDistributed(keras.Sequential([layers.Input((6, 6, 2)), Conv2D(3, 3), Flatten(), Dense(4)], name='frame')), LSTM(3)", (5, 6, 6, 2)),
    keras2("sequential without an input", "model: (lambda m: (m.build((None, 7)), m)[1])(keras.Sequential([Dense(5, activation='relu'), BatchNormalization(), Dense(2)]))", (7,)),
    keras2("names that hold one another", NAMES, (4,)),
    keras2("nested names that hold one another", f"lambda x: Dense(2, name='dense_1')(keras.Sequential([layers.Input((6,)), {NAMES}], name='dense')(x))", (6,)),
    keras2("tied in two models", TIED, (6,)),
    case("keras 3 names that hold one another", NAMES, (4,), formats=("keras", "h5")),
    case("keras 3 ops", "lambda x, y: Dense(2)(Add()([ops.relu(x + 1.5) * y, ops.concatenate([x, y], -1)[:, :4]]))", (4,), (4,), formats=("keras", "h5")),
    case("keras 3 masks", "Embedding(50, 4, mask_zero=True), LSTM(5), Dense(2)", ("int32", 9), formats=("keras", "h5")),
    hdf5("keras 3 cnn", "Conv2D(4, 3, strides=2, padding='same'), BatchNormalization(), Flatten(), Dense(3)", (9, 8, 2)),
    hdf5("keras 3 hard sigmoid", "LSTM(5, recurrent_activation='hard_sigmoid'), Dense(2, activation='hard_sigmoid')", (7, 4)),
    hdf5("keras 3 nested, part of it frozen", "lambda x: Dense(2)(keras.Sequential([layers.Input((6,)), Dense(4, trainable=False), BatchNormalization(), Dense(4), BatchNormalization(trainable=False), Dense(5)], name='tower')(x))", (6,)),
    hdf5("keras 3 nested in nested", "lambda x: keras.Sequential([layers.Input((6,)), Dense(4, trainable=False), keras.Sequential([layers.Input((4,)), BatchNormalization(), Dense(3)], name='inner'), Dense(5)], name='outer')(x)", (6,)),
    hdf5("keras 3 recurrent", "Bidirectional(LSTM(3, return_sequences=True)), TimeDistributed(Dense(5)), GRU(4)", (7, 4)),
    hdf5("keras 3 attention", "lambda x: MultiHeadAttention(2, 3)(x, x)", (7, 4)),
    hdf5("keras 3 numbers of float32", "LeakyReLU(0.1), ELU(0.3), Rescaling(1 / 255)", (4,)),
]
