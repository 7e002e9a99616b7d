"""Bidirectional and TimeDistributed."""

from typing import Any

from parity_tests.case import case

KERAS_2: dict[str, Any] = {"generation": 2, "formats": ("keras", "h5")}
TOKENS = "model: keras.Sequential([layers.Input((9,), dtype='int32'), Embedding(50, 4, mask_zero=True), "

CASES = [
    case("bidirectional", "Bidirectional(LSTM(4))", (6, 3)),
    case("bidirectional sequences", "Bidirectional(LSTM(4, return_sequences=True)), Bidirectional(GRU(3))", (None, 3)),
    *(case(f"bidirectional {mode}", f"lambda x: Bidirectional(GRU(4), merge_mode={mode!r})(x)", (6, 3)) for mode in ("sum", "ave", "mul", None)),
    *(case(f"bidirectional sequences {mode}", f"lambda x: Bidirectional(LSTM(4, return_sequences=True), merge_mode={mode!r})(x)", (6, 3)) for mode in ("sum", "ave", "mul", None)),
    case("bidirectional states", "lambda x: Bidirectional(LSTM(4, return_state=True))(x)", (6, 3)),
    case("bidirectional states none", "lambda x: Bidirectional(GRU(4, return_state=True, return_sequences=True), merge_mode=None)(x)", (6, 3)),
    case("bidirectional initial state", "lambda x, a, b, c, d: Bidirectional(LSTM(4))(x, initial_state=[a, b, c, d])", (6, 3), *[(4,)] * 4),
    case("bidirectional gru initial state", "lambda x, a, b: Bidirectional(GRU(4, return_sequences=True))(x, initial_state=[a, b])", (6, 3), (4,), (4,)),
    case("bidirectional simple rnn", "Bidirectional(SimpleRNN(4, activation='relu', use_bias=False))", (6, 3)),
    case("bidirectional relu", "Bidirectional(LSTM(4, activation='relu', return_sequences=True))", (6, 3)),
    case("bidirectional unlike", "Bidirectional(LSTM(4, return_sequences=True), backward_layer=GRU(3, return_sequences=True, go_backwards=True))", (6, 3)),
    case("bidirectional dropout", "Bidirectional(LSTM(4, dropout=0.3))", (6, 3)),
    case("bidirectional recurrent dropout", "Bidirectional(LSTM(4, recurrent_dropout=0.3, return_sequences=True))", (6, 3)),
    case("bidirectional frozen", "Bidirectional(LSTM(4), trainable=False), Dense(2)", (6, 3)),
    case("bidirectional frozen inside", "Bidirectional(LSTM(4, trainable=False)), Dense(2)", (6, 3)),
    case("bidirectional cells", "Bidirectional(RNN([LSTMCell(4), GRUCell(3)], return_sequences=True))", (6, 3)),
    case("bidirectional backwards", "Bidirectional(LSTM(4, go_backwards=True, return_sequences=True), backward_layer=LSTM(4, return_sequences=True))", (6, 3)),
    case("bidirectional masked", TOKENS + "Bidirectional(LSTM(3))])", ("int32", 9)),
    case("bidirectional masked sequences", TOKENS + "Bidirectional(LSTM(3, return_sequences=True)), Bidirectional(GRU(2, return_sequences=True), merge_mode='sum'), GRU(2)])", ("int32", 9)),
    case("bidirectional masked relu", TOKENS + "Bidirectional(LSTM(3, activation='relu', return_sequences=True)), LSTM(2)])", ("int32", 9)),
    case("bidirectional masked states", "lambda x, m: Bidirectional(LSTM(3, return_sequences=True, return_state=True))(x, mask=m)", (9, 3), ("bool", 9)),
    case("time distributed dense", "TimeDistributed(Dense(4, activation='relu')), LSTM(2)", (6, 3)),
    case("time distributed dense dynamic", "TimeDistributed(Dense(4)), TimeDistributed(Dropout(0.3)), TimeDistributed(Dense(2))", (None, 3)),
    case("time distributed convolution", "TimeDistributed(Conv2D(4, 3, padding='same')), TimeDistributed(MaxPooling2D(2)), TimeDistributed(Flatten()), LSTM(3)", (5, 6, 4, 2), permutes=1),
    case("time distributed convolution dynamic", "TimeDistributed(Conv2D(4, 3)), TimeDistributed(GlobalAveragePooling2D()), GRU(3)", (None, 6, 6, 2), permutes=1),
    case("time distributed convolution as output", "TimeDistributed(Conv2D(4, 3))", (5, 6, 6, 2), permutes=2),
    case("time distributed, cells, wrapped", "TimeDistributed(Conv2D(4, 3)), TimeDistributed(Flatten()), Bidirectional(RNN([GRUCell(4), LSTMCell(3)]))", (5, 4, 5, 2), permutes=1),
    case("time distributed 1d", "TimeDistributed(Conv1D(4, 3)), TimeDistributed(GlobalMaxPooling1D()), TimeDistributed(Dense(3))", (5, 6, 2)),
    case("time distributed flatten dense", "TimeDistributed(Conv2D(4, 3)), TimeDistributed(Flatten()), TimeDistributed(Dense(3))", (5, 6, 6, 2), permutes=1),
    case("time distributed batch norm", "TimeDistributed(Conv2D(4, 3)), TimeDistributed(BatchNormalization()), TimeDistributed(Activation('relu'))", (5, 6, 6, 2)),
    case("time distributed batch norm of features", "TimeDistributed(BatchNormalization()), TimeDistributed(LayerNormalization())", (None, 3)),
    case("time distributed frozen", "TimeDistributed(Dense(3), trainable=False), TimeDistributed(BatchNormalization(trainable=False))", (5, 4)),
    case("time distributed lstm", "TimeDistributed(LSTM(3)), LSTM(2)", (5, 6, 2)),
    case("time distributed bidirectional", "TimeDistributed(Bidirectional(LSTM(3, return_sequences=True)))", (5, 6, 2)),
    case("time distributed reshape", "TimeDistributed(Reshape((3, 4))), TimeDistributed(Permute((2, 1)))", (5, 12)),
    case("time distributed twice", "TimeDistributed(TimeDistributed(Conv1D(3, 2)))", (2, 3, 5, 2)),
    case("time distributed model", "TimeDistributed(keras.Sequential([layers.Input((6, 6, 2)), Conv2D(4, 3), BatchNormalization(), Flatten(), Dense(3)], name='tower')), LSTM(2)", (5, 6, 6, 2), permutes=1),
    case("time distributed model of tokens", "TimeDistributed(keras.Sequential([layers.Input((9,), dtype='int32'), Embedding(50, 4, mask_zero=True), GRU(3)], name='sentence')), GRU(2)", ("int32", 4, 9)),
    case("time distributed embedding", "TimeDistributed(Embedding(50, 4)), TimeDistributed(LSTM(3))", ("int32", 4, 9)),
    case("time distributed shared", "lambda x, y: (lambda t: Subtract()([t(x), t(y)]))(TimeDistributed(Dense(3)))", (5, 4), (5, 4)),
    case("time distributed masked", TOKENS + "TimeDistributed(Dense(3)), TimeDistributed(LayerNormalization()), LSTM(2)])", ("int32", 9)),
    case("time distributed masked steps", "model: keras.Sequential([layers.Input((4, 5, 3)), Masking(), TimeDistributed(LSTM(3))])", (4, 5, 3)),
    case("keras 2, bidirectional", "Bidirectional(LSTM(4, return_sequences=True)), Bidirectional(GRU(3, recurrent_activation='hard_sigmoid'), merge_mode='ave')", (6, 3), **KERAS_2),
    case("keras 2, bidirectional masked", "lambda t: Bidirectional(LSTM(4))(Bidirectional(LSTM(3, return_sequences=True))(Embedding(50, 4, mask_zero=True)(t)))", ("int32", 9), **KERAS_2),
    case("keras 2, time distributed", "TimeDistributed(Conv2D(4, 3)), TimeDistributed(BatchNormalization()), TimeDistributed(Flatten()), LSTM(3)", (5, 6, 4, 2), permutes=1, **KERAS_2),
    case("keras 2, sentences", "lambda t: GRU(3)(TimeDistributed(keras.Sequential([layers.InputLayer((9,), dtype='int32'), Embedding(50, 4, mask_zero=True), GRU(3)], name='sentence'))(t))", ("int32", 4, 9), **KERAS_2),
    case("keras 2, frozen", "TimeDistributed(Dense(3), trainable=False), Bidirectional(LSTM(3), trainable=False)", (5, 4), **KERAS_2),
    case("all of it, as h5", "lambda x: Bidirectional(LSTM(4))(RNN([LSTMCell(4), GRUCell(3)], return_sequences=True)(TimeDistributed(Dense(3))(x)))", (6, 3), formats=("keras", "h5")),
]
