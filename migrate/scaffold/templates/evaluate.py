"""Loss and metrics of __MODEL__ on a data folder.

    python evaluate.py --data data --weights __RUN_FOLDER__/weights.safetensors
    #: if plain
    torchrun --nproc-per-node 2 evaluate.py ...        each process takes a part
    #: end
"""

import argparse
import json

#: if plain
import torch
from accelerate import Accelerator
#: else
import lightning as L
#: end

from checkpoint import existing, load_weights
from data import labelled
#: if plain
from model import __MODEL__
from train import HERE, Averages, Objective, evaluate
#: else
from train import HERE, Config, Training
#: end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data", type=existing)
    parser.add_argument("--weights", default=HERE / "weights.safetensors", type=existing)
    parser.add_argument("--batch-size", type=int, default=__BATCH_SIZE__)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()

    #: if lightning
    training = Training(Config())
    load_weights(training.model, options.weights)
    training.setup = lambda stage: None  # no data for training
    loader = labelled(options.data, batch_size=options.batch_size, workers=options.workers)
    trainer = L.Trainer(logger=False, enable_progress_bar=False, enable_model_summary=False)
    (logs,) = trainer.validate(training, loader, verbose=False)
    print(json.dumps({name.removeprefix("val_"): value for name, value in logs.items()}, indent=1))
    #: else
    accelerator = Accelerator(cpu=not torch.accelerator.is_available())
    rank, world = accelerator.process_index, accelerator.num_processes
    loader = labelled(options.data, batch_size=options.batch_size, workers=options.workers, rank=rank, world=world)
    model = __MODEL__()
    load_weights(model, options.weights)
    logs = evaluate(Objective(model).to(accelerator.device), loader, Averages(accelerator))
    accelerator.print(json.dumps(logs, indent=1))
    accelerator.end_training()
    #: end


if __name__ == "__main__":
    main()
