"""Hooks in Keras, set as the script imports it: any Keras that there is, 2 or 3, under any name."""

import contextlib
import functools
import importlib.util
import inspect
import sys

import numpy as np

KERAS = ("keras", "tf_keras", "tensorflow")
# Where the class Model is made: Keras 3; Keras 2.13 to 2.15 and tf_keras; 2.6 to 2.12; before that.
MODELS = (
    "keras.src.models.model",
    "keras.src.engine.training",
    "tf_keras.src.engine.training",
    "keras.engine.training",
    "tensorflow.python.keras.engine.training",
)
CALLBACKS = ("keras.src.callbacks", "tf_keras.src.callbacks", "keras.callbacks", "tensorflow.python.keras.callbacks")


class Arrivals:
    """A finder of modules that calls `after[name](module)` once a module has been run."""

    def __init__(self, after):
        self.after, self.busy = after, set()

    def find_spec(self, name, path=None, target=None):
        if name not in self.after or name in self.busy:
            return None
        self.busy.add(name)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.busy.discard(name)
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def run_and_tell(module):
            run(module)
            self.after[name](module)

        spec.loader.exec_module = run_and_tell
        return spec


@contextlib.contextmanager
def watching(on_model, on_callbacks):
    """Within, a Keras that is imported is handed to the two functions, module by module."""
    after = dict.fromkeys(MODELS, on_model)
    after.update(dict.fromkeys(CALLBACKS, on_callbacks))
    arrivals = Arrivals(after)
    for name in sorted(set(after) & set(sys.modules)):
        after[name](sys.modules[name])
    sys.meta_path.insert(0, arrivals)
    try:
        yield
    finally:
        sys.meta_path.remove(arrivals)


class Changes:
    """Attributes of classes that are other ones for a while."""

    def __init__(self):
        self.undone = []

    def put(self, owner, name, value):
        self.undone.append((owner, name, vars(owner).get(name)))
        setattr(owner, name, value)

    def undo(self):
        while self.undone:
            owner, name, old = self.undone.pop()
            if old is None:
                delattr(owner, name)
            else:
                setattr(owner, name, old)


class Memory:
    """What callbacks were made with: they have no config to ask. `put`: see `Changes`."""

    def __init__(self, put):
        self.made, self.put = {}, put

    def watch(self, module):
        for kind in list(vars(module).values()):
            if isinstance(kind, type) and "__init__" in vars(kind) and is_callback(kind):
                self.put(kind, "__init__", self.remembering(kind.__init__))

    def remembering(self, original):
        signature = inspect.signature(original)

        @functools.wraps(original)
        def __init__(callback, *args, **kwargs):
            if id(callback) not in self.made:  # the outermost call: those of its bases come later
                self.made[id(callback)] = callback, bound(signature, callback, args, kwargs)
            original(callback, *args, **kwargs)

        return __init__

    def config(self, callback):
        """{"class_name", "module", "config"}: its arguments as they were given. `__main__`: the user's own class."""
        _, arguments = self.made.get(id(callback), (callback, {}))
        own = not is_keras(type(callback))
        return {
            "class_name": type(callback).__name__,
            "module": "__main__" if own else "keras.callbacks",
            "config": {} if own else {name: plain(value) for name, value in arguments.items()},
        }


def is_callback(kind):
    return any(base.__name__ == "Callback" for base in kind.__mro__)


def is_keras(kind):
    return kind.__module__.partition(".")[0] in KERAS


def bound(signature, this, args, kwargs):
    """{name: value} of what was given, without `self`; {} where it does not fit: the call itself will say so."""
    try:
        found = dict(signature.bind(this, *args, **kwargs).arguments)
    except TypeError:
        return {}
    found.pop(next(iter(signature.parameters)))
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            found.update(found.pop(name, {}))
    return found


def plain(value):
    """A value as JSON has it; what it has not, by name, as the user's own."""
    if isinstance(value, (np.generic, np.ndarray)):
        return plain(value.tolist())
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "__fspath__"):
        return str(value)
    return {"class_name": "function", "module": "__main__", "config": getattr(value, "__name__", type(value).__name__)}
