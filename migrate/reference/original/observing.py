"""A user's own training script, run up to its first `fit`: what it would have trained, with what, and how."""

import ast
import contextlib
import functools
import inspect
import linecache
import os
import sys
import types

import numpy as np

from .material import Material, Refusal, orders, write
from .watching import Changes, Memory, bound, is_keras, watching

OWN_STEPS = (
    "train_step",
    "test_step",
    "compute_loss",
    "compute_metrics",
    "compute_loss_and_updates",
    "make_train_function",
)
TRAINING_ARGUMENTS = {"epochs", "batch_size", "validation_data", "validation_split", "callbacks", "steps_per_epoch"}
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


# -- the script --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def as_program(script, arguments, paths):
    """Within, all is as if Python had been started with the script, in its folder."""
    module = types.ModuleType("__main__")
    module.__file__, module.__builtins__ = script, __builtins__
    kept = sys.argv, sys.path[:], os.getcwd(), sys.modules["__main__"], sys.stdin
    sys.argv, sys.path[:1] = [script] + list(arguments), [os.path.dirname(script)] + list(paths)
    sys.modules["__main__"] = module
    os.chdir(os.path.dirname(script))
    stdin = os.dup(0)  # requests come in there: a script that asks for input must not read them
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    sys.stdin = os.fdopen(nothing)
    try:
        yield module
    finally:
        sys.argv, sys.path[:], folder, sys.modules["__main__"], sys.stdin = kept
        os.chdir(folder)
        os.dup2(stdin, 0)
        os.close(stdin)


def line_of(script):
    """The line of the script that is being run; 0 where it is none of its own."""
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_filename != script:
        frame = frame.f_back
    return frame.f_lineno if frame is not None else 0


def here(script):
    return "%s, line %d" % (os.path.basename(script), line_of(script))


def other_fits(script):
    """What is to be said where `fit` would have been called again."""
    with open(script, "rb") as file:
        tree, line, notes = ast.parse(file.read()), line_of(script), []
    lines = sorted({node.lineno for node in ast.walk(tree) if is_fit(node)} - {line})
    lines = [other for other in lines if other > line]
    loops = [node for node in ast.walk(tree) if isinstance(node, (ast.For, ast.While))]
    if any(loop.lineno <= line <= loop.end_lineno for loop in loops):
        notes.append("fit, line %d, is called in a loop: its first call was recorded" % line)
    if lines:
        notes.append("fit, line %d, was recorded; not that of line %s" % (line, ", ".join(map(str, lines))))
    return notes


def is_fit(node):
    """A call of a model's fit, not of a scaler's: it has what only a training has."""
    called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.startswith("fit")
    return called and bool({keyword.arg for keyword in node.keywords} & TRAINING_ARGUMENTS)


def never(script):
    return Refusal(
        "the script ends without a call of fit",
        expected="model.fit(...), which is recorded there",
        found="the end of %s" % os.path.basename(script),
        remedy="check that it trains when it is run as a program; arguments for it stand after --",
    )


def failed(error, script, problem="the script fails before its first fit"):
    """What a script raised, with the last line of the user's own code."""
    folder, last = os.path.dirname(script), None
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if os.path.abspath(name).startswith(folder + os.sep) and "site-packages" not in name:
            last = (name, trace.tb_lineno)
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename:
        last = error.filename, error.lineno
    where = ""
    if last is not None:
        linecache.checkcache(last[0])
        code = linecache.getline(last[0], last[1]).strip()
        where = "%s, line %d: %s\n    " % (os.path.relpath(last[0], folder), last[1], code[:120])
    said = " ".join(str(error).split())
    return Refusal(
        problem,
        expected="a script that runs as a program",
        found="%s%s: %s" % (where, type(error).__name__, said[:400] + (" ..." if len(said) > 400 else "")),
        remedy=way_out(error, script),
    )


def way_out(error, script):
    if isinstance(error, ImportError):
        return "install it, or name the interpreter that the script runs with: --python ~/my-env/bin/python"
    if isinstance(error, SystemExit):
        return "arguments of the script stand after --: tf2torch scaffold --script %s ... -- --option value" % (
            os.path.basename(script)
        )
    if "URL" in str(error):
        return "run it where the network is, or put the file where it looks first (~/.keras/datasets)"
    if isinstance(error, OSError):
        return "it runs in its own folder, %s: paths are from there" % os.path.dirname(script)
    return "check that it runs: %s %s" % (sys.executable, os.path.basename(script))
