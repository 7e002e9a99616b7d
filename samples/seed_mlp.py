"""The program that everyone starts with, on the digits of scikit-learn: a Keras MLP with dropout.

tf2torch scaffold --script seed_mlp.py -o seed_mlp --trust     makes a PyTorch project of it
cd seed_mlp && python train.py                                 trains there
"""

import keras
from sklearn.datasets import load_digits

keras.utils.set_random_seed(1)
x, y = load_digits(return_X_y=True)
x = x / 16.0

model = keras.Sequential()
model.add(keras.layers.Dense(32, activation="relu"))
model.add(keras.layers.Dropout(0.2))
model.add(keras.layers.Dense(10, activation="softmax"))
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x[:1500], y[:1500], epochs=5, validation_data=(x[1500:], y[1500:]))
