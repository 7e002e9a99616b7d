"""Other ways to run the emitted model: compiled, exported, in lower precision."""

from __future__ import annotations

import torch

from migrate.verify.bundle import Bundle
from migrate.verify.criterion import compare_float32, compare_lower, refused
from migrate.verify.emitted import Emitted, array_of
from migrate.verify.forward import described, layer_named
from migrate.verify.report import Check, Finding


def check_compile(emitted: Emitted, bundle: Bundle) -> Check:
    """`torch.compile(fullgraph=True)` must give what eager gives, to the rounding of the original's own float32."""
    from torch._dynamo import config

    with config.patch(allow_rnn=True):  # nn.LSTM, nn.GRU and nn.RNN are traced only if it is told to
        torch.compiler.reset()
        return _compared("compile", torch.compile(emitted.model, fullgraph=True), emitted, bundle)


def check_export(emitted: Emitted, bundle: Bundle) -> Check:
    """`torch.export` must give what eager gives, too."""
    try:
        program = torch.export.export(emitted.model, tuple(emitted.tensors(bundle.input_arrays(0))))
    except Exception as error:  # whatever stops the export is the result
        return Check("export", "float32", (Finding("export", refused(described(error))),), 1)
    return _compared("export", program.module(), emitted, bundle)


def _compared(name: str, run: object, emitted: Emitted, bundle: Bundle) -> Check:
    """A form of the model against the original and eager, on the first set of inputs."""
    assert callable(run)
    inputs = bundle.input_arrays(0)
    try:
        with torch.no_grad():
            made = [array_of(tensor) for tensor in emitted.in_keras_order(run(*emitted.tensors(inputs)))]
    except Exception as error:  # as above
        return Check(name, "float32", (Finding(name, refused(described(error))),), 1)
    eager = emitted.run(inputs)
    truths = bundle.output_arrays("float64", 0)
    findings = []
    for spec, found, same, truth in zip(emitted.migration["outputs"], made, eager, truths, strict=True):
        verdict = compare_float32(found, same, truth)
        findings.append(Finding(f"output {spec['name']}", verdict, layer_named(emitted, spec["name"]), "against eager"))
    return Check(name, "float32", tuple(findings), 1)


def check_autocast(emitted: Emitted, bundle: Bundle, dtype: str) -> Check:
    """A float32 model under autocast to bfloat16 or float16, against the float64 truth."""
    depth = sum(1 for _ in emitted.model.modules())
    findings = []
    for number, case in enumerate(bundle.sets):
        try:
            with torch.no_grad(), torch.autocast(emitted.device.type, getattr(torch, dtype)):
                outputs = emitted.in_keras_order(emitted.model(*emitted.tensors(bundle.input_arrays(number))))
        except Exception as error:  # as above
            findings.append(Finding("outputs", refused(described(error)), "", case.name))
            continue
        for spec, found, truth in zip(
            emitted.migration["outputs"], outputs, bundle.output_arrays("float64", number), strict=True
        ):
            verdict = compare_lower(array_of(found), truth, dtype, depth)
            findings.append(Finding(f"output {spec['name']}", verdict, layer_named(emitted, spec["name"]), case.name))
    return Check("autocast", dtype, tuple(findings), len(bundle.sets))
