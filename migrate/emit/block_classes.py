"""The class of a block that repeats: parameters, optional parts, and names for what its formulas give."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from converters.graph import Module, Value, leaves, map_tree, values
from migrate.blocks.columns import PREVIOUS
from migrate.blocks.expressions import FORMULAS, Choice, Parameter, Product, Scaled
from migrate.blocks.instances import every_module
from migrate.blocks.parameters import unused
from migrate.blocks.template import EITHER, Template
from migrate.emit import classes
from migrate.emit.body import Body, Statement
from migrate.emit.literals import literal, prose
from migrate.emit.names import argument_names
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
UNEVEN = 'Keras "same" with a stride pads bottom and right {how}.'

LESS = 'Keras "same" on an even size: one row and column less on top and left'
PADDING = "padding"
CUT = 'Keras "same" on an even size pads bottom and right only, as ceil_mode does.'


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
        *(f"        {line}" for line in _definitions(writer, template)),
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
    padded = paddings(template)
    apart = {key for pair in padded.items() for key in pair}  # they get a name of their own
    found = Counter(
        formula
        for module in every_module(template.graph)
        for formula in _formulas((module.args, dict(module.kwargs)))
        if module.key not in apart or not isinstance(formula, Scaled) or not formula.name.startswith("kernel")
    )
    named: dict[Any, str] = {}
    for formula, count in found.items():
        if count >= FORMULA_TWICE and not getattr(formula, "plus", 0):
            named[formula] = unused(_local(formula), {*template.parameters, *named.values()})
    if not named:
        return template, {}
    modules = tuple(_renamed(module, named) for module in template.graph.modules)
    object.__setattr__(template.graph, "modules", modules)
    return template, {name: formula for formula, name in named.items()}


def _local(formula: Any) -> str:
    """What a formula is called that has a line of its own."""
    if isinstance(formula, Scaled) and formula.name.startswith("kernel"):
        return "padding"
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


def _definitions(writer: Writer, template: Template) -> Iterator[str]:
    """The lines of `__init__`."""
    graph, said = template.graph, set[str]()
    padded = paddings(template)
    for module in graph.modules:
        if module.key in padded:
            yield from _padding(writer, template, module, padded[module.key])
            continue
        if module.key in padded.values():
            module = replace(module, kwargs={**module.kwargs, "padding": Parameter(PADDING)})
        comment = module.comment or _uneven(module)
        if comment and comment not in said:
            yield f"# {prose(comment, 110)}" if module.comment else f"# {comment}"
        said.add(comment)
        condition = template.conditions.get(module.key)
        if condition is None:
            yield from writer.definition(module, graph)
            continue
        name = writer.names.attributes[graph][module.key]
        if module.constructor == EITHER:
            one, other = map(writer.construction, module.graph.modules)  # type: ignore[union-attr]  # it holds two
            yield f"self.{name} = {one} if {condition} else {other}"
        elif module.graph is not None and module.graph.sequential:
            yield f"self.{name} = nn.Identity()"
            yield f"if {condition}:"
            yield f"    self.{name} = {writer.construction(module)}"
        else:
            yield f"self.{name} = {writer.construction(module)} if {condition} else nn.Identity()"
    for flag, condition in template.flags.items():
        yield f"self.{flag} = {condition}"


def paddings(template: Template) -> dict[str, str]:
    """Paddings that strided instances have and the convolutions that pad by themselves in all others, by key.

    Those whose cells differ in one on each axis: Keras' "same" of an odd kernel at stride 2, on an even size.
    """
    found: dict[str, str] = {}
    if PADDING in template.parameters:
        return found
    for module, following in pairwise(template.graph.modules):
        own, test = following.kwargs.get("padding"), template.conditions.get(module.key)
        if module.constructor != "nn.ZeroPad2d" or not isinstance(own, Choice) or own.test != test or own.then != 0:
            continue
        if not found and tuple(module.args[0]) == (_less(own.other), own.other) * 2:
            found[module.key] = following.key
    return found


def _less(number: Any) -> Any:
    """One less than a number or formula."""
    if isinstance(number, Scaled):
        return replace(number, plus=number.plus - 1)
    return number - 1 if isinstance(number, int) else None


def _padding(writer: Writer, template: Template, module: Module, conv: str) -> Iterator[str]:
    """Either zeros of two widths, or the padding of the convolution."""
    own = next(part.kwargs["padding"] for part in template.graph.modules if part.key == conv)
    widths = module.args[0]
    if isinstance(own.other, Scaled):
        widths = (Scaled(PADDING, plus=-1), Parameter(PADDING)) * 2
    made = f"self.{writer.names.attributes[template.graph][module.key]}, {PADDING}"
    yield f"{made} = nn.Identity(), {literal(own.other)}"
    yield f"if {own.test}:  # {LESS}"
    yield f"    {made} = nn.ZeroPad2d({literal(widths)}), 0"


def _uneven(module: Module) -> str:
    """Why it pads one side more than the other, if it does."""
    if isinstance(module.kwargs.get("ceil_mode"), FORMULAS):
        return CUT
    if module.constructor != "nn.ZeroPad2d":
        return ""
    left, right, top, bottom = module.args[0]
    if (left, top) == (right, bottom):
        return ""
    return UNEVEN.format(how="only" if (left, top) == (0, 0) else "more")


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
    sides = ("in_channels", PREVIOUS)
    inputs = [_shape(v, template, side) for v, side in zip(values(graph.inputs), sides, strict=False)]
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
        yield f"`{prose(first)}`" + (f" to `{prose(last)}`" if last != first else "")


def _result(value: Value, template: Template) -> str:
    """The shape of the output: (N, out_channels, H / stride, W / stride)."""
    text = _shape(value, template, "out_channels")
    if template.widening and ", C," in text:
        text = text.replace(", C,", f", {template.widening},")
    if template.shrinking == "?":
        return text.replace(" H, W", " H', W'")
    if not template.shrinking:
        return text
    height, width = (f"{side} / {template.shrinking}" for side in "HW")
    return text.replace(" H, W", f" ceil({height}), ceil({width})" if template.rounds_up else f" {height}, {width}")


def _shape(value: Value, template: Template, side: str) -> str:
    """(N, in_channels, H, W): an open width by the parameter that it is."""
    text = shape_text(value)
    known = side if side in template.parameters else "channels" if "channels" in template.parameters else ""
    order = getattr(value.arrangement, "axes", ())
    axis = order.index(value.rank - 1) if len(order) == value.rank else value.rank - 1
    given = template.alone and side in template.parameters  # what differs nowhere is a number else
    if not known or (value.sizes[axis] is not None and not given):
        return text
    parts = text[1:-1].split(", ")
    parts[axis] = known
    return f"({', '.join(parts)})"
