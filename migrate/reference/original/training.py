"""Training steps of the original, with the optimizer and losses of its file."""

import copy

import numpy as np

from .files import retyped_config
from .reference import name_of, value_of


class Plan:
    """How a model is trained: the parts of its compile config, as the file has them.

    `source`: `file`, or `default` where the file says nothing: plain SGD on the mean squared error.
    """

    def __init__(self, config):
        config = config or {}
        self.optimizer = config.get("optimizer") or config.get("optimizer_config")
        self.loss, self.loss_weights = config.get("loss"), config.get("loss_weights")
        self.source = "file" if self.optimizer and self.loss is not None else "default"
        if self.source == "default":
            self.optimizer = {"class_name": "SGD", "config": {"learning_rate": 0.01}}
            self.loss, self.loss_weights = "mean_squared_error", None
        if isinstance(self.optimizer, dict) and "LossScale" in str(self.optimizer.get("class_name")):
            settings = self.optimizer.get("config") or {}
            self.optimizer = settings.get("inner_optimizer") or settings.get("optimizer") or self.optimizer

    def describe(self):
        return {
            "from": self.source,
            "optimizer": self.optimizer,
            "loss": self.loss,
            "loss_weights": self.loss_weights,
        }


def compile_model(reference, model, plan, dtype, eager=True):
    """Compiles with a fresh optimizer; metrics play no part."""
    keras = reference.keras
    optimizer, loss = retyped_config([plan.optimizer, plan.loss], dtype, reference.generation)
    optimizer = restored(reference, optimizer, keras.optimizers.deserialize)
    loss = restored(reference, loss, keras.losses.deserialize)
    options = {"optimizer": optimizer, "loss": loss, "loss_weights": plan.loss_weights, "run_eagerly": eager}
    if reference.generation >= 3 or not eager:
        options["jit_compile"] = not eager
    if reference.generation >= 3:
        options["auto_scale_loss"] = False
    model.compile(**options)


def restored(reference, config, deserialize):
    """Objects of a compile config: alone, by output, or in a list. A plain string is a name that Keras knows."""
    if isinstance(config, (list, tuple)):
        return [restored(reference, item, deserialize) for item in config]
    if not isinstance(config, dict):
        return config
    if config.get("class_name") in ("__tuple__",):
        return [restored(reference, item, deserialize) for item in config["items"]]
    if "class_name" not in config:
        return {key: restored(reference, item, deserialize) for key, item in config.items()}
    if reference.generation >= 3 and config.get("class_name") == "function":
        return reference.keras.saving.deserialize_keras_object(copy.deepcopy(config))
    return deserialize(copy.deepcopy(config))


def train(reference, model, plan, batches, dtype, steps, keep):
    """Yields, for each step, (loss before it, {place: array} of the weights, {slot: {place: array}}, {name: number}).

    `batches`: [(inputs, targets), ...], taken in turn. Weights and slots are None for steps that are not in `keep`.
    """
    compile_model(reference, model, plan, dtype)
    compiled = False
    for step in range(1, steps + 1):
        inputs, targets = batches[(step - 1) % len(batches)]
        x = reference.pack(model, reference.tensors(inputs, dtype))
        y = [target.astype(dtype) if target.dtype.kind == "f" else target for target in targets]
        y = targets_of(model, y)
        try:
            loss = one_step(model, x, y)
        except Exception as error:
            if compiled or step > 1 or not reference.compiles or not no_kernel(reference, error):
                raise
            compiled = True
            compile_model(reference, model, plan, dtype, eager=False)
            loss = one_step(model, x, y)
        if step in keep:
            yield loss, weights(model), slots(reference, model), numbers(reference, model)
        else:
            yield loss, None, None, None


def targets_of(model, targets):
    """Targets in the structure of the model's outputs."""
    structure = getattr(model, "_outputs_struct", None)
    if structure is None:
        structure = getattr(model, "_nested_outputs", None)
    if isinstance(structure, dict):
        return dict(zip(sorted(structure), targets))
    return targets[0] if len(targets) == 1 else targets


def one_step(model, x, y):
    logs = model.train_on_batch(x, y)
    return float(np.asarray(logs[0] if isinstance(logs, (list, tuple)) else logs))


def no_kernel(reference, error):
    if reference.backend != "tensorflow":
        return False
    import tensorflow as tf

    return isinstance(error, (tf.errors.UnimplementedError, tf.errors.InvalidArgumentError, tf.errors.NotFoundError))


def weights(model):
    found = {place: value_of(variable) for place, variable in enumerate(model.weights)}
    return {place: value for place, value in found.items() if value is not None}


def slots(reference, model):
    """{slot: {place of the weight: array}} of the optimizer."""
    optimizer = model.optimizer
    places = {id(variable): place for place, variable in enumerate(model.weights)}
    if hasattr(optimizer, "get_slot_names"):  # up to TensorFlow 2.10
        return old_slots(optimizer, model, places)
    learned = list(model.trainable_variables)
    found = {}
    for attribute, value in sorted(vars(optimizer).items()):
        if not isinstance(value, (list, tuple)) or len(value) != len(learned) or not learned:
            continue
        if all(a is b for a, b in zip(value, learned)) or attribute in ("_variables", "_trainable_variables"):
            continue
        arrays = {places[id(v)]: value_of(slot) for v, slot in zip(learned, value) if slot is not None}
        if arrays and all(array is not None and array.dtype.kind == "f" for array in arrays.values()):
            found[attribute.strip("_")] = arrays
    return found


def old_slots(optimizer, model, places):
    found = {}
    for name in optimizer.get_slot_names():
        for variable in model.trainable_variables:
            try:
                found.setdefault(name, {})[places[id(variable)]] = value_of(optimizer.get_slot(variable, name))
            except KeyError:
                continue
    return found


def numbers(reference, model):
    """The optimizer's scalars: iterations, learning rate, and what else it keeps count of."""
    optimizer = model.optimizer
    variables = optimizer.variables() if callable(optimizer.variables) else optimizer.variables
    found = {}
    for variable in variables:
        value = value_of(variable)
        if value is not None and value.ndim == 0 and value.dtype.kind in "iuf":
            found[name_of(variable).rpartition("/")[2]] = value
    rate = optimizer.learning_rate
    if not callable(rate):
        found["learning_rate"] = np.asarray(value_of(rate), "float64")
    return found
