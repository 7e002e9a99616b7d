"""data.py of a training project: a stand-in for arrays."""

from __future__ import annotations

from migrate.emit.literals import literal
from migrate.scaffold.expressions import tidy
from migrate.scaffold.fill import filled
from migrate.scaffold.plan import Plan


def data_files(plan: Plan) -> dict[str, str]:
    port, out = plan.inputs[0], plan.outputs[0]
    places = {"PERMUTE": literal(port.permute), "TARGETS": literal(out.targets)}
    return {"data.py": tidy(filled("standin.py", places, set()))}
