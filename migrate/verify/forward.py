"""Outputs in inference mode: every set of inputs that the original was run on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from migrate.verify.bundle import FLOAT32_ROUNDING, Bundle
from migrate.verify.criterion import Array, Verdict, compare_float32, compare_float64, refused
from migrate.verify.emitted import Emitted
from migrate.verify.report import Check, Finding

SENSITIVE = 1e-4  # a limit that is told
Run = Callable[[Sequence[Array]], list[Array]]


def check_forward(emitted: Emitted, bundle: Bundle, dtype: str) -> Check:
    """Each output for each set of inputs; sets differ in batch size and in the sizes of dynamic dimensions."""
    findings = [
        finding
        for number, inputs in enumerate(bundle.sets)
        for finding in compared(emitted, bundle, dtype, number, inputs.name, emitted.run)
    ]
    return Check(
        "forward",
        dtype,
        tuple(findings),
        len(bundle.sets),
        notes=(*leak_notes(bundle, "forward"), *_undecided(bundle, dtype)),
    )


def compared(emitted: Emitted, bundle: Bundle, dtype: str, number: int, case: str, run: Run) -> list[Finding]:
    """The outputs of one run, compared with those of the original."""
    names = [output["name"] for output in emitted.migration["outputs"]]
    expected = bundle.output_arrays(dtype, number)
    try:
        found = run(bundle.input_arrays(number))
    except Exception as error:  # an edited model can fail in any way, and that is a result
        return [Finding("outputs", refused(described(error)), "", case)]
    truth = bundle.output_arrays("float64", number) if dtype == "float32" else expected
    leak = limit_of_outputs(bundle, number, dtype)
    return [
        Finding(f"output {name}", judge(dtype, given, array, real, leak), layer_named(emitted, name), case)
        for name, given, array, real in zip(names, found, expected, truth, strict=True)
    ]


def limit_of_outputs(bundle: Bundle, number: int, dtype: str) -> float:
    """How far apart the outputs for a set of inputs may be at least.

    Where large numbers cancel or a softmax is undecided, rounding alone moves the outputs; how far that of float64 does
    was measured on the original, and that of float32 is larger by the ratio of both.
    """
    return max(bundle.limit("forward", dtype), _rounding(bundle, number, dtype))


def _rounding(bundle: Bundle, number: int, dtype: str) -> float:
    return bundle.sets[number].rounding * (FLOAT32_ROUNDING if dtype == "float32" else 1.0)


def _undecided(bundle: Bundle, dtype: str) -> Iterator[str]:
    """The sets of inputs for which a float32 run says little, of the original as well."""
    for number, inputs in enumerate(bundle.sets):
        if (rounding := _rounding(bundle, number, dtype)) > SENSITIVE:
            yield f"known limit {rounding:.1e} for {inputs.name}: its outputs move so far if its ops round otherwise"


def judge(
    dtype: str,
    found: Array,
    expected: Array,
    truth: Array,
    leak: float = 0.0,
    scale: float = 0.0,
    *,
    outlier: float = 0.0,
) -> Verdict:
    """The verdict on a tensor of a float64 or a float32 run; see `migrate.verify.criterion`."""
    if dtype == "float64":
        return compare_float64(found, expected, leak, scale)
    return compare_float32(found, expected, truth, leak, scale, outlier=outlier)


def leak_notes(bundle: Bundle, what: str) -> tuple[str, ...]:
    """The known limits of one kind, as sentences."""
    return tuple(
        f"known limit {leak['size']:.1e}: the original's {leak['layer'] or 'run'} {_reason(leak['op'])}"
        for leak in bundle.leaks
        if leak["what"].startswith(what)
    )


def _reason(op: str) -> str:
    return "moves so far if its ops round otherwise" if op == "rounding" else f"has float32 inside ({op})"


def layer_named(emitted: Emitted, name: str) -> str:
    return name if name in emitted.migration["layers"] else ""


def described(error: Exception) -> str:
    """An error in one line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"[:200]
