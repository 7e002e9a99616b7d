"""Trains a small Keras CNN on the digits of scikit-learn (1,797 images of 8 x 8) and saves it, with its predictions.

    python make_digits_cnn.py FOLDER

writes FOLDER/digits_cnn.keras, FOLDER/digits_cnn.npz (test images, labels, what Keras predicts for them) and
FOLDER/data (all images and labels, for a training).
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def build() -> keras.Model:
    """Images (8, 8, 1) of values 0 to 16 -> probabilities of the ten digits."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Rescaling(1 / 16, name="scale"),
            layers.Conv2D(32, 3, padding="same", use_bias=False, name="conv1"),
            layers.BatchNormalization(name="bn1"),
            layers.ReLU(name="relu1"),
            layers.Conv2D(64, 3, strides=2, padding="same", use_bias=False, name="conv2"),
            layers.BatchNormalization(name="bn2"),
            layers.ReLU(name="relu2"),
            layers.Flatten(name="flatten"),
            layers.Dropout(0.3, name="dropout"),
            layers.Dense(10, activation="softmax", name="digit"),
        ],
        name="digits_cnn",
    )


def main(folder: Path) -> None:
    keras.utils.set_random_seed(1)
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype("float32")
    train_x, test_x, train_y, test_y = train_test_split(images, labels, test_size=0.25, random_state=1, stratify=labels)
    model = build()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(train_x, train_y, batch_size=32, epochs=15, verbose=2)
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / "digits_cnn.keras")
    (folder / "data").mkdir(exist_ok=True)
    for name, array in {"x": train_x, "y": train_y, "x_val": test_x, "y_val": test_y}.items():
        np.save(folder / "data" / f"{name}.npy", array)
    probabilities = model.predict(test_x, verbose=0)
    np.savez(folder / "digits_cnn.npz", images=test_x, labels=test_y, probabilities=probabilities)
    accuracy = (probabilities.argmax(axis=1) == test_y).mean()
    print(f"Keras: {accuracy:.2%} of {len(test_y)} test images right; saved as {folder / 'digits_cnn.keras'}")
    if accuracy < 0.95:
        sys.exit("the model was expected to reach 95 %")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
