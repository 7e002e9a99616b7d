"""A user's own training script, run up to its first `fit`: what it would have trained, with what, and how."""

import functools
import inspect
import os
import sys

import numpy as np

from .material import Material, Refusal, orders, write
from .program import as_program, failed, here, line_of, never, other_fits
from .watching import Changes, Memory, bound, is_keras, watching

OWN_STEPS = ("train_step", "test_step", "compute_loss", "compute_metrics", "make_train_function")
LISTED = 200  # epochs up to which learning rates are written one by one
DISPLAYS = ("TqdmCallback",)  # callbacks that only show progress, as train.py does itself


class Stop(BaseException):
    """Ends the script at its first `fit`. No Exception: an `except Exception` in the script does not hold it up."""


class Observer:
    """`folder`: where the model and the arrays are written. `limit`: bytes of arrays."""

    def __init__(self, script, folder, limit, say):
        self.script, self.folder, self.limit, self.say = os.path.abspath(script), folder, limit, say
        self.changes, self.found, self.notes = Changes(), None, []
        self.memory = Memory(self.changes.put)

    def observe(self, arguments, paths):
        """What `fit` was given: {"found": {...}}, or {"refused": {...}} with the parts of a UserError."""
        self.say("run " + os.path.basename(self.script))
        ended = None
        try:
            with watching(self.watch, self.memory.watch), as_program(self.script, arguments, paths) as module:
                with open(self.script, "rb") as file:
                    exec(compile(file.read(), self.script, "exec"), module.__dict__)
        except Stop:
            pass
        except BaseException as error:  # of any kind, SystemExit too; what was found before it counts
            ended = error
        self.changes.undo()
        if self.found is None:
            self.found = {"refused": (failed(ended, self.script) if ended else never(self.script)).parts}
        return self.found

    # -- the stand-ins -----------------------------------------------------------------------------------

    def watch(self, module):
        """`fit` of a Keras is recorded instead of run."""
        model = module.Model
        self.changes.put(model, "fit", self.stand_in(model.fit, self.take))
        for name in ("train_on_batch", "fit_generator"):
            if hasattr(model, name):
                self.changes.put(model, name, self.stand_in(getattr(model, name), getattr(self, name)))

    def stand_in(self, original, record):
        signature = inspect.signature(original)

        @functools.wraps(original)
        def recorded(model, *args, **kwargs):
            if self.found is None:
                try:
                    signature.bind(model, *args, **kwargs)  # a TypeError is the script's own mistake
                except TypeError:
                    return original(model, *args, **kwargs)
                try:
                    self.found = {"found": record(model, bound(signature, model, args, kwargs))}
                except Refusal as refusal:
                    self.found = {"refused": refusal.parts}
                except Exception as error:
                    self.found = {"refused": failed(error, self.script, "what fit was given cannot be kept").parts}
            raise Stop

        return recorded

    def train_on_batch(self, model, given):
        raise Refusal(
            "the script has a training loop of its own",
            expected="a call of fit",
            found="train_on_batch, " + here(self.script),
            remedy="save the compiled model, and give the file: tf2torch scaffold MODEL",
        )

    def fit_generator(self, model, given):
        """As the Keras that still had it: the generator is `x`."""
        given["x"] = given.pop("generator")
        return self.take(model, given)

    # -- the record --------------------------------------------------------------------------------------

    def take(self, model, given):
        self.say("fit, " + here(self.script))
        check_model(model)
        x, y, weights, steps = (given.get(key) for key in ("x", "y", "sample_weight", "steps_per_epoch"))
        train = self.material(model).take(x, y, weights, steps, "the training data")
        val = self.validation(model, given)
        if not model.built:
            model.build((None,) + train.inputs[0].shape[1:])
        order = orders(model)
        batch = train.batch_size or given.get("batch_size") or 32
        self.note_rest(given, train, batch)
        compiled = model.get_compile_config() if hasattr(model, "get_compile_config") else {}
        if (compiled or {}).get("weighted_metrics"):
            self.notes.append("weighted_metrics are not carried over: give them to compile as metrics")
        files = {}
        for suffix, data in (("", train), ("_val", val)):
            if data is not None:
                for name, arrays in (("x", data.inputs), ("y", data.targets), ("sample_weight", data.weights)):
                    files[name + suffix] = write(self.folder, name + suffix, arrays, self.say)
        callbacks = [one for one in listed(given.get("callbacks")) if type(one).__name__ not in DISPLAYS]
        weights = given.get("class_weight")
        shuffles = given.get("shuffle", True) is not False if train.shuffles is None else train.shuffles
        return {
            "model": self.save(model),
            "name": model.name,
            "line": line_of(self.script),
            "inputs": [name for _, name in order["inputs"]],
            "outputs": [name for _, name in order["outputs"]],
            "arrays": files,
            "batch_size": int(batch),
            "epochs": int(given.get("epochs", 1)),
            "shuffle": bool(shuffles),
            "validation_split": 0.0 if val is not None else float(given.get("validation_split") or 0.0),
            "class_weight": None if weights is None else [[int(k), float(v)] for k, v in sorted(weights.items())],
            "callbacks": [self.callback(one, model, int(given.get("epochs", 1))) for one in callbacks],
            "notes": self.notes + train.notes + (val.notes if val is not None else []) + other_fits(self.script),
        }

    def material(self, model):
        order = orders(model) if model.built else {"inputs": [("x", "x")], "outputs": [("y", "y")]}
        return Material(order, self.limit, self.say)

    def validation(self, model, given):
        data = given.get("validation_data")
        if data is None:
            return None
        parts = tuple(data) if isinstance(data, (tuple, list)) else (data,)
        x, y, weights = parts + (None,) * (3 - len(parts))
        steps = given.get("validation_steps")
        return self.material(model).take(x, y, weights, steps, "the validation data")

    def callback(self, callback, model, epochs):
        """Its name and arguments. A function of the learning rate becomes what it gives for each epoch."""
        found = self.memory.config(callback)
        schedule = getattr(callback, "schedule", None)
        if found["class_name"] != "LearningRateScheduler" or found["module"] == "__main__" or epochs > LISTED:
            return found
        rate, rates = float(np.asarray(model.optimizer.learning_rate)), []
        for epoch in range(epochs):
            try:
                rate = float(schedule(epoch, rate))
            except TypeError:  # the older form
                rate = float(schedule(epoch))
            rates.append(rate)
        self.notes.append("the rates of LearningRateScheduler are those that its function gives for each epoch")
        return {"class_name": "LearningRates", "module": "keras.callbacks", "config": {"rates": rates}}

    def note_rest(self, given, train, batch):
        """What `fit` was told and train.py does not do is said."""
        if given.get("initial_epoch"):
            self.notes.append("initial_epoch=%s is not carried over: train.py counts from 1" % given["initial_epoch"])
        if given.get("validation_freq", 1) != 1:
            self.notes.append("validation_freq is not carried over: train.py validates after each epoch")
        steps, samples = given.get("steps_per_epoch"), len(train.inputs[0])
        if steps and train.batch_size is None and steps != -(-samples // batch):
            self.notes.append("steps_per_epoch=%s is not carried over: an epoch is all %d samples" % (steps, samples))
        if given.get("validation_steps") and isinstance(given.get("validation_data"), (tuple, list)):
            self.notes.append("validation_steps is not carried over: all validation data is used")

    def save(self, model):
        """The file of the model as it is now, with what `compile` was given."""
        stem = os.path.join(self.folder, os.path.splitext(os.path.basename(self.script))[0])
        self.say("save the model")
        home = next(kind.__module__ for kind in type(model).__mro__ if is_keras(kind)).partition(".")[0]
        name_activations(model, sys.modules[home])
        path = stem + (".h5" if is_old(sys.modules[home]) else ".keras")
        model.save(path)
        return path


def is_old(keras):
    """Whether a Keras is from before the .keras format (2.12)."""
    return tuple(int(part) for part in keras.__version__.split(".")[:2]) < (2, 12)


def name_activations(model, keras):
    """`tf.nn.softmax` is called softmax_v2 in a file, which no Keras finds again; Keras' own softmax is the same."""
    known = getattr(keras, "activations", None) or keras.keras.activations
    for layer in model._flatten_layers():
        given = getattr(layer, "activation", None)
        name = getattr(given, "__name__", "")
        if name in ("softmax_v2", "log_softmax_v2") and given.__module__.startswith("tensorflow."):
            layer.activation = getattr(known, name[: -len("_v2")])


def check_model(model):
    """Raises Refusal for a model whose training is not what `compile` and `fit` say."""
    kinds = [kind for kind in type(model).__mro__ if not is_keras(kind) and kind.__module__ != "builtins"]
    own = [(kind, name) for kind in kinds for name in OWN_STEPS if name in vars(kind)]
    if own:
        raise Refusal(
            "the class %s has a %s of its own" % (own[0][0].__name__, own[0][1]),
            expected="a model that Keras' own fit trains",
            found="%s.%s" % (own[0][0].__name__, own[0][1]),
            remedy="convert the saved model (tf2torch convert), and write its training step in PyTorch",
        )
    if not any(kind.__name__ in ("Sequential", "Functional") for kind in type(model).__mro__):
        raise Refusal(
            "the class %s is a model that is written as a class" % type(model).__name__,
            expected="a Sequential model, or keras.Model(inputs, outputs)",
            found="a call method: Python code, which no model file describes",
            remedy="build it from keras.Input and the same layers, as keras.Model(inputs, outputs)",
        )
    compiled = getattr(model, "compiled", None)
    if not (getattr(model, "_is_compiled", False) if compiled is None else compiled):
        raise Refusal("fit is called before compile", remedy="call model.compile(optimizer, loss) in the script")


def listed(callbacks):
    """The callbacks that fit was given: a list, one alone, or a CallbackList."""
    if callbacks is None:
        return []
    callbacks = getattr(callbacks, "callbacks", callbacks)
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
