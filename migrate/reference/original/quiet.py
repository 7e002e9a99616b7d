"""Training without chance: dropout and noise pass their input on, so that another framework can do the same."""

import contextlib
import sys

NOISE = ("GaussianNoise", "GaussianDropout", "AlphaDropout", "MixUp", "CutMix", "RandAugment", "AugMix")


@contextlib.contextmanager
def without_chance(reference):
    """Within, nothing that a model does in training mode is random."""
    undo = []

    def put(owner, name, value):
        old = vars(owner).get(name)
        undo.append((owner, name, old))
        setattr(owner, name, value)

    for module, names in dropouts(reference):
        for name in names:
            put(module, name, identity)
    layers = reference.keras.layers
    for name in dir(layers):
        layer = getattr(layers, name)
        if isinstance(layer, type) and (name in NOISE or name.startswith("Random")):
            put(layer, "call", in_inference(layer.call))
    try:
        yield
    finally:
        for owner, name, old in reversed(undo):
            if old is None:
                delattr(owner, name)
            else:
                setattr(owner, name, old)


def identity(x, *args, **kwargs):
    return x


def in_inference(call):
    def quiet_call(self, inputs, *args, **kwargs):
        return call(self, inputs, training=False)

    return quiet_call


def dropouts(reference):
    """The modules that hold a function which drops, and its names there."""
    found = []
    if reference.generation >= 3:
        old = sys.modules["keras.src.backend"].random.dropout
        for name, module in list(sys.modules.items()):
            if name.startswith("keras.") and vars(module).get("dropout") is old:
                found.append((module, ["dropout"]))
        return found
    import tensorflow as tf

    modules = [tf.nn, tf.compat.v1.nn, tf.compat.v2.nn]
    modules += [sys.modules.get("tensorflow.python.ops." + name) for name in ("nn", "nn_ops")]
    for module in modules:
        if module is not None:
            found.append((module, [name for name in ("dropout", "dropout_v2") if name in vars(module)]))
    return found
