"""What tf.data makes of the files of a folder, in a fixed order: `python reference_data.py FOLDER OUT.npz`.

Also writes FOLDER/records/*.tfrecord, of numbers and of encoded images. A process of its own: TensorFlow and torch do
not live together.
"""
# ruff: noqa: TID251

import os
import sys
from pathlib import Path

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", KERAS_BACKEND="tensorflow")

import keras
import numpy as np
import tensorflow as tf

BATCH = 4
SIZE = (24, 20)


def images(folder):
    """Batches of image_dataset_from_directory: in order, and the two parts of its validation split."""
    make = keras.utils.image_dataset_from_directory
    for name in ("lossless", "jpeg", "grey"):
        options = {"image_size": SIZE, "batch_size": BATCH, "color_mode": "grayscale" if name == "grey" else "rgb"}
        yield f"images/{name}", make(folder / name, shuffle=False, **options)
    for subset in ("training", "validation"):
        split = make(folder / "lossless", image_size=SIZE, batch_size=None, validation_split=0.4, subset=subset, seed=5)
        files = np.array([os.path.relpath(path, folder) for path in split.file_paths])
        yield f"split/{subset}", [(files, files)]


def tables(folder):
    columns = [tf.float32] * 6 + [tf.int32]
    rows = tf.data.experimental.CsvDataset(str(folder / "table.csv"), columns, header=True)
    yield "csv", rows.map(lambda *row: (tf.stack(row[:6]), row[6])).batch(BATCH)


def bytes_feature(data):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[data]))


def write_records(folder):
    """Two files: floats and a label; encoded images of any size; token ids of any length; numbers as bytes."""
    arrays = np.load(folder / "arrays.npz")
    pictures = sorted((folder / "lossless").rglob("*.png"))
    (folder / "records").mkdir()
    for part in range(2):
        with tf.io.TFRecordWriter(str(folder / "records" / f"part-{part}.tfrecord")) as writer:
            for i in range(part * 5, part * 5 + 5):
                x, tokens = arrays["x"][i], np.arange(1, 3 + i)
                features = {
                    "x": tf.train.Feature(float_list=tf.train.FloatList(value=x.ravel())),
                    "raw": bytes_feature(x.tobytes()),
                    "image": bytes_feature(pictures[i % len(pictures)].read_bytes()),
                    "tokens": tf.train.Feature(int64_list=tf.train.Int64List(value=tokens)),
                    "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[int(arrays["y"][i])])),
                }
                writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def records(folder):
    files = sorted(str(path) for path in (folder / "records").iterdir())
    description = {
        "x": tf.io.FixedLenFeature([6], tf.float32), "raw": tf.io.FixedLenFeature([], tf.string),
        "image": tf.io.FixedLenFeature([], tf.string), "tokens": tf.io.VarLenFeature(tf.int64),
        "label": tf.io.FixedLenFeature([], tf.int64),
    }  # fmt: skip
    parsed = tf.data.TFRecordDataset(files).map(lambda record: tf.io.parse_single_example(record, description))
    yield "tfrecord/x", parsed.map(lambda r: (r["x"], r["label"])).batch(BATCH)
    yield "tfrecord/raw", parsed.map(lambda r: (tf.io.decode_raw(r["raw"], tf.float32), r["label"])).batch(BATCH)
    yield "tfrecord/image", parsed.map(lambda r: (picture(r["image"]), r["label"])).batch(BATCH)
    yield "tfrecord/tokens", parsed.map(lambda r: (tf.sparse.to_dense(r["tokens"]), r["label"])).padded_batch(BATCH)


def picture(data):
    return tf.image.resize(tf.io.decode_image(data, channels=3, expand_animations=False), SIZE)


def texts(folder):
    """Words as numbers, with the vocabulary that `adapt` makes; padded to the longest of a batch, and to 6 words."""
    data = keras.utils.text_dataset_from_directory(folder / "texts", batch_size=BATCH, shuffle=False)
    for name, length in (("text", None), ("text/6", 6)):
        vectorize = keras.layers.TextVectorization(max_tokens=12, output_sequence_length=length)
        vectorize.adapt(data.map(lambda text, label: text))
        yield name, data.map(lambda text, label, vectorize=vectorize: (vectorize(text), label))
    yield "vocabulary", [(np.array(vectorize.get_vocabulary()), np.zeros(1))]


def main(folder, target):
    write_records(folder)
    found = {}
    for source in (images, tables, records, texts):
        for name, batches in source(folder):
            for number, (x, y) in enumerate(batches):
                found[f"{name}/{number}/x"], found[f"{name}/{number}/y"] = np.asarray(x), np.asarray(y)
    np.savez(target, **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
