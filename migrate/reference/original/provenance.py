"""Which array of the model file is which variable, element by element: found by loading a copy that holds tags."""

import numpy as np

from .reference import name_of, value_of


class Provenance:
    """For each variable of a model (by its place among `model.weights`), where its elements lie in the file.

    `places`: {place of the variable: [(path, elements of the array, elements of the variable)]}, None for all.
    """

    def __init__(self, model, tags):
        self.shapes = {tag[0]: tag[2] for tag in tags}
        self.dtypes = {tag[0]: tag[3] for tag in tags}
        self.places, self.unmapped, self.renamed = {}, [], {}
        starts = np.array([tag[1] for tag in tags], np.int64)
        for place, variable in enumerate(model.weights):
            value = value_of(variable)
            if value is None or value.dtype.kind not in "fiu":
                continue
            found = located(value, tags, starts)
            if found is None:
                self.unmapped.append(place)
            else:
                self.places[place] = found

    def check(self, model, stored):
        """Variables whose numbers are not those of the file, as it is loaded, are unmapped."""
        for place in list(self.places):
            value = value_of(model.weights[place])
            for path, there, here in self.places[place]:
                expected = stored[path].reshape(-1) if there is None else stored[path].reshape(-1)[there]
                actual = value.reshape(-1) if here is None else value.reshape(-1)[here]
                if not np.array_equal(actual.astype(np.float32), expected.astype(np.float32), equal_nan=True):
                    del self.places[place]
                    self.unmapped.append(place)
                    break

    def alias(self, keys, stored):
        """Arrays that the file holds twice go by the path that is asked for, not by that which is loaded last."""
        loaded = {path for parts in self.places.values() for path, _, _ in parts}
        spare = sorted(loaded - set(keys))
        for key in keys:
            if key in loaded or key not in stored:
                continue
            twins = [path for path in spare if self.shapes[path] == self.shapes.get(key)]
            twins = [path for path in twins if np.array_equal(stored[path], stored[key])]
            if twins:
                twins.sort(key=lambda path: path.rpartition("/")[2] != key.rpartition("/")[2])
                self.renamed[twins[0]] = key
                spare.remove(twins[0])

    def in_file(self, values):
        """{path: array in the shape of the file} of {place of a variable: array}; elements nobody has are zero."""
        arrays = {}
        for place, value in values.items():
            for path, there, here in self.places.get(place, ()):
                path_out = self.renamed.get(path, path)
                flat = np.asarray(value).reshape(-1)
                if there is None and here is None:
                    arrays[path_out] = flat.reshape(self.shapes[path])
                    continue
                target = arrays.setdefault(path_out, np.zeros(self.shapes[path], flat.dtype))
                target.reshape(-1)[slice(None) if there is None else there] = flat if here is None else flat[here]
        return arrays

    def describe(self, model):
        """{path: variable, shape, dtype, trainable} and the names of variables that no array is."""
        trainable = {id(variable) for variable in model.trainable_weights}
        found = {}
        for place, parts in self.places.items():
            variable = model.weights[place]
            for path, _, _ in parts:
                found[self.renamed.get(path, path)] = {
                    "variable": name_of(variable),
                    "shape": [int(size) for size in self.shapes[path]],
                    "dtype": self.dtypes[path],
                    "trainable": id(variable) in trainable,
                }
        return found, [name_of(model.weights[place]) for place in self.unmapped]


def located(value, tags, starts):
    """[(path, elements there, elements here)] of a variable that holds tags; None if these make no sense."""
    if value.size == 0:
        return []
    flat = value.reshape(-1)
    numbers = flat.astype(np.int64)
    last = tags[-1][1] + int(np.prod(tags[-1][2], dtype=np.int64))
    if not np.array_equal(numbers, flat) or numbers.min() < 0 or numbers.max() >= last:
        return None
    owners = np.searchsorted(starts, numbers, side="right") - 1
    found = []
    for owner in np.unique(owners):
        path, start, shape = tags[owner][:3]
        here = np.flatnonzero(owners == owner)
        there = numbers[here] - start
        size = int(np.prod(shape, dtype=np.int64))
        if len(np.unique(there)) != len(there):
            return None
        plain = len(here) == len(flat) == size and np.array_equal(there, np.arange(size))
        found.append((path, None, None) if plain else (path, there, here))
    return found
