"""Nested Keras models of one shape, each with weights of its own, are instances of one class."""

from __future__ import annotations

from dataclasses import replace

from converters.graph import Call, Graph, Module, Value
from migrate.blocks.instances import paths, replay
from migrate.blocks.pattern import Member, Pattern, Tokens, exact, shared_modules
from migrate.blocks.prefixes import layer_name
from migrate.blocks.template import Template, Use, build

CHAIN_AT_MOST = 3  # layers of a nested model that needs no class


def chained_models(graph: Graph) -> Graph:
    """The graph in which nested models of a few layers, one after the other, are an nn.Sequential each."""
    modules = tuple(
        replace(m, constructor="sequential", kwargs={}, graph=replace(m.graph, block=None, sequential=True))
        if m.graph is not None and _is_nested_model(m.graph) and _is_chain(m.graph)
        else m
        for m in graph.modules
    )
    return replace(graph, modules=modules)


def _is_nested_model(graph: Graph) -> bool:
    """One of the user's, alone or alike others; no block or stage that was found."""
    return graph.block.template.models if graph.block is not None else not graph.sequential


def _is_chain(graph: Graph) -> bool:
    """Whether it is nothing but layers of one input, of which there is nothing else to say than how they are made."""
    read = graph.inputs
    for call in graph.nodes:
        if not isinstance(call, Call) or call.kind != "module" or call.args != (read,) or call.kwargs:
            return False
        read = call.outputs
    layers = [call.target for call in graph.nodes if isinstance(call, Call)]
    return (
        graph.outputs == read
        and 1 < len(layers) <= CHAIN_AT_MOST
        and layers == [module.key for module in graph.modules]
        and not graph.ties
        and all(map(_is_plain, graph.modules))
    )


def _is_plain(module: Module) -> bool:
    ordinary = module.graph is None and module.trainable and not module.comment
    return ordinary and not module.frozen and not module.inference


def alike_models(graph: Graph) -> Graph:
    """The graph in which nested models of one shape share their class."""
    candidates = {
        m.key: _member(m.graph)
        for m in graph.modules
        if m.graph is not None and m.graph.block is None and not m.graph.sequential
    }
    members = {key: member for key, member in candidates.items() if member is not None}
    inner = [part for key in members for part in _inner(graph, key).modules]
    tokens = Tokens(inner)
    shapes: dict[object, list[str]] = {}
    for key, member in members.items():
        shapes.setdefault(tokens.shape(member), []).append(key)
    for keys in shapes.values():
        pattern = exact([members[key] for key in keys], tokens.modules)
        template = build(pattern) if len(keys) > 1 else None
        if template is not None:
            graph = _shared(graph, keys, pattern, template)
    return graph


def _inner(graph: Graph, key: str) -> Graph:
    found = next(m.graph for m in graph.modules if m.key == key)
    assert found is not None
    return found


def _member(graph: Graph) -> Member | None:
    """A nested model as a part of a graph, if it is one input and one output and nothing unusual."""
    calls = tuple(call for call in graph.nodes if isinstance(call, Call))
    if not isinstance(graph.inputs, Value) or not isinstance(graph.outputs, Value) or not calls:
        return None
    if graph.ties or shared_modules(graph) or any(m.graph is not None for m in graph.modules):
        return None
    member = Member(calls, graph.outputs)
    return member if member.inputs == (graph.inputs,) else None


def _shared(graph: Graph, keys: list[str], pattern: Pattern, template: Template) -> Graph:
    """The models of `keys` as instances of a template."""
    template.prefixes = [layer_name(key) for key in keys]
    template.models = True
    changed: dict[str, Module] = {}
    for number, key in enumerate(keys):
        module = next(m for m in graph.modules if m.key == key)
        inner = _inner(graph, key)
        environment = {name: column[number] for name, column in template.parameters.items()}
        replay(template, number, pattern.modules, environment)
        use = Use(template, dict(paths(template, number)), environment, layer_name(key))
        changed[key] = replace(module, constructor="block", kwargs=environment, graph=replace(inner, block=use))
    return replace(graph, modules=tuple(changed.get(m.key, m) for m in graph.modules))
