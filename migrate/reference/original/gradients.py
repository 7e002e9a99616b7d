"""Gradients of projected outputs with respect to every weight and every float input."""

import numpy as np

from .reference import dtype_of, flatten, value_of


def gradients(reference, model, arrays, projections, dtype, training):
    """What is derived, as a dict: `weights` {place: array}, `inputs` {i: array}, `without` [place of a weight].

    With it come the `outputs` and the `state` {place: array}: what the run left in weights that it changed; they are
    put back. `projections`: for each output an array or None.
    """
    before = [value_of(variable) for variable in model.weights]
    if reference.backend == "jax":
        found = by_jax(reference, model, arrays, projections, dtype, training)
    else:
        found = by_tape(reference, model, arrays, projections, dtype, training)
        found["state"] = changed(model, before)
    for variable, value in zip(model.weights, before):
        if value is not None:
            reference.assign(variable, value)
    return found


def changed(model, before):
    """{place: array} of the weights that are no longer what they were."""
    now = [value_of(variable) for variable in model.weights]
    return {
        place: value
        for place, (value, old) in enumerate(zip(now, before))
        if value is not None and not np.array_equal(value, old, equal_nan=value.dtype.kind == "f")
    }


def is_float(name):
    return "float" in name


def by_tape(reference, model, arrays, projections, dtype, training):
    import tensorflow as tf

    inputs = reference.tensors(arrays, dtype)
    places = [place for place, variable in enumerate(model.weights) if is_float(dtype_of(variable))]
    floats = [i for i, x in enumerate(inputs) if x.dtype.is_floating]
    variables = [getattr(model.weights[place], "value", None) for place in places]
    variables = [v if isinstance(v, tf.Variable) else model.weights[p] for v, p in zip(variables, places)]

    def differentiate(*inputs):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            sources = [inputs[i] for i in floats] + variables
            tape.watch(sources)
            outputs = flatten(model(reference.pack(model, list(inputs)), training=training))
            loss = projected(tf, outputs, projections, dtype)
        return outputs, [dense(tf, gradient) for gradient in tape.gradient(loss, sources)]

    outputs, found = eager_or_compiled(reference, model, differentiate, inputs)
    of_inputs, of_weights = found[: len(floats)], found[len(floats) :]
    return {
        "inputs": {i: np.asarray(g) for i, g in zip(floats, of_inputs) if g is not None},
        "weights": {place: np.asarray(g) for place, g in zip(places, of_weights) if g is not None},
        "without": [place for place, g in zip(places, of_weights) if g is None],
        "outputs": [np.asarray(output) for output in outputs],
    }


def eager_or_compiled(reference, model, function, inputs):
    """Eagerly; if that fails half way, what it changed is put back, and XLA compiles it."""
    before = [value_of(variable) for variable in model.weights]

    def again(*args):
        for variable, value in zip(model.weights, before):
            if value is not None:
                reference.assign(variable, value)
        return function(*args)

    return reference.attempt(again, *inputs)


def projected(tf, outputs, projections, dtype):
    """The sum of all outputs, each element times a fixed number."""
    total = tf.zeros([], dtype)
    for output, projection in zip(outputs, projections):
        if projection is not None:
            total = total + tf.reduce_sum(tf.cast(output, dtype) * tf.constant(projection.astype(dtype)))
    return total


def dense(tf, gradient):
    return tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient


def by_jax(reference, model, arrays, projections, dtype, training):
    import jax
    import jax.numpy as jnp

    inputs = reference.tensors(arrays, dtype)
    learned, fixed = ([v.value for v in group] for group in (model.trainable_variables, model.non_trainable_variables))

    def loss(learned, fixed, inputs):
        outputs, state = model.stateless_call(learned, fixed, reference.pack(model, inputs), training=training)
        outputs, total = flatten(outputs), jnp.zeros((), dtype)
        for output, projection in zip(outputs, projections):
            if projection is not None:
                total = total + jnp.sum(output * jnp.asarray(projection, dtype))
        return total, (outputs, state)

    found, (outputs, state) = jax.grad(loss, (0, 1, 2), has_aux=True, allow_int=True)(learned, fixed, inputs)
    owners = {id(v): g for v, g in zip(model.trainable_variables, found[0])}
    owners.update({id(v): g for v, g in zip(model.non_trainable_variables, found[1])})
    places = [place for place, variable in enumerate(model.weights) if is_float(dtype_of(variable))]
    after = {id(v): s for v, s in zip(model.non_trainable_variables, state)}
    return {
        "inputs": {i: np.asarray(g) for i, g in enumerate(found[2]) if is_float(str(inputs[i].dtype))},
        "weights": {place: np.asarray(owners[id(model.weights[place])]) for place in places},
        "without": [],
        "outputs": [np.asarray(output) for output in outputs],
        "state": jax_state(model, after),
    }


def jax_state(model, after):
    found = {}
    for place, variable in enumerate(model.weights):
        if id(variable) in after and is_float(dtype_of(variable)):
            value = np.asarray(after[id(variable)])
            if not np.array_equal(value, np.asarray(variable), equal_nan=True):
                found[place] = value
    return found
