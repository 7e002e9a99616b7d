"""Trains __MODEL__ as `compile` and `fit` did in Keras.

    python train.py --epochs 15
    python train.py --epochs 30 --resume                 goes on where a run ended or was killed
    torchrun --nproc-per-node 2 train.py --epochs 15     the same batches, shared by two processes
    tensorboard --logdir runs

The options are the fields of `Config`.
"""

import argparse
import sys
from dataclasses import dataclass, fields
from inspect import getsource
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args

import torch
from accelerate import Accelerator, DistributedType
from safetensors.torch import load_file
from torch import Tensor, nn
from torchmetrics import MetricCollection
from tqdm import tqdm

__IMPORTS__
#: if masked
import torch.nn.functional as F
#: end
#: if batch_norm
from batch_norm import synchronized
#: end
from checkpoint import Checkpoint, fail, load_weights, refusing, resumed
from data import loaders, set_epoch
from initial import reset_parameters
from model import __MODEL__

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Config:
    """Every field is an option: `--batch-size 64`."""

    data: str = "data"  # the data folder
    output: str = __RUN__  # the folder of checkpoint, weights, history and TensorBoard
    epochs: int = __EPOCHS__  # in all: a run that goes on counts those that it has
    batch_size: int = __BATCH_SIZE__  # of all processes together
    #: if learning_rate
    learning_rate: float = __LEARNING_RATE__
    #: end
    validation_split: float = __VALIDATION_SPLIT__  # the last samples, as `fit` takes them; if the data brings none
    shuffle: bool = __SHUFFLE__  # in another order in each epoch
    workers: int = 0  # processes that load data
    seed: int = 0  # of the order of samples and of dropout
    precision: Literal["float32", "bf16", "fp16", "float64"] = __PRECISION__  # bf16 and fp16: autocast
    deterministic: bool = False  # on a GPU: the same bits in every run, slower
    resume: bool = False  # go on with the run in the output folder
    fresh: bool = False  # begin with new weights, drawn as Keras draws them
    #: if optimizer_state
    keep_optimizer_state: bool = True  # start with the momenta and the step count that Keras had
    #: end


#: if masked
__MASK_OF__


#: end
class Objective(nn.Module):
    """Model and loss as one module: DDP and FSDP act on calls of a module."""

    def __init__(self, model: __MODEL__) -> None:
        super().__init__()
        self.model = model
        __LOSSES__
        #: if class_weights
        self.register_buffer("class_weights", torch.tensor(__CLASS_WEIGHTS__), persistent=False)
        #: end

    def forward(self, inputs: __INPUTS_TYPE__, targets: __TARGETS_TYPE____WEIGHTS_PARAMETER____MASK_PARAMETER__) -> tuple[Tensor, __OUTPUTS_TYPE__]:
        """The loss of a batch, and the outputs of the model."""
        __FORWARD__


#: if penalty
def penalty(objective: nn.Module) -> Tensor:
    """What Keras' regularizers add to the loss."""
    model = getattr(objective, "module", objective).model  # DDP keeps it in `module`
    return __PENALTY__


#: end
class Averages:
    """Loss and metrics of one epoch, over all processes. Each batch counts by its size, as in Keras."""

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        metrics = {
            __METRICS__
        }
        self.metrics = MetricCollection(metrics, compute_groups=False).to(accelerator.device)
        self.reset()

    def reset(self) -> None:
        self.total, self.count = torch.zeros((), device=self.accelerator.device), 0
        self.metrics.reset()

    def update(self, loss: Tensor, size: Tensor | int, outputs: __OUTPUTS_TYPE__, targets: __TARGETS_TYPE____MASK_PARAMETER__) -> None:
        self.total = self.total + loss.detach() * size
        self.count = self.count + size
        __UPDATE_METRICS__

    #: if batch_end
    def loss(self) -> float:
        return self.accelerator.reduce(self.total / self.count, "mean").item()

    def compute(self) -> dict[str, float]:
        logs = {"loss": self.loss()}
    #: else
    def compute(self) -> dict[str, float]:
        logs = {"loss": self.accelerator.reduce(self.total / self.count, "mean").item()}
    #: end
        for name, value in self.metrics.compute().items():
            several = value.numel() > 1
            logs |= {f"{name}_{i}": v for i, v in enumerate(value.tolist())} if several else {name: value.item()}
        return logs


#: if accumulate
class Gradients:
    """The sums of gradients that wait for the next update, as a part of a checkpoint."""

    def __init__(self, objective: nn.Module) -> None:
        self.parameters = list(objective.parameters())

    def state_dict(self) -> dict[int, Tensor]:
        return {index: p.grad for index, p in enumerate(self.parameters) if p.grad is not None}

    def load_state_dict(self, state: dict[int, Tensor]) -> None:
        for index, gradient in state.items():
            self.parameters[index].grad = gradient.to(self.parameters[index])


#: end
def main(config: Config) -> None:
    if config.precision == "fp16" and not torch.accelerator.is_available():
        fail("--precision fp16 takes a GPU; bf16 works on CPU, too")
    autocast = config.precision if config.precision in ("bf16", "fp16") else "no"
    accelerator = Accelerator(mixed_precision=autocast, cpu=not torch.accelerator.is_available())
    torch.set_default_dtype(torch.float64 if config.precision == "float64" else torch.float32)
    torch.use_deterministic_algorithms(config.deterministic)
    rank, world = accelerator.process_index, accelerator.num_processes
    sharded = accelerator.distributed_type == DistributedType.FSDP
    if sharded:
        #: if whole_only
        fail(__UNSHARDED__)
        #: else
        if not accelerator.is_fsdp2:
            fail("FSDP 1 is not what train.py is written for: start it with --fsdp_version 2")
        #: if optimizer_state
        if config.keep_optimizer_state and not config.fresh:
            fail("FSDP shards a new optimizer: add --no-keep-optimizer-state, or start without FSDP")
        #: end
        accelerator.state.fsdp_plugin.cpu_ram_efficient_loading = False  # each process reads the weights itself
        #: end
    #: if per_token
    if config.precision == "fp16":
        fail("--precision fp16 scales gradients, which PerToken squares: take bf16")
    #: end
    train_loader, val_loader = loaders(
        config.data,
        batch_size=config.batch_size,
        validation_split=config.validation_split,
        shuffle=config.shuffle,
        seed=config.seed,
        workers=config.workers,
        rank=rank,
        world=world,
    )

    model = __MODEL__()
    load_weights(model, HERE / "weights.safetensors")
    if config.fresh:
        torch.manual_seed(config.seed)
        reset_parameters(model)
    #: if images
    if not sharded:  # FSDP takes contiguous weights only
        model.to(memory_format=torch.channels_last)
    #: end
    #: if batch_norm
    model = synchronized(model) if world > 1 else model
    #: end
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    #: if per_token
    __PER_TOKEN__
    #: end
    __OPTIMIZER__
    #: if scheduler
    __SCHEDULER__
    #: end
    #: if optimizer_state
    if config.keep_optimizer_state and not config.fresh:
        __RESUME__
    #: end
    objective, optimizer = accelerator.prepare(Objective(model), optimizer)
    #: if parameters
    parameters = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    #: end
    #: if average
    __AVERAGE__
    #: end
    #: if accumulate
    gradients = Gradients(objective)
    #: end
    averages = Averages(accelerator)
    #: if callbacks_todo
    __CALLBACKS_TODO__
    #: end
    #: if callbacks
    __CALLBACKS__
    #: end
    checkpoint = Checkpoint(config.output, objective, optimizer__STATEFUL__)
    history = checkpoint.begin(config)
    #: if accumulate
    batches = len(history) * len(train_loader)
    #: end
    #: if board
    board = tensorboard(config.output, len(history)) if rank == 0 else None
    #: end

    for epoch in range(len(history), config.epochs):
        #: if callbacks
        if callbacks.stop:
            accelerator.print("stopped by a callback")
            break
        callbacks.epoch_begin(epoch)
        #: end
        torch.manual_seed(config.seed + 1_000_003 * epoch + rank)  # dropout: the same in a run that was resumed
        set_epoch(train_loader, epoch)
        objective.train()
        averages.reset()
        bar = tqdm(train_loader, f"epoch {epoch + 1}/{config.epochs}", leave=False, disable=None if rank == 0 else True)
        #: if batch_end
        for batch, (__BATCH__) in enumerate(bar):
        #: else
        for __BATCH__ in bar:
        #: end
            __BATCH__ = moved((__BATCH__), accelerator.device)
            __MASKS__
            size, share = shared(__SIZE__, accelerator__AND_KEPT__)
            loss, outputs = objective(__GIVEN__)
            loss = loss * share__PLUS_PENALTY__
            averages.update(loss, size, outputs, targets__AND_MASKS__)
            #: if accumulate
            accelerator.backward(loss / __ACCUMULATE__)
            batches += 1
            if batches % __ACCUMULATE__:  # gradients add up, over the end of an epoch too
                #: if average
                average.update()
                #: end
                #: if constraints
                __CONSTRAINTS__
                #: end
                #: if scheduler
                scheduler.step()
                #: end
                #: if batch_end
                callbacks.batch_end(batch, {"loss": averages.loss()})
                if callbacks.stop:
                    break
                #: end
                continue
            #: else
            accelerator.backward(loss)
            #: end
            #: if clip
            accelerator.unscale_gradients()
            __CLIP__
            #: end
            optimizer.step()
            #: if average
            average.update()
            #: end
            #: if constraints
            __CONSTRAINTS__
            #: end
            optimizer.zero_grad()
            #: if scheduler
            scheduler.step()
            #: end
            #: if batch_end
            callbacks.batch_end(batch, {"loss": averages.loss()})
            if callbacks.stop:
                break
            #: end
        logs = averages.compute()
        if val_loader is not None:
            #: if swap
            callbacks.validation_begin()
            #: end
            logs |= {f"val_{name}": value for name, value in evaluate(objective, val_loader, averages).items()}
            #: if swap
            callbacks.validation_end()
            #: end
        #: if callbacks
        callbacks.epoch_end(epoch, logs)
        #: end
        history.append(logs)
        accelerator.print(f"epoch {epoch + 1}/{config.epochs}:", ", ".join(f"{k} {v:.4g}" for k, v in logs.items()))
        #: if board
        for name, value in {"learning_rate": optimizer.param_groups[0]["lr"], **logs}.items() if board else ():
            board.add_scalar(name, value, epoch)
        #: end
        checkpoint.save(history)
    #: if swap
    callbacks.epoch_begin(config.epochs)  # the averages go back to their place
    #: end
    #: if average
    average.copy_to()  # `fit` ends with the averages as weights
    #: end
    #: if ends
    callbacks.end()
    #: end
    #: if final
    checkpoint.save_weights()
    #: end
    accelerator.end_training()


@torch.no_grad()
def evaluate(objective: nn.Module, loader: Any, averages: Averages) -> dict[str, float]:
    """Loss and metrics of the model in inference mode."""
    objective.eval()
    averages.reset()
    for __BATCH__ in loader:
        __BATCH__ = moved((__BATCH__), averages.accelerator.device)
        __MASKS__
        size, share = shared(__SIZE__, averages.accelerator__AND_KEPT__)
        loss, outputs = objective(__GIVEN__)
        averages.update(loss * share__PLUS_PENALTY__, size, outputs, targets__AND_MASKS__)
    return averages.compute()


def shared(size: int, accelerator: Accelerator__KEPT_PARAMETER__) -> tuple[Tensor | int, Tensor | float]:
    """The size of a batch over all processes, and the factor with which the mean of their losses is the batch's."""
    if accelerator.num_processes == 1:
        return size, 1.0
    #: if one_mask
    kept = mask.sum()  # a loss is a mean over the steps that count
    whole, all_kept = accelerator.reduce(torch.stack([kept.new_tensor(size), kept]))
    return whole, __SHARE__
    #: else
    whole = accelerator.reduce(torch.tensor(size, device=accelerator.device))
    return whole, __SHARE__
    #: end


def moved(batch: Any, device: torch.device) -> Any:
    """To the device; floating-point numbers in the precision of the run."""
    if isinstance(batch, Tensor):
        dtype = torch.get_default_dtype() if batch.is_floating_point() else batch.dtype
        return batch.to(device, dtype, non_blocking=True)
    return [moved(part, device) for part in batch]


#: if board
def tensorboard(folder: str, epoch: int) -> Any:
    """A writer whose curves go on at this epoch."""
    sys.modules["tensorboard.compat.notf"] = ModuleType("notf")  # or it imports TensorFlow where there is one
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(folder, purge_step=epoch, flush_secs=10)


#: end
#: if own_schedule
def schedule(epoch: int, rate: float) -> float:
    """The learning rate of an epoch, given that of the one before."""
    raise NotImplementedError("TODO: the schedule of LearningRateScheduler: write it here")


#: end
def parsed() -> Config:
    """The options of the command line; a run that is resumed keeps those it was begun with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    comments = {line.split(":")[0].strip(): line.partition("  # ")[2] for line in getsource(Config).splitlines()}
    for field in fields(Config):
        option, choices = f"--{field.name.replace('_', '-')}", get_args(field.type)
        said = f"{comments.get(field.name, '')} ({field.default})".strip().replace("%", "%%")
        if field.type is bool:
            parser.add_argument(option, default=argparse.SUPPRESS, action=argparse.BooleanOptionalAction, help=said)
        else:
            kind = str if choices else field.type
            parser.add_argument(option, default=argparse.SUPPRESS, type=kind, choices=choices or None, help=said)
    given = vars(parser.parse_args())
    if given.get("resume"):
        given = resumed(given, given.get("output", Config.output))
    return Config(**given)


if __name__ == "__main__":
    with refusing():
        main(parsed())
