"""What regularizers add to the loss, as text: weights with one rule share a term."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from converters.training import Attribute, Call, Name, Piece
from migrate.emit.project import Project
from migrate.scaffold.expressions import render
from migrate.scaffold.weights import holders

LOOP_AT_LEAST = 4  # weights with one rule that are said as a loop over modules


def penalty_terms(project: Project, penalties: Sequence[Piece]) -> list[str]:
    """The terms of the loss; several weights with one rule share a term."""
    groups: dict[Call, list[str]] = {}
    for piece in penalties:
        term: Call = piece.expression
        groups.setdefault(replace(term, args=term.args[1:]), []).append(term.args[0].path)
    terms = []
    for rule, keys in groups.items():
        found, rest = all_of_kind(project, keys)
        terms += [f"sum({_about(rule, f'module.{name}')} {loop})" for name, loop in found]
        if len(rest) == 1:
            terms.append(_about(rule, render(Attribute(rest[0]))))
        elif rest:
            weights = ", ".join(render(Attribute(key)) for key in rest)
            terms.append(f"sum({_about(rule, 'weight')} for weight in ({weights}))")
    return terms


def _about(rule: Call, weight: str) -> str:
    return render(replace(rule, args=(Name(weight), *rule.args)))


def all_of_kind(project: Project, keys: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Weights as loops over all modules of a class, in the model or in stages of it; (name, loop), and what is left."""
    loops, rest = [], list(keys)
    places = {held.key: held.in_module for held in holders(project.graph, project.names)}
    for kind, name in dict.fromkeys((places[key].kind, places[key].name) for key in keys):
        mine = {key: place for key, place in places.items() if place.kind == kind}
        having = [key for key, place in mine.items() if place.name == name]
        everywhere = len({place.path for place in mine.values()}) == len(having)  # else it is None in some modules
        loop, covered = _loop(kind, having, keys)
        if everywhere and kind.startswith("nn.") and len(covered) >= LOOP_AT_LEAST:
            loops.append((name, loop))
            rest = [key for key in rest if key not in covered]
    return loops, rest


def _loop(kind: str, having: Sequence[str], keys: Sequence[str]) -> tuple[str, list[str]]:
    """A loop over modules of a class, of which `having` have the weight, and which of the keys it meets."""
    if set(having) <= set(keys):
        return f"for module in model.modules() if isinstance(module, {kind})", list(having)
    stages: dict[str, list[str]] = {}
    for key in having:
        stages.setdefault(key.partition(".")[0], []).append(key)
    whole = {stage: inside for stage, inside in stages.items() if len(inside) > 1 and set(inside) <= set(keys)}
    names = ", ".join(f"model.{stage}" for stage in whole)
    modules = f"for stage in ({names}) for module in stage" if len(whole) > 1 else f"for module in {names}"
    loop = f"{modules}.modules() if isinstance(module, {kind})"
    return loop, [key for inside in whole.values() for key in inside]
