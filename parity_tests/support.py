"""What is supported, and what of it is proved: SUPPORT.md, made of the registry and the parity cases.

python -m parity_tests.support
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from converters.registry import lookup
from parity_tests.case import Case
from parity_tests.cases import families

TARGET = Path(__file__).with_name("SUPPORT.md")
HEAD = """# What is supported, and what is proved

Made by `python -m parity_tests.support` from the parity cases; do not edit.

Each case is a saved Keras model that is converted and compared with Keras itself: outputs in float64 (to 1e-10) and
float32 (at most 4 times as far from the float64 result as Keras is), the number of parameters and of trainable ones,
the emitted text, `torch.export` and `torch.compile(fullgraph=True)`. `make sweep` also verifies every case with three
seeds: each layer by itself, gradients in inference and training mode, and training steps with the model's optimizer.
A known limit is float32 that Keras carries into its own float64 run, as measured.
"""


def table(kind: str, rows: dict[str, list[Case]]) -> Iterator[str]:
    """One row for each layer or op: how many cases it is part of, of which generations of Keras, its limits."""
    yield f"\n| {kind} | cases | Keras | known limits |\n|---|---|---|---|\n"
    for name in sorted(rows):
        cases = rows[name]
        generations = ", ".join(str(g) for g in sorted({case.generation for case in cases}))
        leaking = [case for case in cases if case.leak]
        own = leaking if 2 * len(leaking) >= len(cases) else []  # else it is another layer of these models
        limits = sorted({f"{case.leak:.0e}: {case.because or case.name}" for case in own})
        yield f"| {name} | {len(cases)} | {generations} | {'; '.join(limits[:2])} |\n"


def used(pattern: str, space: str) -> dict[str, list[Case]]:
    """The cases in whose line of source something of a name is called that a converter is registered for."""
    found: dict[str, list[Case]] = {}
    for cases in families().values():
        for case in cases:
            for name in set(re.findall(pattern, case.model)):
                if lookup(f"{space}.{name}") is not None:
                    found.setdefault(name, []).append(case)
    return found


def ops() -> dict[str, list[Case]]:
    """Ops are called by function name, and registered by the name of their class."""
    found: dict[str, list[Case]] = {}
    for cases in families().values():
        for case in cases:
            for name in set(re.findall(r"\bops\.(?:\w+\.)?([a-z]\w*)\(", case.model)):
                found.setdefault(name, []).append(case)
    return found


def support() -> str:
    """The text of SUPPORT.md."""
    layers = used(r"\b([A-Z]\w+)\(", "layers")
    return "".join((HEAD, "\n## Layers\n", *table("layer", layers), "\n## keras.ops\n", *table("op", ops())))


if __name__ == "__main__":
    TARGET.write_text(support(), encoding="utf-8")
