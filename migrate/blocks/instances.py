"""Members of a pattern in a graph -> calls of one module each, instances of the pattern's class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from converters.graph import Call, Graph, Module
from migrate.blocks.canonical import ordered
from migrate.blocks.expressions import evaluate
from migrate.blocks.pattern import Member, Pattern, arguments
from migrate.blocks.template import EITHER, WIDENED, Template, Use


def replaced(graph: Graph, pattern: Pattern, template: Template) -> Graph:
    """The graph in which each member of the pattern is one call."""
    modules = {module.key: module for module in graph.modules}
    made: dict[Call, Call] = {}
    gone: set[Call] = set()
    for number, member in enumerate(pattern.members):
        module = instance(template, number, member, modules)
        modules[module.key] = module
        call = Call("module", module.key, member.inputs, {}, member.output, "")
        made[member.calls[-1]] = call
        gone.update(member.calls)
        for key in keys(member, modules):
            del modules[key]
    nodes = tuple(made.get(call, call) for call in graph.nodes if call in made or call not in gone)  # type: ignore[arg-type]
    return ordered(replace(graph, nodes=nodes, modules=tuple(modules.values())))


def instance(template: Template, number: int, member: Member, modules: Mapping[str, Module]) -> Module:
    """The module that one member is. Asserts that the template, given its arguments, has the member's numbers."""
    environment = {name: column[number] for name, column in template.parameters.items()}
    own = keys(member, modules)
    block = Use(template, dict(paths(template, number)), environment, template.prefixes[number])
    inputs = member.inputs[0] if len(member.inputs) == 1 else member.inputs
    inner = Graph("", inputs, member.output, member.calls, tuple(modules[key] for key in own), block=block)
    replay(template, number, modules, environment)
    first = modules[own[0]] if own else None
    key = f"block {member.output.name} {first.key if first is not None else ''}"
    return Module(key, "block", (), environment, {}, "", trainable=first is None or first.trainable, graph=inner)


def keys(member: Member, modules: Mapping[str, Module]) -> list[str]:
    """The modules that a member calls, in order of use."""
    called = (call.target for call in member.calls if call.kind in ("module", "attribute"))
    return [key for key in dict.fromkeys(called) if key in modules]


def paths(template: Template, number: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(key of a member's module, keys that lead to it in the template)"""
    for module in template.graph.modules:
        if module.key in template.copies:
            yield from _copied(module, template.copies[module.key][number])
            continue
        inner = module.graph.modules if module.graph is not None and module.graph.sequential else ()
        for index, part in enumerate(inner):
            if (key := template.parts.get(part.key, {number: None})[number]) is not None:
                yield key, (module.key,) if module.constructor == EITHER else (module.key, str(index))
        if not inner and module.key in template.parts and (key := template.parts[module.key][number]) is not None:
            yield key, (module.key,)


def _copied(module: Module, copies: Sequence[Sequence[str]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The same for the copies of a unit: each an nn.Sequential, or all in one."""
    for number, unit in enumerate(copies):
        for place, own in enumerate(unit):
            if not own:
                continue
            if WIDENED in module.kwargs:
                yield own, (module.key, str(number * len(unit) + place))
            else:
                yield own, (module.key, str(number), str(place)) if len(unit) > 1 else (module.key, str(number))


def replay(template: Template, number: int, modules: Mapping[str, Module], environment: Mapping[str, object]) -> None:
    """The template's formulas, given a member's arguments, are the numbers of the member's own modules."""
    for module in every_module(template.graph):
        key = template.parts.get(module.key, [None] * (number + 1))[number]
        if key is None or module.constructor in ("parameter", "buffer"):
            continue
        made = replace(module, args=evaluate(module.args, environment), kwargs=evaluate(module.kwargs, environment))
        assert arguments(made) == arguments(modules[key]), f"{key}: {arguments(made)} for {arguments(modules[key])}"


def every_module(graph: Graph) -> Iterator[Module]:
    """The modules of a class, those within its nn.Sequentials included."""
    for module in graph.modules:
        if module.graph is not None and module.graph.sequential:
            yield from every_module(module.graph)
        else:
            yield module
