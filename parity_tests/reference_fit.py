"""Trains small Keras models with `fit` and keeps what a run of PyTorch is compared with.

    python reference_fit.py FOLDER [EPOCHS]               in float64, without shuffling
    python reference_fit.py --free FOLDER EPOCHS SEED...  as users do: in float32, shuffled, from the seed's own weights

writes, for each model, FOLDER/<name>/initial.keras, data (data/x.npy, data/y.npy), history.json and final.keras; with
--free, history_<seed>.json. A process of its own: TensorFlow and torch do not live together.
"""
# ruff: noqa: TID251

import json
import os
import sys
from pathlib import Path

os.environ.update(
    TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", KERAS_BACKEND="tensorflow", TF_ENABLE_ONEDNN_OPTS="0"
)

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

sys.path.insert(0, str(Path(__file__).parent))
from reference_training import keep_precision

FREE = "--free" in sys.argv
SAMPLES, SPLIT, BATCH = (1200, 0.8, 32) if FREE else (300, 0.2, 32)  # as many to learn from, and more to count on


def digits():
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(7).permutation(len(images))[:SAMPLES]
    return images[order].astype("float32"), labels[order].astype("int64")


def mlp():
    x, y = digits()
    model = keras.Sequential(
        [
            keras.Input((64,), name="pixels"),
            layers.Rescaling(1 / 16),
            layers.Dense(32, "relu"),
            layers.Dense(10, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, x, y


def cnn():
    x, y = digits()
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Rescaling(1 / 16),
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(16, 3, strides=2, padding="same"),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(10, "softmax"),
        ]
    )
    rate = keras.optimizers.schedules.CosineDecay(0.02, 40)
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9, nesterov=True), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model, x.reshape(-1, 8, 8, 1), y


def recurrent():
    """The rows of an image as steps; targets are one-hot."""
    x, y = digits()
    model = keras.Sequential(
        [
            keras.Input((8, 8), name="rows"),
            layers.Bidirectional(layers.LSTM(12, return_sequences=True)),
            layers.GRU(12),
            layers.Dense(10, "softmax"),
        ]
    )
    model.compile(
        keras.optimizers.RMSprop(3e-3, clipnorm=0.5),
        keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        metrics=["accuracy"],
    )
    return model, x.reshape(-1, 8, 8) / 16, np.eye(10, dtype="float32")[y]


def text():
    """Token ids, 0 is padding; is there more of the first half of the vocabulary than of the second?"""
    random = np.random.default_rng(3)
    x = random.integers(1, 50, (SAMPLES, 12))
    x[np.arange(12) >= random.integers(3, 13, (SAMPLES, 1))] = 0
    y = (((x > 0) & (x < 25)).sum(1) > (x >= 25).sum(1)).astype("float32")[:, None]
    tokens = keras.Input((12,), dtype="int32", name="tokens")
    hidden = layers.LSTM(16)(layers.Embedding(50, 16, mask_zero=True)(tokens))
    model = keras.Model(tokens, layers.Dense(1, "sigmoid")(hidden))
    model.compile(keras.optimizers.AdamW(1e-2, weight_decay=0.01), "binary_crossentropy", metrics=["accuracy", "auc"])
    return model, x.astype("int32"), y


def regularized():
    """Everything that weights and gradients can be told, in a stage of blocks too."""
    x, y = digits()
    l1 = keras.regularizers.L1(1e-3)
    pixels = keras.Input((64,), name="pixels")
    hidden = layers.Dense(16, kernel_regularizer="l2", activity_regularizer=l1)(layers.Rescaling(1 / 16)(pixels))
    hidden = layers.ActivityRegularization(l2=1e-3)(layers.ReLU()(hidden))
    for _ in range(3):
        inner = layers.Dense(8, "relu", kernel_regularizer="l2", kernel_initializer="he_normal")(hidden)
        inner = layers.Dense(16, kernel_regularizer="l2")(layers.LayerNormalization()(inner))
        hidden = layers.Add()([hidden, inner])
    constrained = {"kernel_constraint": keras.constraints.MaxNorm(0.8), "bias_regularizer": l1}
    model = keras.Model(pixels, layers.Dense(10, "softmax", **constrained)(hidden))
    model.compile(
        keras.optimizers.SGD(0.3, gradient_accumulation_steps=3, use_ema=True, ema_momentum=0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model, x, y


def called():
    """A network whose training callbacks change and end; with class weights."""
    x, y = digits()
    model = keras.Sequential(
        [
            keras.Input((64,), name="pixels"),
            layers.Rescaling(1 / 16),
            layers.Dense(32, "relu"),
            layers.Dense(10, "softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, x, y


def callbacks_of(home):
    """What projects.CALLED says, in Keras."""
    return [
        keras.callbacks.EarlyStopping(patience=4, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=2, min_delta=1e-3),
        keras.callbacks.CSVLogger(home / "log.csv"),
        keras.callbacks.ModelCheckpoint(home / "best.keras", monitor="val_accuracy", save_best_only=True),
    ]


def two():
    """Two outputs with a loss each: the digit, and how dark it is. Their keys are not the names of the layers."""
    x, y = digits()
    pixels = keras.Input((64,), name="pixels")
    hidden = layers.Dense(16, "relu")(layers.Rescaling(1 / 16)(pixels))
    outputs = {
        "digit": layers.Dense(10, "softmax", name="1st-head")(hidden),
        "dark": layers.Dense(1, name="head_2")(hidden),
    }
    model = keras.Model(pixels, outputs)
    model.compile(
        keras.optimizers.Adam(1e-2),
        {"digit": "sparse_categorical_crossentropy", "dark": "mse"},
        loss_weights={"digit": 1.0, "dark": 0.25},
        metrics={"digit": ["accuracy"], "dark": ["mae"]},
    )
    return model, x, {"digit": y, "dark": x.mean(axis=1, keepdims=True) / 4}


def padded():
    """Token ids of up to six steps, 0 is padding."""
    random = np.random.default_rng(3)
    x = random.integers(1, 20, (SAMPLES, 6)).astype("int32")
    x[np.arange(6) >= random.integers(1, 7, (SAMPLES, 1))] = 0
    return x


def masked():
    """Outputs with a mask: each step gets a class, and a number; padding does not count. The last one has none."""
    x = padded()
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    hidden = layers.GRU(4, return_sequences=True)(layers.Embedding(20, 4, mask_zero=True)(tokens))
    outputs = [
        layers.Dense(3, "softmax", name="tag")(hidden),
        layers.Dense(1, name="size")(hidden),
        layers.Dense(1, name="mean")(layers.GlobalAveragePooling1D()(hidden)),
    ]
    model = keras.Model(tokens, outputs)
    metrics = {"tag": ["accuracy", "sparse_categorical_crossentropy"], "size": ["mae"], "mean": ["mse"]}
    losses = {"tag": "sparse_categorical_crossentropy", "size": "huber", "mean": "mse"}
    model.compile(keras.optimizers.Adam(1e-2), losses, metrics=metrics)
    return model, x, {"tag": x % 3, "size": (x / 16)[..., None], "mean": x.sum(axis=1, keepdims=True) / 64}


def tagger():
    """The same with one output, whose loss and metrics then are not those of a whole batch alone."""
    x = padded()
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    hidden = layers.LSTM(4, return_sequences=True)(layers.Embedding(20, 4, mask_zero=True)(tokens))
    model = keras.Model(tokens, layers.Dense(3, "softmax")(hidden))
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, x, x % 3


def late():
    """A mask that depends on weights."""
    steps = keras.Input((6, 2), name="steps")
    hidden = layers.LSTM(4, return_sequences=True)(layers.Masking()(layers.Dense(2, "relu")(steps)))
    model = keras.Model(steps, layers.Dense(3, "softmax")(hidden))
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model, np.ones((32, 6, 2), "float32"), np.ones((32, 6), "int32")


MODELS = {"mlp": mlp, "cnn": cnn, "recurrent": recurrent, "text": text, "regularized": regularized}
MODELS |= {"called": called, "two": two, "masked": masked, "tagger": tagger, "late": late}
# What `fit` is told beyond the rest.
ASKED = {"called": lambda home: {"callbacks": callbacks_of(home), "class_weight": {0: 3.0, 7: 0.5}, "epochs": 20}}


def started(make, seed):
    """The same model twice: in float32, as users save them, and in float64 with the same weights."""
    keras.backend.set_floatx("float32")
    keras.utils.set_random_seed(seed)
    saved, _, _ = make()
    keras.backend.set_floatx("float64")
    keras.backend.clear_session()
    model, x, y = make()
    model.set_weights(saved.get_weights())
    return saved, model, x, y


def keep(home, model, x, y):
    """The file and the data of a training."""
    (home / "data").mkdir(parents=True, exist_ok=True)
    np.save(home / "data" / "x.npy", x)
    for output, targets in y.items() if isinstance(y, dict) else [("", y)]:
        np.save(home / "data" / (f"y_{output}.npy" if output else "y.npy"), targets)
    model.save(home / "initial.keras")


def main(folder, epochs=2):
    keep_precision()
    for name, make in MODELS.items():
        saved, model, x, y = started(make, seed=1)
        home = folder / name
        keep(home, saved, x, y)
        asked = {"epochs": epochs, **ASKED.get(name, lambda home: {})(home)}
        history = model.fit(x, y, batch_size=BATCH, validation_split=SPLIT, shuffle=False, verbose=0, **asked)
        (home / "history.json").write_text(json.dumps(history.history))
        model.save(home / "final.keras")


def free(folder, epochs, *seeds):
    for name in ("mlp", "cnn", "recurrent", "text"):
        for seed in seeds:
            keras.utils.set_random_seed(seed)
            model, x, y = MODELS[name]()
            keep(folder / name, model, x, y)
            history = model.fit(x, y, epochs=epochs, batch_size=BATCH, validation_split=SPLIT, verbose=0)
            (folder / name / f"history_{seed}.json").write_text(json.dumps(history.history))


if __name__ == "__main__":
    place, *numbers = (argument for argument in sys.argv[1:] if argument != "--free")
    (free if FREE else main)(Path(place), *map(int, numbers))
