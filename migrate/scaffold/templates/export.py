"""__MODEL__ for other programs; each file is read back and compared with the model before it gets its name.

    python export.py                     exported/model.pt2 (torch.export) and exported/model.onnx
    python export.py torchscript         exported/model.pt, a trace, for what takes nothing newer
    python export.py onnx --weights __RUN_FOLDER__/weights.safetensors
"""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from checkpoint import existing, fail, load_weights
from model import __MODEL__

HERE = Path(__file__).resolve().parent
FILES = {"program": "model.pt2", "onnx": "model.onnx", "torchscript": "model.pt"}
SHAPES = (__SHAPES__,)  # axes that may have any size


def example(batch: int) -> tuple[Tensor, ...]:
    """Inputs of the right shapes and types."""
    return (__EXAMPLE__,)


def program(model: nn.Module, path: Path) -> Callable[..., Tensor | Sequence[Tensor]]:
    torch.export.save(torch.export.export(model, example(2), dynamic_shapes=SHAPES), path)
    return torch.export.load(path).module()


def onnx(model: nn.Module, path: Path) -> Callable[..., list[Tensor]]:
    import onnxruntime

    torch.onnx.export(model, example(2), path, dynamic_shapes=SHAPES, external_data=False, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def run(*inputs: Tensor) -> list[Tensor]:
        feed = dict(zip(names, (x.numpy() for x in inputs), strict=True))
        return [torch.from_numpy(array) for array in session.run(None, feed)]

    return run


def torchscript(model: nn.Module, path: Path) -> Callable[..., Tensor | Sequence[Tensor]]:
    torch.jit.save(torch.jit.trace(model, example(2)), path)
    return torch.jit.load(path)


@torch.no_grad()
def write(kind: str, model: nn.Module, folder: Path) -> None:
    """Exports, reads back and compares at another batch size; only then the file gets its name."""
    path = folder / FILES[kind]
    beside = folder / f"part.{path.name}"
    inputs = example(3)
    found = {"program": program, "onnx": onnx, "torchscript": torchscript}[kind](model, beside)(*inputs)
    expected = flat(model(*inputs))
    for a, b in zip(flat(found), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    worst = max((a - b).abs().max().item() for a, b in zip(flat(found), expected, strict=True))
    os.replace(beside, path)
    print(f"{path}: differs from the model by {worst:.1e} at most")


def flat(outputs: Tensor | Sequence[Tensor] | dict[str, Tensor]) -> list[Tensor]:
    if isinstance(outputs, dict):
        return list(outputs.values())
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help=f"some of {', '.join(FILES)}; program and onnx if none")
    parser.add_argument("--weights", default=HERE / "weights.safetensors", type=existing, help="(%(default)s)")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "exported", help="the folder (%(default)s)")
    options = parser.parse_args()
    if unknown := set(options.kinds) - FILES.keys():
        parser.error(f"expected some of {', '.join(FILES)}, found {', '.join(sorted(unknown))}")

    model = __MODEL__()
    load_weights(model, options.weights)
    model.eval()
    options.output.mkdir(parents=True, exist_ok=True)
    for kind in options.kinds or ("program", "onnx"):
        try:
            write(kind, model, options.output)
        except torch.onnx.OnnxExporterError as error:
            why = str(error.__cause__ or error).splitlines()[0]
            fail(f"{kind}: PyTorch's exporter has no form for a part of this model: {why}")


if __name__ == "__main__":
    main()
