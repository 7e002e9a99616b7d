"""Masks that several layers want, and masks that go in and out of nested models."""

from parity_tests.case import case

TOKENS = "Embedding(50, 8, mask_zero=True)"
STEPS = "layers.Input((9, 8))"

CASES = [
    case("the first of two attentions gets the mask", f"lambda t: (lambda x: Add()([MultiHeadAttention(2, 5)(x, x), MultiHeadAttention(2, 4)(x, x)]))({TOKENS}(t))", ("int32", 9)),
    case("the one with the longer way is the first", f"lambda t: (lambda x: Add()([MultiHeadAttention(2, 5)(x, x), Dense(8)(Dense(8)(MultiHeadAttention(2, 4)(x, x)))]))({TOKENS}(t))", ("int32", 9)),
    case("attention beside lstm", f"lambda t: (lambda x: Add()([LSTM(8, return_sequences=True)(x), MultiHeadAttention(2, 5)(x, x)]))({TOKENS}(t))", ("int32", 9)),
    case("attention beside attention", f"lambda t: (lambda x: Add()([Attention()([x, x]), Dense(8)(MultiHeadAttention(2, 5)(x, x))]))({TOKENS}(t))", ("int32", 9)),
    case("into a nested model", f"lambda t: (lambda x, i: keras.Model(i, LSTM(5)(MultiHeadAttention(2, 5)(i, i)))(x))({TOKENS}(t), {STEPS})", ("int32", 9)),
    case("through a nested model", f"lambda t: (lambda x: GlobalAveragePooling1D()(keras.Sequential([{STEPS}, Dense(8, activation='relu')])(x)))({TOKENS}(t))", ("int32", 9)),
    case("out of a nested model", f"lambda t: (lambda i: MultiHeadAttention(2, 5)(*[keras.Model(i, Dropout(0.1)(Dense(8)({TOKENS}(i))))(t)] * 2))(layers.Input((None,), dtype='int32'))", ("int32", None)),
    case("taken off outside by a nested attention", f"lambda t: (lambda x, i: MultiHeadAttention(2, 5)(*[Add()([x, keras.Model(i, MultiHeadAttention(2, 5)(i, i))(x)])] * 2))({TOKENS}(t), {STEPS})", ("int32", 9)),
    case("one nested encoder after the other", f"lambda t: (lambda x, i, j: keras.Model(j, MultiHeadAttention(2, 5)(j, j))(keras.Model(i, Add()([i, MultiHeadAttention(2, 5)(i, i)]))(x)))({TOKENS}(t), {STEPS}, {STEPS})", ("int32", 9)),
    case("a nested encoder called twice", f"lambda t, u: (lambda e, i: (lambda m: Add()([m(e(t)), m(e(u))]))(keras.Model(i, MultiHeadAttention(2, 5)(i, i))))({TOKENS}, {STEPS})", ("int32", 9), ("int32", 9)),
    case("sequential in sequential", f"{TOKENS}, keras.Sequential([{STEPS}, Dense(6), LSTM(5)]), Dense(2)", ("int32", 9)),
    case("multiply of masked inputs", f"lambda t, u: (lambda e: GlobalAveragePooling1D()(Multiply()([e(t), e(u)])))({TOKENS})", ("int32", 9), ("int32", 9)),
    case("multiply of one masked input", f"lambda t, u: Dense(2)(Multiply()([Dense(8)(u), {TOKENS}(t), Dense(8)(u)]))", ("int32", 9), (9, 3)),
    case("maximum of masked inputs", f"lambda t, u: (lambda e: GlobalAveragePooling1D()(Maximum()([e(t), e(u)])))({TOKENS})", ("int32", 9), ("int32", 9)),
    case("maximum of one masked input", f"lambda t, u: Dense(2)(Maximum()([Dense(8)(u), {TOKENS}(t), Dense(8)(u)]))", ("int32", 9), (9, 3)),
    case("minimum of masked inputs", f"lambda t, u: (lambda e: GlobalAveragePooling1D()(Minimum()([e(t), e(u)])))({TOKENS})", ("int32", 9), ("int32", 9)),
    case("minimum of one masked input", f"lambda t, u: Dense(2)(Minimum()([Dense(8)(u), {TOKENS}(t), Dense(8)(u)]))", ("int32", 9), (9, 3)),
]
