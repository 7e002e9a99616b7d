"""Keras graph -> torch graph, in one forward pass: layouts are coerced, layers converted, shapes inferred.

Each torch call is run on meta tensors as it is written, at two sizes: a dimension that differs is dynamic.
Nothing of Keras is left afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from converters.errors import Gaps
from converters.graph import Graph
from migrate.lower.draft import Job
from migrate.lower.gaps import check_known
from migrate.lower.lowering import Lowering
from migrate.lower.ties import tied_paths

__all__ = ["Lowered", "lower"]


@dataclass(frozen=True)
class Lowered:
    """A model as torch calls, and what will differ from Keras in training: {what: the layers in which}."""

    graph: Graph
    drift: Mapping[str, list[str]]


def lower(source: Graph, *, exact: bool = False) -> Lowered:
    """The whole model as torch calls. Raises Gaps with everything that stands in the way.

    `exact`: where PyTorch's standard part differs from Keras in training, a local class that does not.
    """
    job = Job(exact, check_known(source), tied=tied_paths(source))
    graph = Lowering(source, job).run(top=True)
    if job.gaps or graph is None:
        raise Gaps(job.gaps)
    return Lowered(graph, job.drift)
