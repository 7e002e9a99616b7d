"""The data that `fit` was given, as arrays: from numpy, pandas, tensors, tf.data, Sequence, generators."""

import math
import os

import numpy as np

FRAMEWORK_BATCHES = ("Sequence", "PyDataset", "DataLoader")


class Refusal(Exception):
    """Why a script cannot be carried over, as `UserError` has it."""

    def __init__(self, problem, expected="", found="", remedy=""):
        super().__init__(problem)
        self.parts = {"problem": problem, "expected": expected, "found": found, "remedy": remedy}


class Material:
    """Data for training or validation. `order`: see `orders`. `limit`: bytes of all its arrays.

    `batch_size`: of what comes in batches, else None. `shuffles`: whether its source does, else None.
    """

    def __init__(self, order, limit, say):
        self.order, self.limit, self.say = order, limit, say
        self.inputs, self.targets, self.weights, self.notes = [], [], [], []
        self.batch_size = self.shuffles = None

    def take(self, x, y, weights, steps, name):
        """Arrays, or what gives batches; of an endless source, `steps` batches."""
        if not in_batches(x):
            self.inputs, self.targets, self.weights = self.sample(x, y, weights, name)
            self.check_size(sum(array.nbytes for array in self.inputs + self.targets + self.weights), name)
            return self
        if y is not None:
            raise Refusal(
                "targets beside a %s" % type(x).__name__,
                found="fit(%s, y)" % type(x).__name__,
                remedy="Keras takes them from its batches: leave y out",
            )
        batches = self.batches(x, steps, name)
        if not batches:
            raise Refusal("the %s of %s gives no batch" % (type(x).__name__, name), remedy="check what it reads")
        self.inputs, self.targets, self.weights = [joined(parts, name) for parts in zip(*batches)]
        self.batch_size = len(batches[0][0][0])
        self.shuffles = shuffles(x)
        self.notes.append(
            "%s: %d batches of a %s, from one pass over it; what it does at random in each epoch (augmentation) is "
            "frozen in the arrays" % (name, len(batches), type(x).__name__.lstrip("_"))
        )
        return self

    def batches(self, x, steps, name):
        """[(inputs, targets, weights), ...]."""
        taken, size = [], 0
        for batch in source_of(x, steps, name):
            parts = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
            if len(parts) > 3:
                raise Refusal("a batch of %s has %d parts" % (name, len(parts)), expected="(x, y, sample_weight)")
            taken.append(self.sample(*(parts + (None,) * (3 - len(parts))), name=name))
            size += sum(array.nbytes for part in taken[-1] for array in part)
            self.check_size(size, name)
            if len(taken) % 50 == 1:
                self.say("%s: batch %d" % (name, len(taken)))
        finite = steps and length_of(x) not in (None, math.inf)
        if finite and steps != length_of(x):
            self.notes.append(
                "%s: %d batches in an epoch of train.py, not %d as fit was told: all that there is"
                % (name, len(taken), steps)
            )
        return taken

    def sample(self, x, y, weights, name):
        inputs = [array_of(leaf, name) for leaf in leaves(x, self.order["inputs"], "inputs of " + name)]
        targets = [array_of(leaf, "y of " + name) for leaf in leaves(y, self.order["outputs"], "targets of " + name)]
        if not targets:
            raise Refusal(
                "fit gets no targets (%s)" % name,
                expected="x and y",
                found="x alone, as for a model that makes its own loss",
                remedy="this is not carried over: convert the saved model, and write its loss in train.py",
            )
        return inputs, targets, [] if weights is None else [weights_of(weights, name)]

    def check_size(self, size, name):
        if size > self.limit:
            raise Refusal(
                "%s is larger than what is written as arrays" % name,
                expected="at most %.3g GB" % (self.limit / 1e9),
                found="%.3g GB" % (size / 1e9) + (" and more to come" if self.batch_size is None else ""),
                remedy="--max-data GB allows more; where an endless source is to blame, give fit steps_per_epoch",
            )


# -- what comes in batches -----------------------------------------------------------------------------------


def in_batches(x):
    return is_dataset(x) or is_sequence(x) or hasattr(x, "__next__")


def is_dataset(x):
    return hasattr(x, "element_spec") and hasattr(x, "__iter__")


def is_sequence(x):
    return any(base.__name__ in FRAMEWORK_BATCHES and not isinstance(x, (list, tuple)) for base in type(x).__mro__)


def length_of(x):
    """How many batches there are: infinity, or None where it cannot be known before."""
    if is_dataset(x):
        count = int(x.cardinality()) if hasattr(x, "cardinality") else -2
        return {-1: math.inf, -2: None}.get(count, count)
    if is_sequence(x):
        count = getattr(x, "num_batches", None)
        try:
            return len(x) if count is None else count
        except (TypeError, NotImplementedError):
            return math.inf
    return math.inf


def source_of(x, steps, name):
    """The batches of one pass; of an endless source, as many as an epoch has."""
    count = length_of(x)
    if count == math.inf and not steps:
        raise Refusal(
            "the %s of %s has no end" % (type(x).__name__.lstrip("_"), name),
            expected="data of a known length, to be written as arrays",
            found="no steps_per_epoch (or validation_steps) either",
            remedy="give fit steps_per_epoch: as many batches are taken then",
        )
    count = steps if count == math.inf else count
    if is_sequence(x) and hasattr(x, "__getitem__") and not hasattr(x, "dataset"):
        for number in range(count):
            yield x[number]
        return
    for number, batch in enumerate(x):
        if count is not None and number >= count:
            return
        yield batch
        if count is not None and number + 1 == count:
            return


def shuffles(x):
    """Whether a source gives another order in each epoch; None where `fit` decides."""
    if not is_dataset(x):
        own = getattr(x, "shuffle", None)
        return own if isinstance(own, bool) else None if is_sequence(x) else False
    found, seen = [x], 0
    while found and seen < 1000:
        node, seen = found.pop(), seen + 1
        if "Shuffle" in type(node).__name__:
            return True
        found += list(node._inputs()) if hasattr(node, "_inputs") else []
    return False


def joined(parts, name):
    """One array for each place of the batches."""
    try:
        return [np.concatenate(arrays) for arrays in zip(*parts)]
    except ValueError:
        raise Refusal(
            "the batches of %s have different shapes" % name,
            expected="samples of one shape",
            found=", ".join(sorted({str(array.shape[1:]) for arrays in zip(*parts) for array in arrays})[:5]),
            remedy="pad or crop all to one size in the script",
        )


# -- arrays --------------------------------------------------------------------------------------------------


def orders(model):
    """{"inputs": [(key, name), ...], "outputs": ...}: what dicts may call them, in the model's order."""
    found = {}
    for kind in ("inputs", "outputs"):
        struct = getattr(model, "_%s_struct" % kind, None)
        struct = getattr(model, "_nested_" + kind, None) if struct is None else struct
        tensors = getattr(model, kind, None) or []
        names = list(getattr(model, kind[:-1] + "_names", None) or [t.name.split(":")[0] for t in tensors])
        keys = sorted(struct) if isinstance(struct, dict) else names
        found[kind] = list(zip(keys, names))
    return found


def leaves(tree, order, what):
    """The arrays in the order of the model. Raises Refusal where there are more or fewer."""
    if tree is None:
        return []
    if isinstance(tree, dict):
        missing = [name for key, name in order if key not in tree and name not in tree]
        if len(tree) == len(order) == 1:
            return list(tree.values())
        found = [tree[key] if key in tree else tree[name] for key, name in order if key in tree or name in tree]
        if missing:
            raise Refusal("the %s lack %s" % (what, ", ".join(missing)), found=", ".join(map(str, tree)))
    else:
        found = flat(tree)
    if order and len(found) != len(order) or any(leaf is None for leaf in found):
        raise Refusal(
            "the %s do not fit the model" % what,
            expected=", ".join(name for _, name in order),
            found="%d arrays" % sum(leaf is not None for leaf in found),
            remedy="every input and every output needs its array",
        )
    return found


def flat(tree):
    """The leaves of nested lists; a list of numbers, or of such lists, is one leaf."""
    if isinstance(tree, (list, tuple)) and not of_numbers(tree):
        return [leaf for item in tree for leaf in flat(item)]
    return [tree]


def of_numbers(tree):
    first = tree
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    return isinstance(first, (int, float, np.number, str))


def array_of(leaf, name):
    """A numpy array of numbers. Raises Refusal for text, ragged and other things."""
    kind = type(leaf).__name__
    if "Ragged" in kind or kind == "SparseTensor":
        raise Refusal("%s is a %s" % (name, kind), expected="samples of one shape", remedy="call .to_tensor() on it")
    for method in ("to_numpy", "toarray"):  # pandas, scipy.sparse
        if hasattr(leaf, method):
            leaf = getattr(leaf, method)()
    if hasattr(leaf, "detach"):
        leaf = leaf.detach().cpu()
    array = np.asarray(leaf.numpy() if hasattr(leaf, "numpy") else leaf)
    if array.dtype.kind in "OV":  # columns of several types in pandas; bfloat16
        try:
            array = array.astype("float32")
        except (TypeError, ValueError):
            pass
    if array.dtype.kind not in "biuf" or not array.ndim:
        remedy = "a dataset has to give batches: call .batch(32) on it"
        if array.ndim:
            remedy = "give numbers to fit: text is turned into them in the script, before it"
        raise Refusal(
            "%s is no array of numbers" % name,
            expected="numbers, one sample after the other",
            found="%s of %s, shape %s" % (kind, array.dtype, array.shape),
            remedy=remedy,
        )
    return array


def weights_of(weights, name):
    """Weights of samples: one number each."""
    given = [] if isinstance(weights, dict) else flat(weights)
    found = [array_of(leaf, "sample_weight of " + name) for leaf in given]
    if len(found) == 1 and found[0].ndim == 2 and found[0].shape[1] == 1:
        found = [found[0][:, 0]]
    if len(found) != 1 or found[0].ndim != 1:
        raise Refusal(
            "the sample weights of %s are not one number for each sample" % name,
            expected="an array (N,)",
            found=", ".join(str(array.shape) for array in found) or type(weights).__name__,
            remedy="weights for each output or time step are not carried over: give one for each sample",
        )
    return found[0]


def write(folder, name, arrays, say):
    """The files of some arrays: [{"file": ..., "shape": ..., "dtype": ...}]."""
    found = []
    for number, array in enumerate(arrays):
        say("write %s %s" % (name, array.shape))
        path = os.path.join(folder, "%s.%d.npy" % (name, number))
        np.save(path, array, allow_pickle=False)
        found.append({"file": path, "shape": list(array.shape), "dtype": array.dtype.name})
    return found
