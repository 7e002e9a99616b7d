"""evaluate.py, predict.py, export.py and requirements.txt of a training project."""

from __future__ import annotations

from migrate.emit.literals import literal
from migrate.emit.names import identifier
from migrate.scaffold.data import data_requirements
from migrate.scaffold.expressions import tidy
from migrate.scaffold.fill import filled
from migrate.scaffold.plan import Plan, Port

PACKAGES = ("torch>=2.7", "numpy>=1.26", "safetensors>=0.5", "torchmetrics>=1.4", "tensorboard>=2.17")
TRAINERS = {"plain": ("accelerate>=1.2", "tqdm>=4.66"), "lightning": ("lightning>=2.4",)}
EXPORT = ("onnx>=1.17", "onnxruntime>=1.20", "onnxscript>=0.3")
DYNAMIC = 8  # the size of an axis of any size, in the inputs that an export is tried with


def tool_files(plan: Plan) -> dict[str, str]:
    """The programs around training."""
    flags = {"several_inputs"} if len(plan.inputs) > 1 else set()
    flags |= {"several_outputs"} if len(plan.outputs) > 1 else set()
    flags |= {plan.options.trainer}
    places = _places(plan)
    names = ("evaluate.py", "predict.py", "export.py")
    return {name: tidy(filled(name, places, flags)) for name in names} | {"requirements.txt": requirements(plan)}


def requirements(plan: Plan) -> str:
    """What the project needs, with the least versions."""
    wanted = [*PACKAGES, *TRAINERS[plan.options.trainer], *data_requirements(plan)]
    return "\n".join([*sorted(set(wanted)), "# for export.py to ONNX", *EXPORT]) + "\n"


def _places(plan: Plan) -> dict[str, str]:
    several = len(plan.outputs) > 1
    parts = "[outputs]"
    if several:
        parts = "outputs.values()" if isinstance(plan.project.graph.outputs, dict) else "outputs"
    return {
        "MODEL": plan.class_name,
        "RUN_FOLDER": f"runs/{identifier(plan.class_name)}",
        "BATCH_SIZE": literal(plan.options.batch_size),
        "FILE": "predictions.npz" if several else "predictions.npy",
        "PARTS": parts,
        "NAMES": literal([port.name for port in plan.outputs]),
        "SHAPES": ", ".join(map(_dynamic_axes, plan.inputs)),
        "EXAMPLE": ", ".join(map(_example, plan.inputs)),
    }


def _dynamic_axes(port: Port) -> str:
    axes = [axis for axis, size in enumerate(port.shape) if size is None]
    return "{" + ", ".join(f"{axis}: torch.export.Dim.AUTO" for axis in axes) + "}"


def _example(port: Port) -> str:
    sizes = ", ".join(["batch", *(str(DYNAMIC if size is None else size) for size in port.shape[1:])])
    if port.dtype.startswith("float"):
        return f"torch.rand({sizes})"
    if port.dtype == "bool":
        return f"torch.rand({sizes}) < 0.5"
    return f"torch.randint(2, ({sizes},), dtype=torch.{port.dtype})"
