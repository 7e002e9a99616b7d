"""Loss and metrics of __MODEL__ on a data folder.

    python evaluate.py --data data --weights __RUN_FOLDER__/weights.safetensors
    #: if plain
    torchrun --nproc-per-node 2 evaluate.py ...        each process takes a part
    #: end
"""

import argparse
import json
import sys

#: if plain
import torch
from accelerate import Accelerator
#: else
import lightning as L
#: end

from checkpoint import existing, load_weights, refusing
from data import described, labelled, part_of
#: if plain
from model import __MODEL__
from train import HERE, Averages, Objective, evaluate
#: else
from train import HERE, Config, Training
#: end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data", type=existing, help="the data folder (%(default)s)")
    parser.add_argument("--part", choices=["train", "val"], help="of the data: val where it brings one, else all")
    parser.add_argument("--weights", default=HERE / "weights.safetensors", type=existing, help="(%(default)s)")
    parser.add_argument("--batch-size", type=int, default=__BATCH_SIZE__, help="of all processes (%(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="processes that load data (%(default)s)")
    options = parser.parse_args()
    part = part_of(options.data, options.part)

    #: if lightning
    training = Training(Config())
    load_weights(training.model, options.weights)
    training.setup = lambda stage: None  # no data for training
    loader = labelled(options.data, part, batch_size=options.batch_size, workers=options.workers)
    print(described(options.data, part, loader.dataset), file=sys.stderr)
    trainer = L.Trainer(logger=False, enable_progress_bar=False, enable_model_summary=False)
    (logs,) = trainer.validate(training, loader, verbose=False)
    print(json.dumps({name.removeprefix("val_"): value for name, value in logs.items()}, indent=1))
    #: else
    accelerator = Accelerator(cpu=not torch.accelerator.is_available())
    rank, world = accelerator.process_index, accelerator.num_processes
    sharing = {"workers": options.workers, "rank": rank, "world": world}
    loader = labelled(options.data, part, batch_size=options.batch_size, **sharing)
    accelerator.print(described(options.data, part, loader.dataset), file=sys.stderr, flush=True)
    model = __MODEL__()
    load_weights(model, options.weights)
    logs = evaluate(Objective(model).to(accelerator.device), loader, Averages(accelerator))
    accelerator.print(json.dumps(logs, indent=1))
    accelerator.end_training()
    #: end


if __name__ == "__main__":
    with refusing():
        main()
