"""What the docstring of a block says of its output, beyond what the sizes of its members show."""

from __future__ import annotations

from collections.abc import Mapping

from converters.graph import Call, Graph, Module, Value
from migrate.blocks.border import any_extent, is_extent, shrinking
from migrate.blocks.instances import keys
from migrate.blocks.parameters import width
from migrate.blocks.pattern import Member, Pattern
from migrate.blocks.template import Template
from migrate.interpret import output_shape

TRIED = 8  # so many times what an image is divided by
KEEPING = ("nn.BatchNorm2d", "nn.MaxPool2d", "nn.AvgPool2d", "nn.ZeroPad2d", "nn.ReLU")


def outline(template: Template, pattern: Pattern) -> None:
    """Completes a template: how its width grows where there is one instance, how its extent shrinks where it is cut."""
    first = pattern.members[0]
    if template.alone:
        added = difference(first)
        passes = "in_channels" in template.parameters and passed(template.graph, template.graph.outputs) == 1
        template.widening = f"in_channels + {added}" if passes and added else ""
    one_image = all(len(m.inputs) == 1 and any_extent(m.calls, pattern.modules) for m in pattern.members)
    if template.shrinking not in ("", "?") and not template.rounds_up and one_image:
        ratios = [shrinking(member.inputs[0], member.output) for member in pattern.members]
        number, ratio = next((n, r) for n, r in enumerate(ratios) if r and r > 1)
        made = _extents(pattern.members[number], pattern.modules, ratio)
        if made == [(size - 1) // ratio for size in _sizes(ratio)]:
            template.cut = True


def difference(member: Member) -> int | None:
    before, after = width(member.inputs[0]), width(member.output)
    return after - before if before is not None and after is not None and after > before else None


def passed(graph: Graph, value: object) -> int:
    """How often what a class reads first is among the channels of a value."""
    if value == graph.inputs:
        return 1
    modules = {module.key: module for module in graph.modules}
    call = next((c for c in graph.nodes if isinstance(c, Call) and c.outputs == value), None)
    if call is None or (call.kind == "module" and not _keeps_width(modules[call.target])):
        return 0
    if call.target != "torch.cat" and len(call.operands) != 1:
        return 0
    return sum(passed(graph, operand) for operand in call.operands)


def _keeps_width(module: Module) -> bool:
    if module.graph is not None and module.graph.sequential:
        return all(map(_keeps_width, module.graph.modules))
    return module.constructor in KEEPING


def _sizes(ratio: int) -> range:
    return range(TRIED * ratio, (TRIED + 1) * ratio)


def _extents(member: Member, modules: Mapping[str, Module], ratio: int) -> list[int]:
    """The heights that a member makes of images of several."""
    own = tuple(modules[key] for key in keys(member, modules))
    graph = Graph("", member.inputs[0], member.output, member.calls, own)
    axis = next(axis for axis in range(member.output.rank) if is_extent(axis, member.output))
    made = [output_shape(graph, _sized(member.inputs[0], size)) for size in _sizes(ratio)]
    return [shape[axis] for shape in made if shape is not None]


def _sized(image: Value, size: int) -> tuple[int, ...]:
    return tuple(size if is_extent(axis, image) else known or 1 for axis, known in enumerate(image.sizes))
