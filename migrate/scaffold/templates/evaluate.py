"""Loss and metrics of __MODEL__ on a data folder.

    python evaluate.py --data data --weights __RUN_FOLDER__/weights.safetensors
    torchrun --nproc-per-node 2 evaluate.py ...        each process takes a part
"""

import argparse
import json

import torch
from accelerate import Accelerator

from checkpoint import existing, load_weights
from data import labelled
from model import __MODEL__
from train import HERE, Averages, Objective, evaluate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data", type=existing)
    parser.add_argument("--weights", default=HERE / "weights.safetensors", type=existing)
    parser.add_argument("--batch-size", type=int, default=__BATCH_SIZE__)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()

    accelerator = Accelerator(cpu=not torch.accelerator.is_available())
    rank, world = accelerator.process_index, accelerator.num_processes
    loader = labelled(options.data, batch_size=options.batch_size, workers=options.workers, rank=rank, world=world)
    model = __MODEL__()
    load_weights(model, options.weights)
    logs = evaluate(Objective(model).to(accelerator.device), loader, Averages(accelerator))
    accelerator.print(json.dumps(logs, indent=1))
    accelerator.end_training()


if __name__ == "__main__":
    main()
