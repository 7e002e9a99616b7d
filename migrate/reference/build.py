"""Makes a Keras model from one line of source, with weights that hide nothing, and saves it with inputs and outputs.

For the parity tests: the line comes from our own case files, never from a stranger.
"""

import os
import re

import numpy as np
from original.leaks import rounding


def build(
    reference,
    folder,
    model,
    inputs,
    seed=0,
    formats=("keras",),
    options=None,
    generation=3,
    calibrated=False,
    measured=False,
):
    """Builds, saves `model.keras` or `model.h5`, and records inputs and outputs in float64 and float32.

    `model`: layers separated by commas (a chain), a lambda from input tensors to outputs, or `model:` and an
    expression that is the whole model.
    `inputs`: [[shape, dtype], ...], None for a dynamic size; of the model itself if empty. `options`: see `draw`.
    `calibrated`: its normalizations get statistics near those of its activations. `measured`: what rounding may do
    to its outputs is measured, as a bundle has it.
    """
    keras = reference.keras
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    made = make(keras, model, inputs)
    perturb(made, np.random.default_rng(seed))
    if calibrated:
        calibrate(keras, made, np.random.default_rng(seed))
    os.makedirs(folder, exist_ok=True)
    paths = []
    for kind in formats:
        paths.append(os.path.join(folder, "model." + kind))
        made.save(paths[-1])
    inputs = inputs or [[list(x.shape[1:]), str(x.dtype)] for x in made.inputs]
    sets = draw(made, inputs, np.random.default_rng(seed + 1), **(options or {}))
    arrays = {"in/%d/%d" % (n, i): array for n, one in enumerate(sets) for i, array in enumerate(one)}
    for dtype in ("float64", "float32"):
        loaded = reference.load(paths[0], dtype)
        for number, one in enumerate(sets):
            with reference.precision(dtype):
                result = reference.forward(loaded, one, dtype)
            arrays.update({"%s/%d/%d" % (dtype, number, i): array for i, array in enumerate(result)})
            if measured and dtype == "float64":
                arrays["rounding/%d" % number] = rounding(reference, loaded, one, result)
    np.savez(os.path.join(folder, "reference.npz"), **arrays)
    return {
        "paths": paths,
        "reference": os.path.join(folder, "reference.npz"),
        "sets": len(sets),
        "total": int(sum(np.prod(w.shape) for w in made.weights)),
        "trainable": int(sum(np.prod(w.shape) for w in made.trainable_weights)),
    }


def save(reference, folder, model, inputs=(), seed=0, generation=3, kind="keras"):
    """Builds and saves `model.keras`, or of another `kind`, and runs nothing."""
    keras = reference.keras
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    made = make(keras, model, inputs)
    perturb(made, np.random.default_rng(seed))
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "model." + kind)
    made.save(path)
    return {"path": path}


def make(keras, model, inputs):
    """The keras.Model of one line of source."""
    import tensorflow as tf

    space = dict(vars(keras.layers), keras=keras, np=np, tf=tf, layers=keras.layers, ops=getattr(keras, "ops", None))
    tensors = [keras.Input(tuple(shape), dtype=dtype) for shape, dtype in inputs]
    if model.startswith("model:"):
        return eval(model[len("model:") :], space)
    if not model.startswith("lambda"):
        x = tensors[0]
        for layer in eval("[" + model + "]", space):
            x = layer(x)
        return keras.Model(tensors[0], x)
    outputs = eval(model, space)(*tensors)
    return keras.Model(tensors[0] if len(tensors) == 1 else tensors, outputs)


def perturb(model, random):
    """Weights that start as all zeros or ones get values of their own: fresh ones hide errors."""
    for variable in model.weights:
        name = getattr(variable, "path", variable.name)
        if "seed" in name or "float" not in str(variable.dtype):
            continue
        value = np.asarray(variable)
        if "variance" in name:
            value = random.uniform(0.5, 2.0, value.shape)
        elif value.size and np.all(value == value.flat[0]):
            value = value + random.normal(0, 0.2, value.shape)
        else:
            continue
        variable.assign(value.astype("float32"))


def calibrate(keras, model, random):
    """Moving statistics near those of the activations.

    Without, activations grow from block to block, and in the deepest models the last bit of a float64 decides the
    class: such a model shows no errors.
    """
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    kept = [(layer, layer.momentum) for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    shape = [8] + [size or 64 for size in model.inputs[0].shape[1:]]
    model(random.normal(0, 100, shape).astype("float32"), training=True)
    for layer, momentum in kept:
        layer.momentum = momentum
        variance = np.asarray(layer.moving_variance)
        layer.moving_variance.assign(variance * random.uniform(0.5, 2.0, variance.shape).astype("float32"))


def draw(model, inputs, random, high=50, sizes=None, batches=(3, 1), positive=False, scale=1.0):
    """Sets of inputs: each batch size; token ids below `high` with padding left, right, inside and everywhere.

    `sizes`: what dynamic axes are, in order, one list a set; by default 7, 8, 9 ... and then other ones.
    """
    sets = []
    token_like = any(str(dtype).startswith("int") for _, dtype in inputs)
    for number, batch in enumerate((5, 1) if token_like else batches):
        dynamic = iter(sizes[number % len(sizes)] if sizes else [7 + number * 4 + i for i in range(9)])
        filled = {}
        one = []
        for shape, dtype in inputs:
            full = [batch] + [s if s is not None else filled.setdefault(i, next(dynamic)) for i, s in enumerate(shape)]
            one.append(sample(full, dtype, random, high, positive, scale))
        sets.append(one)
    return sets


def sample(shape, dtype, random, high, positive, scale):
    if re.match("u?int", dtype):
        tokens = random.integers(1, high, shape).astype(dtype)
        if len(shape) == 2 and shape[0] == 5 and shape[1] > 3:
            tokens[1, :2], tokens[2, -3:], tokens[3, 1:3], tokens[4, :] = 0, 0, 0, 0
        return tokens
    if dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    values = random.normal(0, scale, shape)
    return np.abs(values).astype("float32") if positive else values.astype("float32")
