"""Runs a Keras script in float64, from the weights that it has in float32, and keeps the history of its first `fit`.

python reference_script.py SCRIPT HISTORY.json
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

sys.path.insert(0, str(Path(__file__).parent))
from reference_training import keep_precision

FIT = keras.Model.fit


class Done(BaseException):
    """The script has come to its `fit`."""


def run(script, fit):
    """What `fit`, instead of Keras' own, is given there."""

    def instead(model, x, *args, **kwargs):
        model.build((None, *x.shape[1:]))
        raise Done(fit(model, x, *args, **kwargs))

    keras.Model.fit = instead
    try:
        exec(compile(script.read_text(), str(script), "exec"), {"__name__": "__main__"})
    except Done as done:
        return done.args[0]


def main(script, target):
    weights = run(script, lambda model, *args, **kwargs: model.get_weights())
    keep_precision()
    keras.backend.set_floatx("float64")
    keras.backend.clear_session()

    def trained(model, *args, **kwargs):
        model.set_weights(weights)
        return FIT(model, *args, **kwargs, verbose=0).history

    target.write_text(json.dumps(run(script, trained)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
