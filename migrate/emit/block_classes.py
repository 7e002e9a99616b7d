"""The class of a block that repeats: parameters, optional parts, and names for what its formulas give."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from converters.graph import Graph, Module, Value, leaves, map_tree, values
from migrate.blocks.border import is_even
from migrate.blocks.columns import PREVIOUS
from migrate.blocks.expressions import FORMULAS, Choice, Condition, Parameter, Product, Scaled
from migrate.blocks.instances import every_module
from migrate.blocks.parameters import names_in, unused, width
from migrate.blocks.template import EITHER, WIDENED, Template
from migrate.emit import classes
from migrate.emit.arguments import argument_names
from migrate.emit.body import LINE_LENGTH, Body, Statement
from migrate.emit.literals import literal, prose
from migrate.emit.shapes import shape_text

if TYPE_CHECKING:
    from migrate.emit.classes import ClassText, Writer

FORMULA_TWICE = 3  # a formula that stands so often gets a name
GAPS_AT_MOST = 2  # in the numbers of what a class stands for; with more, its first and last are told
DOCSTRING_AT_MOST = 110  # columns, with quotes and indentation in a line of 120
POSITIONAL = ("channels", "features", "kernel_size")
POSITIONAL_AT_MOST = 3
NOTES = {
    "FactorizedReduction": "One half of the channels is made of every second pixel, the other of those between them."
}
# What Keras does where PyTorch's `padding` pads both sides alike.
ONE_SIDE = "{when}Keras pads {what} at the bottom and right only: padding=1 would shift every window."
UNEVEN = "{when}Keras pads {what} by {more} at the bottom and right than on top and left."
CAUSAL = "Zeros in front only: no step sees a later one."
CUT = 'Keras "same" pads an odd size at the bottom and right only, as ceil_mode does.'


def block_class(writer: Writer, template: Template) -> ClassText:
    """The text of a template's class, and the statements of its `forward` with the calls of all instances."""
    template, named = with_locals(template)
    graph, name = template.graph, writer.names.classes[template.graph]
    arguments = argument_names(graph)
    statements = Body(graph, writer.names.attributes[graph], arguments, lambda value: "", template.conditions).write()
    signature = ", ".join(["self", *(f"{argument}: Tensor" for argument in arguments)])
    lines = [
        f"class {name}(nn.Module):",
        *_told(name, _docstring(template, arguments)),
        "",
        f"    def __init__({', '.join(['self', *_declared(template)])}) -> None:",
        "        super().__init__()",
        *(f"        {local} = {formula}" for local, formula in named.items()),
        *(f"        {line}" for line in _definitions(writer, template, {*template.parameters, *named})),
        *writer.train_method(graph),
        "",
        f"    def forward({signature}) -> Tensor:",
        *(f"        {statement.text}" for statement in statements),
    ]
    whole = [Statement(s.text, tuple(c for call in s.calls for c in template.calls.get(call, ()))) for s in statements]
    return classes.ClassText(name, "\n".join(lines), {"forward": whole})


def _told(name: str, interface: str) -> list[str]:
    """The docstring of a class; of one that few know, with what it does."""
    if name not in NOTES:
        return [f'    """{interface}"""']
    return [f'    """{interface}', "", f"    {NOTES[name]}", '    """']


def with_locals(template: Template) -> tuple[Template, dict[str, Any]]:
    """The template with names in place of the formulas that it repeats, and what they stand for.

    The graph stays the same object, by which its names are known: its modules are replaced in place.
    """
    found = Counter(
        formula if not getattr(formula, "plus", 0) else replace(formula, plus=0)
        for module in every_module(template.graph)
        for formula in _formulas((module.args, dict(module.kwargs)))
    )
    named: dict[Any, str] = {}
    for formula, count in found.items():
        if count >= FORMULA_TWICE:
            named[formula] = unused(_local(formula), {*template.parameters, *named.values()})
    if not named:
        return template, {}
    modules = tuple(_renamed(module, named) for module in template.graph.modules)
    object.__setattr__(template.graph, "modules", modules)
    return template, {name: formula for formula, name in named.items()}


def _local(formula: Any) -> str:
    """What a formula is called that has a line of its own."""
    if isinstance(formula, Scaled) and formula.name.startswith("kernel"):
        return "half"
    return "hidden" if isinstance(formula, Product) or formula.times > 1 else "width"


def _formulas(tree: Any) -> Iterator[Any]:
    for leaf in leaves(tree):
        if isinstance(leaf, (Scaled, Product)):
            yield leaf
        elif isinstance(leaf, Choice):
            yield from _formulas((leaf.then, leaf.other))


def _renamed(module: Module, named: Mapping[Any, str]) -> Module:
    if module.graph is not None and module.graph.sequential:
        object.__setattr__(module.graph, "modules", tuple(_renamed(m, named) for m in module.graph.modules))
        return module

    def rename(leaf: Any) -> Any:
        if isinstance(leaf, Choice):
            return replace(leaf, then=rename(leaf.then), other=rename(leaf.other))
        if isinstance(leaf, Scaled) and (base := named.get(replace(leaf, plus=0))) is not None:
            return Scaled(base, plus=leaf.plus) if leaf.plus else Parameter(base)
        return Parameter(named[leaf]) if isinstance(leaf, FORMULAS) and leaf in named else leaf

    return replace(module, args=map_tree(rename, module.args), kwargs=map_tree(rename, dict(module.kwargs)))


def _definitions(writer: Writer, template: Template, taken: set[str]) -> Iterator[str]:
    """The lines of `__init__`. `taken`: names of parameters and locals."""
    graph, said = template.graph, set[str]()
    for module in graph.modules:
        comment = module.comment or _uneven(module, template)
        if comment and comment not in said:
            yield f"# {prose(comment, 110)}" if module.comment else f"# {comment}"
        said.add(comment)
        condition = template.conditions.get(module.key)
        if WIDENED in module.kwargs:
            yield from _loop(writer, template, module, taken)
        elif condition is None:
            module, chosen = _with_names(module, writer, graph, taken)
            yield from (f"{name} = {literal(choice)}" for name, choice in chosen.items())
            yield from writer.definition(module, graph)
        else:
            yield from _conditional(writer, module, writer.names.attributes[graph][module.key], condition)
    for flag, condition in template.flags.items():
        yield f"self.{flag} = {condition}"


def _conditional(writer: Writer, module: Module, name: str, condition: Condition) -> Iterator[str]:
    """A part that not all instances have, or of which they have one or another."""
    if module.constructor == EITHER:
        one, other = map(writer.construction, module.graph.modules)  # type: ignore[union-attr]  # it holds two
        yield f"self.{name} = {one} if {condition} else {other}"
    elif module.graph is not None and module.graph.sequential:
        yield f"self.{name} = nn.Identity()"
        yield f"if {condition}:"
        yield f"    self.{name} = {writer.construction(module)}"
    else:
        yield f"self.{name} = {writer.construction(module)} if {condition} else nn.Identity()"


def _loop(writer: Writer, template: Template, module: Module, taken: set[str]) -> Iterator[str]:
    """An nn.Sequential of copies of a unit, of which the first reads another width than those after it."""
    unit = module.graph.modules[0]  # type: ignore[union-attr]  # an nn.Sequential
    parts = unit.graph.modules if unit.graph is not None and unit.graph.sequential else (unit,)
    reads, after = parts[0].args[0], module.kwargs[WIDENED]
    name, layers = getattr(reads, "name", ""), unused("layers", taken)
    taken.add(layers)
    if not isinstance(reads, Parameter) or _readers(template, name) > 1:
        name = unused("features" if parts[0].constructor == "nn.Linear" else "channels", taken)
        taken.add(name)
        yield f"{name} = {literal(reads)}"
    first = replace(parts[0], args=(Parameter(name), *parts[0].args[1:]))
    made = [writer.construction(part) for part in (first, *parts[1:])]
    yield f"{layers}: list[nn.Module] = []"
    yield f"for _ in range({literal(module.kwargs['times'])}):"
    yield f"    {layers}.append({made[0]})" if len(made) == 1 else f"    {layers} += [{', '.join(made)}]"
    yield f"    {name} = {literal(after)}"
    yield f"self.{writer.names.attributes[template.graph][module.key]} = nn.Sequential(*{layers})"


def _readers(template: Template, name: str) -> int:
    """How often `__init__` reads a parameter, in layers and conditions."""
    layers = [leaf for m in every_module(template.graph) for leaf in leaves((m.args, dict(m.kwargs)))]
    more = [m.kwargs[WIDENED] for m in template.graph.modules if WIDENED in m.kwargs]
    asked = [*template.conditions.values(), *template.flags.values()]
    return sum(list(names_in(tree)).count(name) for tree in (*layers, *more, *asked))


def _with_names(module: Module, writer: Writer, graph: Graph, taken: set[str]) -> tuple[Module, dict[str, Choice]]:
    """A layer with names for what it chooses where that takes fewer lines, and what they stand for."""
    chosen = {key: value for key, value in module.kwargs.items() if isinstance(value, Choice) and key not in taken}
    named = replace(module, kwargs={**module.kwargs, **{key: Parameter(key) for key in chosen}})
    one, other = (_lines(next(writer.definition(m, graph)), len(m.args) + len(m.kwargs)) for m in (module, named))
    if other + len(chosen) >= one:
        return module, {}
    taken.update(chosen)
    return named, chosen


def _lines(line: str, arguments: int) -> int:
    """How many lines a call takes when formatted, in `__init__`."""
    if len(line) <= LINE_LENGTH - len("        "):
        return 1
    inside = len(line) - line.index("(") - len("()")
    return 3 if inside <= LINE_LENGTH - len("            ") else 2 + arguments


def _uneven(module: Module, template: Template) -> str:
    """Why it pads one side more than the other, if it does."""
    if isinstance(module.kwargs.get("ceil_mode"), FORMULAS):
        return CUT
    if module.constructor == "nn.ZeroPad1d" and module.args[0][1] == 0:
        return CAUSAL
    if module.constructor != "nn.ZeroPad2d":
        return ""
    left, right, top, bottom = module.args[0]
    if (left, top) == (right, bottom):
        return ""
    calls = [c for call in template.graph.nodes if call.target == module.key for c in template.calls[call]]  # type: ignore[union-attr,index]
    what = "an even size" if calls and all(is_even(call.operands[0]) for call in calls) else "images"
    when = "At a stride, " if getattr(template.conditions.get(module.key), "left", "") == "stride" else ""
    if (left, right) == (top, bottom) == (0, 1):
        return ONE_SIDE.format(when=when, what=what)
    more = "one more" if (left, top) == (_less(right), _less(bottom)) else "more"
    return UNEVEN.format(when=when, what=what, more=more)


def _less(number: Any) -> Any:
    """One less than a number or formula."""
    if isinstance(number, (Parameter, Scaled)):
        base = number if isinstance(number, Scaled) else Scaled(number.name)
        return replace(base, plus=base.plus - 1)
    return number - 1 if isinstance(number, int) else None


def block_arguments(template: Template, given: Mapping[str, Any]) -> Iterator[str]:
    """The arguments of a block: the first widths by position, the others by name, defaults left out."""
    defaults, named = template.defaults, False
    for place, name in enumerate(template.parameters):
        value = given[name]
        if name in defaults and not isinstance(value, FORMULAS) and classes.same_as(value, defaults[name]):
            named = True
            continue
        named = named or not name.endswith(POSITIONAL) or place >= POSITIONAL_AT_MOST
        yield f"{name}={literal(value)}" if named else literal(value)


def _declared(template: Template) -> Iterator[str]:
    """The parameters of a block's constructor."""
    defaults = template.defaults
    for name, column in template.parameters.items():
        default = f" = {literal(defaults[name])}" if name in defaults else ""
        yield f"{name}: {classes.type_of(column)}{default}"


def _docstring(template: Template, arguments: list[str]) -> str:
    graph = template.graph
    sides = ("in_channels", *(PREVIOUS if name == "previous" else "" for name in arguments[1:]))
    inputs = [_shape(v, template, side) for v, side in zip(values(graph.inputs), sides, strict=True)]
    if template.other_extents:
        inputs[1:] = [text.replace(" H, W", " H', W'") for text in inputs[1:]]
    text = classes.interface(inputs, [_result(v, template) for v in values(graph.outputs)], arguments)
    prefixes = list(dict.fromkeys(filter(None, template.prefixes)))  # in the order of the model
    if len(prefixes) > 1 or len(template.prefixes) == 1 == len(prefixes):  # one for all members names no block
        told = f" Keras: {', '.join(_ranges(prefixes))}."
        text += told if len(text) + len(told) <= DOCSTRING_AT_MOST else ""
    return text


def _ranges(prefixes: list[str]) -> Iterator[str]:
    """`block2` to `block4`, `block13`: where a number is all that differs, no range has gaps."""
    counted = [match for prefix in prefixes if (match := re.fullmatch(r"(\D*)(\d+)", prefix))]
    numbers = [int(match[2]) for match in counted] if len({match[1] for match in counted}) == 1 else []
    gaps = [at for at in range(1, len(numbers)) if numbers[at] != numbers[at - 1] + 1]
    whole = len(numbers) < len(prefixes) or len(gaps) > GAPS_AT_MOST
    for start, stop in pairwise([0, *([] if whole else gaps), len(prefixes)]):
        first, last = prefixes[start], prefixes[stop - 1]
        between = "and" if stop - start == 2 else "to"
        yield f"`{prose(first)}`" + (f" {between} `{prose(last)}`" if last != first else "")


def _result(value: Value, template: Template) -> str:
    """The shape of the output: (N, out_channels, H / stride, W / stride)."""
    text = _shape(value, template, "out_channels")
    if template.widening and ", C," in text:
        text = text.replace(", C,", f", {template.widening},")
    elif template.widening and template.alone:
        text = text.replace(f", {width(value)}, ", f", {template.widening}, ")
    if template.shrinking == "?":
        return text.replace(" H, W", " H', W'")
    if not template.shrinking:
        return text
    if template.cut:
        return text.replace(" H, W", f" (H - 1) // {template.shrinking}, (W - 1) // {template.shrinking}")
    height, breadth = (f"{side} / {template.shrinking}" for side in "HW")
    return text.replace(" H, W", f" ceil({height}), ceil({breadth})" if template.rounds_up else f" {height}, {breadth}")


def _shape(value: Value, template: Template, side: str) -> str:
    """(N, in_channels, H, W): an open width by the parameter that it is."""
    text = shape_text(value)
    known = side if side in template.parameters else "channels" if "channels" in template.parameters else ""
    order = getattr(value.arrangement, "axes", ())
    axis = order.index(value.rank - 1) if len(order) == value.rank else value.rank - 1
    given = side in template.parameters  # what differs nowhere is a number else
    if not known or (value.sizes[axis] is not None and not given):
        return text
    parts = text[1:-1].split(", ")
    parts[axis] = known
    return f"({', '.join(parts)})"
