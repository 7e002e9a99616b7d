"""The models whose emitted text is kept: one line each, as in `cases/`."""

from __future__ import annotations

from parity_tests.case import Case, case

# Of keras.applications, one of each family; their cases and checks are in test_applications.py.
APPLICATIONS = (
    "ConvNeXtTiny", "DenseNet121", "EfficientNetB0", "InceptionV3", "MobileNetV2", "MobileNetV3Small", "NASNetMobile",
    "ResNet50", "VGG16", "Xception",
)  # fmt: skip

SMALL = {"options": {"batches": [1]}}


DOUBLE = "(lambda x, n: Activation('relu')(Conv2D(n, 3, padding='same')(Activation('relu')(Conv2D(n, 3, padding='same')(x)))))"
ENCODER = (
    "(lambda x: (lambda y: LayerNormalization()(Add()([y, Dense(16)(Dense(32, activation='gelu')(y))])))("
    "LayerNormalization()(Add()([x, MultiHeadAttention(2, 8)(x, x)]))))"
)
FEED = "(lambda y: LayerNormalization()(Add()([y, Dense(16)(Dense(32, activation='relu')(y))])))"
MASKED_ENCODER = (
    f"(lambda x, m: {FEED}(LayerNormalization()(Add()([x, MultiHeadAttention(2, 8)(x, x, attention_mask=m)]))))"
)
DECODER = (
    f"(lambda x, z, m: (lambda y: {FEED}(LayerNormalization()(Add()([y, MultiHeadAttention(2, 8)(y, z, attention_mask=m)]))))"
    "(LayerNormalization()(Add()([x, MultiHeadAttention(2, 8)(x, x, use_causal_mask=True)]))))"
)
RESIDUAL = (
    "(lambda x, n: Activation('relu')(Add()([x if x.shape[-1] == n else Conv2D(n, 1)(x), BatchNormalization()("
    "Conv2D(n, 3, padding='same')(Activation('relu')(BatchNormalization()(Conv2D(n, 3, padding='same')(x)))))])))"
)
TOWER = "keras.Sequential([Input((6,)), Dense(8, activation='relu'), Dense(4)], name='tower')"

MODELS: dict[str, Case] = {
    "siamese": case(
        "golden siamese", f"lambda a, b: (lambda t: Dense(1, activation='sigmoid')(Subtract()([t(a), t(b)])))({TOWER})", (6,), (6,), **SMALL
    ),
    "unet": case(
        "golden unet",
        f"lambda x: (lambda d: (lambda a: (lambda b: (lambda c: Conv2D(2, 1, activation='softmax')(d(Concatenate()([UpSampling2D()(d(Concatenate()([UpSampling2D()(c), b]), 16)), a]), 8)))"
        f"(d(MaxPooling2D()(b), 32)))(d(MaxPooling2D()(a), 16)))(d(x, 8)))({DOUBLE})",
        (16, 16, 3), **SMALL,
    ),
    "dense_concatenation": case(
        "golden concatenation",
        "lambda x: (lambda f: Dense(3)(GlobalAveragePooling2D()(f(f(f(f(x)))))))(lambda x: Concatenate()([x, Conv2D(4, 3, padding='same')(Activation('relu')(BatchNormalization()(x)))]))",
        (8, 8, 4), **SMALL,
    ),
    "bilstm_stack": case(
        "golden bilstm",
        "Embedding(50, 8, mask_zero=True), Bidirectional(LSTM(8, return_sequences=True)), Bidirectional(LSTM(8, return_sequences=True)), Bidirectional(LSTM(8)), Dense(1, activation='sigmoid')",
        ("int32", 11), **SMALL,
    ),
    "transformer_encoder": case(
        "golden transformer", f"lambda x: (lambda e: Dense(3)(GlobalAveragePooling1D()(e(e(e(Dense(16)(x)))))))({ENCODER})", (7, 12), **SMALL
    ),
    "shared_embedding": case(
        "golden encoder-decoder",
        "lambda a, b: (lambda e: (lambda s: Dense(50, activation='softmax')(LSTM(8, return_sequences=True)(e(b), initial_state=s)))(LSTM(8, return_state=True)(e(a))[1:]))(Embedding(50, 8))",
        ("int32", 9), ("int32", 6), **SMALL,
    ),
    "transformer_seq2seq": case(
        "golden transformer with masks",
        f"lambda s, m, t: (lambda e, d: (lambda z: Dense(50, activation='softmax')(d(d(d(Embedding(50, 16)(t), z, m), z, m), z, m)))"
        f"(e(e(e(Embedding(50, 16)(s), m), m), m)))({MASKED_ENCODER}, {DECODER})",
        ("int32", 9), ("bool", 1, 9), ("int32", 7), **SMALL,
    ),
    "residual_unet": case(
        "golden residual U-Net",
        f"lambda x: (lambda r: (lambda a: (lambda b: Conv2D(2, 1, activation='softmax')(r(r(Concatenate()([UpSampling2D()(r(r("
        f"Concatenate()([UpSampling2D()(r(r(MaxPooling2D()(b), 32), 32)), b]), 16), 16)), a]), 8), 8)))("
        f"r(r(MaxPooling2D()(a), 16), 16)))(r(r(x, 8), 8)))({RESIDUAL})",
        (16, 16, 3), **SMALL,
    ),
    "multi_task": case(
        "golden heads",
        "lambda x: (lambda y: [Dense(3, activation='softmax', name='kind')(y), Dense(1, name='age')(y), Dense(2, activation='sigmoid', name='flags')(y)])(Dense(16, activation='relu', name='trunk')(x))",
        (8,), **SMALL,
    ),
    "inception_like": case(
        "golden inception",
        "lambda x: (lambda c: (lambda m: Dense(3)(GlobalAveragePooling2D()(m(m(m(c(x, 16, 3)))))))(lambda x: Concatenate()([c(x, 4, 1), c(c(x, 4, 1), 8, 3), c(c(x, 2, 1), 4, 5)])))"
        "(lambda x, n, k: Activation('relu')(BatchNormalization()(Conv2D(n, k, padding='same', use_bias=False)(x))))",
        (8, 8, 3), **SMALL,
    ),
    "nested_twice": case("golden nested", f"lambda a, b: (lambda t: Dense(2)(Concatenate()([t(a), t(b)])))({TOWER})", (6,), (6,), **SMALL),
    "chain_of_200": case("golden chain", "*[layer for _ in range(100) for layer in (Dense(8, activation='relu'), Dropout(0.1))], Dense(2)", (8,), **SMALL),
}  # fmt: skip
