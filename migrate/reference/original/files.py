"""Model files as the worker hands them to Keras: copies whose layers compute in another precision, or hold tags."""

import json
import os
import shutil
import zipfile

import numpy as np

MIXED = ("mixed_float16", "mixed_bfloat16")
OTHERS = ("float16", "bfloat16", "float64")
CODE = {"Lambda", "__lambda__", "TorchModuleWrapper"}
TRAINED = {"optimizer", "optimizer_weights", "metrics", "_metrics"}  # groups of what belongs to training
WEIGHTS = "model.weights.h5"


class Refused(Exception):
    """What is not run for the sake of safety."""


def kind_of(path):
    """`archive`, `hdf5` or `json`, by the content."""
    with open(path, "rb") as file:
        head = file.read(8)
    return "archive" if head[:2] == b"PK" else "hdf5" if head == b"\x89HDF\r\n\x1a\n" else "json"


def read_config(path):
    """(config of the model, config of its training or None) as the file has them."""
    kind = kind_of(path)
    if kind == "archive":
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
        return config, config.get("compile_config")
    if kind == "json":
        with open(path, encoding="utf-8-sig") as file:
            config = json.load(file)
        return (json.loads(config) if isinstance(config, str) else config), None
    import h5py

    with h5py.File(path, "r") as file:
        config, training = (file.attrs.get(name) for name in ("model_config", "training_config"))
        return json.loads(text(config)), json.loads(text(training)) if training is not None else None


def text(value):
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def check_safe(tree):
    """Raises Refused for a config that brings code with it, or names what is no part of a model."""
    if isinstance(tree, list):
        for item in tree:
            check_safe(item)
    if not isinstance(tree, dict):
        return
    module, name = str(tree.get("module") or ""), str(tree.get("class_name") or "")
    if name in CODE:
        raise Refused("%s %r holds code" % (name, str((tree.get("config") or {}).get("name", ""))[:80]))
    if "utils" in module or (
        module and module.partition(".")[0] not in ("keras", "tf_keras", "tensorflow", "builtins")
    ):
        raise Refused("it names %r of the module %r" % (name[:80], module[:80]))
    for item in tree.values():
        check_safe(item)


def retyped(path, folder, dtype, generation=3, tags=None):
    """A copy of a model file whose layers compute in `dtype`; the file itself where that changes nothing.

    `tags`: a list that takes (path of an array, number of its first element, shape, dtype); the copy then holds, in
    place of its numbers, the running numbers of its elements.
    """
    kind = kind_of(path)
    if kind == "archive":
        return retyped_archive(path, folder, dtype, generation, tags)
    config, training = read_config(path)
    new, new_training = retyped_config(config, dtype, generation), retyped_config(training, dtype, generation)
    if tags is None and dtype == "float32" and (new, new_training) == (config, training):
        return path
    copy = os.path.join(folder, os.path.basename(path))
    if kind == "json":
        with open(copy, "w", encoding="utf-8") as file:
            json.dump(new, file)
        return copy
    import h5py

    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        for name, value in (("model_config", new), ("training_config", new_training)):
            if value is not None:
                del file.attrs[name]
                file.attrs[name] = json.dumps(value).encode()  # as Keras does; old ones want bytes
        if tags is not None:
            put_tags(file, tags)
    return copy


def retyped_archive(path, folder, dtype, generation, tags):
    """The same for a `.keras` file."""
    copy = os.path.join(folder, os.path.basename(path))
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            if name == "config.json":
                config = json.loads(old.read(name))
                changed = retyped_config(config, dtype, generation)
                if tags is None and dtype == "float32" and changed == config:
                    return path
                new.writestr(name, json.dumps(changed))
            elif name == WEIGHTS and tags is not None:
                new.write(tagged_member(old, folder, tags), name)
            else:
                with old.open(name) as source, new.open(name, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target, 1 << 20)
    return copy


def tagged_member(archive, folder, tags):
    import h5py

    path = archive.extract(WEIGHTS, folder)
    with h5py.File(path, "r+") as file:
        put_tags(file, tags)
    return path


def tagged_weights(path, folder, tags):
    """A copy of a file of weights alone that holds tags."""
    import h5py

    copy = os.path.join(folder, "tagged." + os.path.basename(path))
    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        put_tags(file, tags)
    return copy


def put_tags(file, tags):
    """Each element of each array becomes its running number in the file."""
    start = 0
    for path in array_paths(file):
        shape, kind = file[path].shape, file[path].dtype.kind
        size, stored = int(np.prod(shape, dtype=np.int64)), dtype_name(file[path])
        numbers = np.arange(start, start + size, dtype="int64" if kind in "iu" else "float64").reshape(shape)
        parent, _, name = path.rpartition("/")
        group = file[parent] if parent else file
        del group[name]
        group.create_dataset(name, data=numbers)
        tags.append((path, start, shape, stored))
        start += size


def dtype_name(array):
    return "bfloat16" if array.dtype.kind == "V" else array.dtype.newbyteorder("=").name


def array_paths(file):
    """The paths of the arrays of an open HDF5 file that belong to the model."""
    import h5py

    found = []

    def visit(path, thing):
        if isinstance(thing, h5py.Dataset) and not TRAINED.intersection(path.split("/")):
            found.append(path)

    file.visititems(visit)
    return sorted(found)


class Stored:
    """The arrays of a model file by their paths. Use as a context manager."""

    def __init__(self, path):
        import h5py

        self.archive = None
        if kind_of(path) == "archive":
            self.archive = zipfile.ZipFile(path)
            self.file = h5py.File(self.archive.open(WEIGHTS), "r")
        else:
            self.file = h5py.File(path, "r")

    def __contains__(self, path):
        return path in self.file

    def __getitem__(self, path):
        found = self.file[path]
        if found.dtype.kind == "V":  # bfloat16
            return (np.asarray(found[()]).view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        return np.asarray(found[()])

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()
        if self.archive is not None:
            self.archive.close()


def retyped_config(config, dtype, generation=3):
    """The config with every float32 that is a dtype replaced: of policies, layers, inputs and casts.

    Mixed, half and double precision of layers becomes plain: what is asked for is what the layers mean. Numbers that
    passed through float32 on their way into the file are what they were meant to be. What Keras 2.15 wrote is
    addressed to tf_keras.
    """
    if isinstance(config, list):
        return [retyped_config(item, dtype, generation) for item in config]
    if isinstance(config, float):
        return short(config) if dtype != "float32" else config
    if not isinstance(config, dict):
        return config
    changed = {}
    for key, value in config.items():
        if key == "dtype" and policy_name(value) in (("float32",) + MIXED + (OTHERS if of_layer(config) else ())):
            changed[key] = dtype
        elif key == "module" and generation < 3 and isinstance(value, str):
            changed[key] = renamed_module(value)
        else:
            changed[key] = retyped_config(value, dtype, generation)
    return changed


def of_layer(config):
    """Whether a dict is the config of a layer; that of a cast to float16 is not, and means what it says."""
    return bool({"trainable", "batch_shape", "batch_input_shape"}.intersection(config))


def policy_name(value):
    """The name of a dtype or of a policy of Keras 2 or 3."""
    if isinstance(value, dict) and "Policy" in str(value.get("class_name", "")):
        value = (value.get("config") or {}).get("name")
    return value if isinstance(value, str) else None


def renamed_module(module):
    """`keras.src.engine.functional` as tf_keras calls it, where that is who reads the file."""
    try:
        import tf_keras  # noqa: F401
    except ImportError:
        return module
    parts = module.split(".")
    if parts[:2] == ["keras", "src"]:
        return ".".join(["tf_keras"] + parts[1:])
    return ".".join(["tf_keras", "src"] + parts[1:]) if parts[:2] == ["keras", "engine"] else module


def shortened(tree):
    """A config with its numbers as their author wrote them."""
    if isinstance(tree, list):
        return [shortened(item) for item in tree]
    if isinstance(tree, dict):
        return {key: shortened(item) for key, item in tree.items()}
    return short(tree) if isinstance(tree, float) else tree


def short(number):
    """0.0010000000474974513 as 0.001; the reader of model files does the same (`migrate/readers/data.py`)."""
    if abs(number) > np.finfo(np.float32).max or float(np.float32(number)) != number:
        return number
    written = str(np.float32(number))
    return float(written) if len(written) + 4 < len(repr(number)) else number
