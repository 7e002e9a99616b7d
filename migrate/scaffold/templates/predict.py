"""What __MODEL__ makes of a data folder, as __FILE__.

    python predict.py --data data --weights __RUN_FOLDER__/weights.safetensors -o __FILE__
"""

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import torch

from checkpoint import existing, load_weights, refusing
from data import described, part_of, unlabelled
from model import __MODEL__

HERE = Path(__file__).resolve().parent


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data", type=existing, help="the data folder (%(default)s)")
    parser.add_argument("--part", choices=["train", "val"], help="of the data: val where it brings one, else all")
    parser.add_argument("--weights", default=HERE / "weights.safetensors", type=existing, help="(%(default)s)")
    parser.add_argument("-o", "--output", type=Path, default="__FILE__", help="the file to write (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=__BATCH_SIZE__, help="(%(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="processes that load data (%(default)s)")
    options = parser.parse_args()

    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    model = __MODEL__()
    load_weights(model, options.weights)
    model.to(device).eval()
    part = part_of(options.data, options.part)
    loader = unlabelled(options.data, part, batch_size=options.batch_size, workers=options.workers)
    print(described(options.data, part, loader.dataset), file=sys.stderr, flush=True)
    made = []
    for inputs in loader:
        #: if several_inputs
        outputs = model(*(part.to(device) for part in inputs))
        #: else
        outputs = model(inputs.to(device))
        #: end
        made.append([part.cpu() for part in __PARTS__])
    arrays = [torch.cat(parts).numpy() for parts in zip(*made, strict=True)]
    beside = options.output.with_name(f"{options.output.name}.part")
    with beside.open("wb") as file:
        #: if several_outputs
        np.savez(file, **dict(zip(__NAMES__, arrays, strict=True)))
        #: else
        np.save(file, arrays[0])
        #: end
    os.replace(beside, options.output)
    print(f"{options.output}:", ", ".join(str(array.shape) for array in arrays))


if __name__ == "__main__":
    with refusing():
        main()
