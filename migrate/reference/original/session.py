"""One model that is being captured: the answers to what `migrate/capture.py` asks, arrays by way of .npz files."""

import numpy as np

from .files import Stored, read_config, shortened
from .gradients import gradients
from .leaks import DRAWS, ROUNDING, Leaks, rounding
from .provenance import Provenance
from .quiet import without_chance
from .recording import Recorder
from .reference import flatten, name_of, value_of
from .training import Plan, train

OF_THE_LARGEST = 1e-2  # as migrate/verify/gradients.py has it: below this share of the largest, gradients are rounding
SENSITIVE = 1e-11  # where rounding moves outputs further than this, it moves layers and training as well


class Session:
    """`keys`: the paths of the arrays that are asked for, as the reader of model files has them."""

    def __init__(self, reference, say, model, dtypes, weights="", trust=False, keys=(), input_shape=None):
        self.reference, self.say, self.dtypes = reference, say, dtypes
        options = {"weights": weights, "trust": trust, "input_shape": input_shape}
        tags = []
        say("find the weights")
        tagged = reference.load(model, "float64", tags=tags, **options)
        self.provenance = Provenance(tagged, tags)
        del tagged
        self.models = {}
        for dtype in dtypes:
            say("load in " + dtype)
            self.models[dtype] = reference.load(model, dtype, **options)
        with Stored(weights or model) as stored:
            self.provenance.check(self.models[dtypes[0]], stored)
            self.provenance.alias(keys, stored)
        self.plan = Plan(shortened(read_config(model)[1]))
        self.leaks, self.sensitive = [], False

    def describe(self):
        model = self.models[self.dtypes[0]]
        weights, unmapped = self.provenance.describe(model)
        sizes = [(int(np.prod(v.shape)), v) for v in model.weights]
        trainable = {id(v) for v in model.trainable_weights}
        return {
            "versions": self.reference.versions(),
            "weights": weights,
            "unmapped": unmapped,
            "inputs": [interface(x) for x in model.inputs],
            "outputs": [dict(interface(x), name=n) for x, n in zip(model.outputs, output_names(model))],
            "parameters": {
                "total": sum(size for size, _ in sizes),
                "trainable": sum(size for size, v in sizes if id(v) in trainable),
            },
            "training": self.plan.describe(),
        }

    def forward(self, inputs, outputs):
        """Every set of inputs, in each precision; `rounding`: what float64 itself may do to the outputs of each."""
        sets, found = input_sets(np.load(inputs)), {}
        measured = [0.0] * len(sets)
        for dtype in self.dtypes:
            for number, arrays in enumerate(sets):
                self.say("forward, %s, set %d of %d" % (dtype, number + 1, len(sets)))
                result = self.run(
                    dtype, lambda model, a=arrays, d=dtype: self.reference.forward(model, a, d), "forward"
                )
                found.update({"%s/%d/%d" % (dtype, number, i): array for i, array in enumerate(result)})
                if dtype == "float64":
                    measured[number] = rounding(self.reference, self.models[dtype], arrays, result)
        np.savez(outputs, **found)
        self.sensitive = max(measured) > SENSITIVE
        return {"rounding": measured}

    def run(self, dtype, function, what):
        """Arrays of a run; in float64, what is left of float32 in it is measured, as the leak of `what`."""
        model = self.models[dtype]
        with self.reference.precision(dtype):
            if dtype != "float64":
                return function(model)
            leaks = Leaks(self.reference)
            with leaks.watching():
                result = function(model)
            self.measure("", what, leaks, lambda: function(model), result)
            return result

    def measure(self, layer, what, leaks, again, result):
        """How far float32 that was found moves a result; of gradients and sensitive models, how far rounding does.

        Gradients go through a deep model twice: rounding may move them where it leaves the outputs alone.
        """
        noise, derived = Leaks(self.reference, ROUNDING), what.startswith("gradients")
        rounded = "rounding" if derived or self.sensitive else ""
        for kind, op in ((leaks, ", ".join(sorted(leaks.found))), (noise, rounded)):
            if op and kind.active:
                share, draws = OF_THE_LARGEST if derived else 0.0, DRAWS if self.sensitive or kind is leaks else 1
                size = kind.size(again, result, share, draws)
                if kind is leaks or size > SENSITIVE:
                    self.leak(layer, op, what, size)

    def leak(self, layer, op, what, size):
        for entry in self.leaks:
            if (entry["layer"], entry["what"], entry["op"] == "rounding") == (layer, what, op == "rounding"):
                entry["size"] = max(entry["size"], size)
                return
        self.leaks.append({"layer": layer, "op": op, "what": what, "size": size})

    def layers(self, inputs, outputs):
        """Every call of a layer, for one set."""
        arrays, found, calls = input_sets(np.load(inputs))[0], {}, None
        for dtype in self.dtypes:
            self.say("layers, " + dtype)
            with self.reference.precision(dtype):
                recorder = self.recorded(dtype, arrays)
            found.update({"%s/%s" % (dtype, name): array for name, array in recorder.tensors.items()})
            if calls is not None and recorder.calls != calls:
                raise ValueError("the model calls other layers in float32 than in float64")
            calls = recorder.calls
        np.savez(outputs, **found)
        return {"calls": calls}

    def recorded(self, dtype, arrays):
        model, leaks = self.models[dtype], Leaks(self.reference)
        watch = self.watcher(leaks) if dtype == "float64" else None
        recorder = Recorder(self.reference, model, watch)
        leaks.active = leaks.active and watch is not None
        with leaks.watching(), recorder.running():
            self.reference.call(model, self.reference.pack(model, self.reference.tensors(arrays, dtype)))
        return recorder

    def watcher(self, leaks):
        """Measures the leak of each layer by itself, right after it has run."""

        def watch(path, again, outputs):
            if leaks.random is not None:
                return
            try:
                result = [np.asarray(x) for x in flatten(outputs)]
                self.measure(path, "layers", leaks, lambda: [np.asarray(x) for x in flatten(again())], result)
            except Exception as error:
                self.say("the leak of %s cannot be measured: %s" % (path, error))
            leaks.clear()

        return watch

    def gradients(self, inputs, outputs):
        """Both modes, for one set and its projections."""
        given = np.load(inputs)
        arrays = [given["in/%d" % i] for i in range(count(given, "in/"))]
        total = len(self.models[self.dtypes[0]].outputs)
        projections = [given["projection/%d" % i] if "projection/%d" % i in given.files else None for i in range(total)]
        found, without = {}, {}
        for dtype in self.dtypes:
            for mode in ("inference", "training"):
                self.say("gradients, %s, in %s" % (dtype, mode))
                result = self.gradient(dtype, mode, arrays, projections)
                without[mode] = self.paths(result["without"])
                prefix = "%s/%s/" % (dtype, mode)
                found.update({prefix + "inputs/%d" % i: a for i, a in result["inputs"].items()})
                found.update({prefix + "outputs/%d" % i: a for i, a in enumerate(result["outputs"])})
                for kind in ("weights", "state"):
                    for path, array in self.provenance.in_file(result[kind]).items():
                        found[prefix + kind + "/" + path] = array
        np.savez(outputs, **found)
        return {"without": without, "modes": ["inference", "training"]}

    def gradient(self, dtype, mode, arrays, projections):
        kept = {}

        def differentiate(model):
            with without_chance(self.reference):
                found = gradients(self.reference, model, arrays, projections, dtype, mode == "training")
            first = kept.setdefault("result", found)
            return [found[kind].get(place) for kind in ("weights", "inputs", "state") for place in sorted(first[kind])]

        self.run(dtype, differentiate, "gradients, " + mode)
        return kept["result"]

    def paths(self, places):
        """The paths in the file of some variables."""
        parts = [part for place in places for part in self.provenance.places.get(place, ())]
        return sorted(self.provenance.renamed.get(path, path) for path, _, _ in parts)

    def training(self, inputs, outputs, steps, keep):
        """`steps` steps from the weights of the file, in each precision; in full for the steps in `keep`."""
        given = np.load(inputs)
        batches = batches_of(given)
        found, losses, slot_names = {}, {}, set()
        for dtype in self.dtypes:
            self.say("training, " + dtype)
            losses[dtype] = []
            for step, (loss, *state) in enumerate(self.trained(dtype, batches, steps, keep), 1):
                losses[dtype].append(loss)
                if state[0] is not None:
                    slot_names.update(state[1])
                    found.update(self.state_arrays("%s/%d/" % (dtype, step), *state))
        np.savez(outputs, **found)
        return dict(self.plan.describe(), losses=losses, slots=sorted(slot_names))

    def trained(self, dtype, batches, steps, keep):
        """The steps, as a list; the model is as before then."""
        reference = self.reference

        def run(model):
            before = [value_of(variable) for variable in model.weights]
            with without_chance(reference):
                made = list(train(reference, model, self.plan, batches, dtype, steps, keep))
            for variable, value in zip(model.weights, before):
                if value is not None:
                    reference.assign(variable, value)
            kept.append(made)
            weights = made[-1][1] or {}
            return [np.asarray([step[0] for step in made])] + [weights[place] for place in sorted(weights)]

        kept = []
        self.run(dtype, run, "training")
        return kept[0]

    def state_arrays(self, prefix, weights, slots, numbers):
        found = {}
        for path, array in self.provenance.in_file(weights).items():
            found[prefix + "weights/" + path] = array
        for slot, values in slots.items():
            for path, array in self.slot_in_file(values).items():
                found[prefix + "slots/" + slot + "/" + path] = array
        for name, value in numbers.items():
            found[prefix + "optimizer/" + name] = value
        return found

    def slot_in_file(self, values):
        """Slots in the layout of the file; one of another shape than its weight (Adafactor's) as it is."""
        shaped, found = {}, {}
        for place, value in values.items():
            for path, there, here in self.provenance.places.get(place, ())[:1]:
                if int(np.prod(self.provenance.shapes[path])) == value.size or here is not None:
                    shaped[place] = value
                else:
                    found[self.provenance.renamed.get(path, path)] = value
        found.update(self.provenance.in_file(shaped))
        return found


def interface(tensor):
    """Name, shape and dtype of a symbolic input or output."""
    dtype = tensor.dtype if isinstance(tensor.dtype, str) else tensor.dtype.name
    shape = [None if size is None else int(size) for size in tuple(tensor.shape)]
    return {"name": name_of(tensor).partition("/")[0], "shape": shape, "dtype": dtype.replace("float64", "float32")}


def output_names(model):
    """As the layers that make them are called."""
    names = getattr(model, "output_names", None)
    return list(names) if names else [maker(tensor).name for tensor in model.outputs]


def maker(tensor):
    """The layer or op that makes a symbolic tensor."""
    history = tensor._keras_history
    return getattr(history, "operation", None) or history.layer


def count(given, prefix):
    return sum(key.startswith(prefix) for key in given.files)


def batches_of(given):
    """[(inputs, targets), ...] of the keys `batch/B/in/i` and `batch/B/target/j`."""
    found, number = [], 0
    while "batch/%d/in/0" % number in given.files:
        prefix = "batch/%d/" % number
        parts = [
            [given[prefix + kind + "%d" % i] for i in range(count(given, prefix + kind))] for kind in ("in/", "target/")
        ]
        found.append(tuple(parts))
        number += 1
    return found


def input_sets(arrays):
    """[[input, ...], ...] of an .npz with the keys `set/input`."""
    sets = {}
    for key in arrays.files:
        number, position = map(int, key.split("/"))
        sets.setdefault(number, {})[position] = arrays[key]
    return [[sets[n][p] for p in sorted(sets[n])] for n in sorted(sets)]
