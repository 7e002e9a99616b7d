"""Small models that the tests of `verify` share: each is saved, captured and converted once per run, by one worker."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from migrate.pipeline import convert_file
from migrate.readers import read
from migrate.reference.capture import Capture, Options, generation_of
from migrate.reference.client import Client
from migrate.verify.bundle import DOCUMENT, Bundle
from migrate.write import new_folder

COMPILED = "model:(lambda m: (m.compile({compile}), m)[1])({model})"
CNN = COMPILED.format(
    compile="keras.optimizers.Adam(0.01), 'categorical_crossentropy'",
    model="""keras.Sequential([
        keras.Input((12, 12, 2), name='image'), Rescaling(1 / 16, name='scale'),
        Conv2D(4, 3, strides=2, padding='same', name='stem'), BatchNormalization(name='norm'), LeakyReLU(name='leaky'),
        Conv2D(4, 3, dilation_rate=2, padding='same', name='dilated'), Activation('gelu', name='gelu'),
        AveragePooling2D(3, strides=1, padding='same', name='average'), UpSampling2D(2, interpolation='bilinear', name='up'),
        Cropping2D(((1, 2), (2, 1)), name='crop'), DepthwiseConv2D(2, name='depthwise'), MaxPooling2D(2, name='largest'),
        Conv2D(3, 2, name='frozen', trainable=False), Flatten(name='flat'),
        Dense(5, name='hidden', activation='tanh', kernel_regularizer=keras.regularizers.L2(0.01)),
        Dense(3, name='classes', activation='softmax')])""",
)
RNN = COMPILED.format(
    compile="keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True), 'binary_crossentropy'",
    model="""keras.Sequential([
        keras.Input((7,), dtype='int32', name='tokens'), Embedding(20, 4, mask_zero=True, name='embedding'),
        GRU(4, return_sequences=True, name='gru'), Bidirectional(LSTM(3), name='both'),
        Dense(4, name='square', activation='elu'), Dense(1, name='positive', activation='sigmoid')])""",
)
TWO = COMPILED.format(
    compile="keras.optimizers.RMSprop(0.01), {'first': 'mse', 'second': 'mae'}, loss_weights={'first': 1.0, 'second': 0.3}",
    model="""(lambda a, b, shared, inner: keras.Model([a, b], [
        Dense(6, name='first')(Concatenate(name='join')([shared(Subtract(name='minus')([a, b])), inner(b)])),
        Dense(6, name='second')(Softmax(axis=1, name='weights')(shared(LayerNormalization(name='norm')(a))))]))(
        keras.Input((4, 6), name='a'), keras.Input((4, 6), name='b'), Dense(6, name='shared', activation='relu'),
        keras.Sequential([keras.Input((4, 6)), Dense(5, name='inside'), ReLU(name='rectify')], name='inner'))""",
)
DECODER = COMPILED.format(
    compile="'sgd', 'mse'",
    model="""keras.Sequential([
        keras.Input((5,), name='code'), Dense(12, name='grow'), Reshape((2, 2, 3), name='image'),
        Conv2DTranspose(3, 3, strides=2, padding='same', name='up'), PReLU(shared_axes=[1, 2], name='slope'),
        Conv2D(2, 2, padding='same', name='last'), Activation('sigmoid', name='pixels')])""",
)
# The keys of the outputs, which compile() and the targets go by, are not the names of the layers.
KEYED = COMPILED.format(
    compile="keras.optimizers.SGD(0.05), {'kind': 'sparse_categorical_crossentropy', 'amount': 'mse'}, "
    "loss_weights={'kind': 1.0, 'amount': 0.3}",
    model="""(lambda x: keras.Model(x, {'kind': Dense(4, name='head_1', activation='softmax')(x),
        'amount': Dense(1, name='head_2')(x)}))(keras.Input((5,), name='x'))""",
)
SUBJECTS = {"cnn": CNN, "rnn": RNN, "two": TWO, "decoder": DECODER, "keyed": KEYED}


@dataclass(frozen=True)
class Subject:
    """A saved model, what the original computes, and the project that was made of it."""

    model: Path
    bundle: Bundle
    project: Path


def captured(client: Client, path: Path, folder: Path, options: Options) -> Bundle:
    """`capture_file` with a worker that runs already."""
    with (
        read(path) as source,
        new_folder(folder, overwrite=False, needed=0) as beside,
        tempfile.TemporaryDirectory() as scratch,
    ):
        capture = Capture(source, client, options, Path(scratch), beside)
        capture.open(generation_of(source, options), None, None)
        capture.record()
        (beside / DOCUMENT).write_text(json.dumps(capture.document()), encoding="utf-8")
    return Bundle(folder)


def made(client: Client, name: str, model: str, folder: Path, options: Options, *, exact: bool = False) -> Subject:
    """One subject, in `folder/name`."""
    path = Path(client.ask(do="save", folder=str(folder / name), model=model.replace("\n", " "), inputs=[])["path"])
    bundle = captured(client, path, folder / name / "bundle", options)
    convert_file(path, folder / name / "project", exact=exact)
    return Subject(path, bundle, folder / name / "project")
