"""initial.py of a training project: `reset_parameters`, for a training that begins with new weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from converters.errors import Unsupported
from converters.graph import Layer
from converters.training import Call, Name, Piece, Variable, initializer
from converters.training.initializers import forget_gate_bias
from migrate.emit.literals import literal, prose
from migrate.emit.project import Project
from migrate.scaffold.expressions import attribute, local_file, render
from migrate.scaffold.weights import RUNNING, Held, Place, holders, owner, role_of

# What the layers do that do not say it in their config.
FIXED = {
    "AdditiveAttention": "GlorotUniform", "Attention": "Ones", "RMSNormalization": "Ones",
    "moving_mean": "Zeros", "moving_variance": "Ones",
}  # fmt: skip
NORMS = {"nn.BatchNorm1d", "nn.BatchNorm2d", "nn.BatchNorm3d", "nn.LayerNorm", "nn.GroupNorm"}
STANDARD = {"weight": "ones_", "bias": "zeros_", "running_mean": "zeros_", "running_var": "ones_"}
MAY_LACK = ("nn.Conv", "nn.Linear")  # their bias is None then
FANS_OF_EQUATION = (3, 15)  # Keras before looks at the shape alone

Shared = dict[str, list[tuple[str, Call]]]  # class -> (name, what is done to it)


def initial_file(project: Project) -> str:
    """The text of initial.py."""
    layers = project.source.layers()
    everything, starts, todo = list(holders(project.graph, project.names)), {}, []
    for held in filter(lambda held: held.begins, everything):
        try:
            starts[held] = _start(owner(layers.get(held.module.origin), held.state), held)
        except Unsupported as error:
            todo.append(f"{held.key} (Keras layer {held.module.origin!r}): {error.reason}; write it here")
    text, kinds = _function(everything, starts, todo)
    classes = sorted(kind for kind in kinds if "." not in kind)
    imports = ["import torch", "from torch import nn", "from torch.nn import init"]
    imports += [f"from model import {', '.join(classes)}"] if classes else []
    return local_file("initial", list(starts.values()), more=text, imports=imports)


# -- what Keras does ----------------------------------------------------------------------------------------


def _start(layer: Layer | None, held: Held) -> Piece:
    """The call that gives a weight its first value. Raises Unsupported where no config says which."""
    if layer is None:
        raise Unsupported("no layer says how it starts", "")
    variable = Variable(held.key, held.module.state[held.state])
    role = RUNNING.get(held.state) or role_of(held.module, layer, held.state)
    stated = _stated(layer, f"{role}_initializer") or FIXED.get(layer.class_name) or FIXED.get(role)
    if layer.class_name == "LayerScale":
        stated = {"class_name": "Constant", "config": {"value": layer.config.get("init_values")}}
    if stated is None:
        raise Unsupported(f"the layer {layer.class_name} does not say how it starts", "")
    piece = initializer(stated, variable, _fans(layer, variable))
    if role == "bias" and _stated(layer, "unit_forget_bias"):
        if piece.expression.target != "init.zeros_":
            raise Unsupported("unit_forget_bias beside another bias_initializer than zeros", "")
        return forget_gate_bias(variable)
    return piece


def _stated(layer: Layer, key: str) -> Any:
    """A key of the config; of a stack of cells what all of them say."""
    cells = layer.config.get("cells")
    if not isinstance(cells, list):
        return layer.config.get(key)
    found = [cell.get("config", {}).get(key) for cell in cells if isinstance(cell, Mapping)]
    return found[0] if found and all(one == found[0] for one in found) else None


def _fans(layer: Layer, variable: Variable) -> tuple[int, int] | None:
    """(in, out) of a product along several axes, which newer versions of Keras count from its equation."""
    leaf = next(variable.weight.leaves())
    if layer.version < FANS_OF_EQUATION or leaf.rank < 3:
        return None
    if isinstance(equation := layer.config.get("equation"), str) and "->" in equation and "," in equation:
        weight, output = equation.replace(" ", "").partition(",")[2].split("->", 1)
        if len(weight) != leaf.rank:
            return None
        out = [letter in output for letter in weight]
        return prod(s for s, o in zip(leaf.shape, out, strict=True) if not o), prod(
            s for s, o in zip(leaf.shape, out, strict=True) if o
        )
    shape = variable.weight.shape
    return (shape[1], shape[0]) if "Attention" in layer.class_name and len(shape) == 2 else None


# -- as text ------------------------------------------------------------------------------------------------


def _function(everything: Sequence[Held], starts: Mapping[Held, Piece], todo: Sequence[str]) -> tuple[str, set[str]]:
    """The source of `reset_parameters`, and the classes that it names."""
    lines = [f"raise NotImplementedError({literal(f'TODO: {prose(text, 300)}')})" for text in todo]
    kinds: set[str] = set()
    rest = dict(starts)
    views: list[tuple[str, Callable[[Held], Place]]]
    views = [("module", lambda held: held.in_module), ("block", lambda held: held.in_class)]
    for variable, place in views:
        shared = _shared({held: place(held) for held in everything}, rest)
        lines += _loop(variable, [place(held) for held in everything], [place(held) for held in rest], shared)
        kinds |= set(shared)
        rest = {
            held: piece for held, piece in rest.items()
            if (place(held).name, _rule(piece)) not in shared.get(place(held).kind, ())
        }  # fmt: skip
    lines += [render(piece.expression) for piece in rest.values()]
    head = [
        "@torch.no_grad()",
        "def reset_parameters(model: nn.Module) -> None:",
        '    """Draws every weight that learns anew, from the distribution that Keras draws it from."""',
    ]
    return "\n".join(head + [f"    {line}" for line in lines or ["pass"]]), kinds


def _shared(places: Mapping[Held, Place], starts: Mapping[Held, Piece]) -> Shared:
    """By class: (name, rule) of what most of its instances have in common."""
    found: Shared = {}
    for kind in dict.fromkeys(places[held].kind for held in starts):
        mine = {places[held]: _rule(piece) for held, piece in starts.items() if places[held].kind == kind}
        instances = {place.path for place in mine}
        if len(instances) < 2 and kind not in NORMS:
            continue
        for name in dict.fromkeys(place.name for place in mine):
            holding = {place.path for place in places.values() if (place.kind, place.name) == (kind, name)} & instances
            rules = Counter(rule for place, rule in mine.items() if place.name == name)
            (rule, count), *_ = rules.most_common()
            whole = rules.total() == len(holding) and (holding == instances or kind.startswith(MAY_LACK))
            if whole and 2 * count > len(holding):
                found.setdefault(kind, []).append((name, rule))
    return found


def _rule(piece: Piece) -> Call:
    """What is done, whatever it is done to."""
    made: Call = piece.expression
    return replace(made, args=made.args[1:])


def _loop(variable: str, everything: list[Place], starting: list[Place], shared: Shared) -> Iterator[str]:
    """The loop over modules, with a branch for each class; classes with one body share it."""
    branches: dict[tuple[tuple[str, ...], str], list[str]] = {}
    for kind, rules in shared.items():
        mine = [place for place in everything if place.kind == kind]
        frozen = {place.path for place in mine} != {place.path for place in starting if place.kind == kind}
        guard = f" and any(weight.requires_grad for weight in {variable}.parameters())" if frozen else ""
        branches.setdefault((tuple(_body(variable, kind, rules, mine)), guard), []).append(kind)
    # A class before those that it may be made from: the first that fits is taken.
    order = sorted(branches.items(), key=lambda branch: any(kind.startswith("nn.") for kind in branch[1]))
    for number, ((body, guard), kinds) in enumerate(order):
        yield from () if number else (f"for {variable} in model.modules():",)
        yield f"    {'el' if number else ''}if isinstance({variable}, {' | '.join(kinds)}){guard}:"
        yield from (f"        {line}" for line in body)


def _body(variable: str, kind: str, rules: list[tuple[str, Call]], mine: list[Place]) -> Iterator[str]:
    """What is done to one instance."""
    if kind in NORMS and all(rule == Call(f"init.{STANDARD.get(name, '')}") for name, rule in rules):
        yield f"{variable}.reset_parameters()"
        return
    instances = len({place.path for place in mine})
    for name, rule in rules:
        line = render(replace(rule, args=(Name(f"{variable}.{attribute(name)}"), *rule.args)))
        if sum(place.name == name for place in mine) < instances:
            yield f"if {variable}.{attribute(name)} is not None:"
            line = f"    {line}"
        yield line
