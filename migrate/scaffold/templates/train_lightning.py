"""Trains __MODEL__ as `compile` and `fit` did in Keras, with Lightning.

    python train.py --epochs 15
    python train.py --epochs 30 --resume         goes on where a run ended or was killed
    python train.py --epochs 15 --devices 2      the same batches, shared by two GPUs, or by two processes
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

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from safetensors.torch import load_file
from torch import Tensor, nn
from torchmetrics import MetricCollection

__IMPORTS__
#: if masked
import torch.nn.functional as F
#: end
#: if batch_norm
from batch_norm import synchronized
#: end
from checkpoint import begin, fail, load_weights, refusing, resumed
from data import loaders, set_epoch
from initial import reset_parameters
from model import __MODEL__
from run import Run

HERE = Path(__file__).resolve().parent
PRECISION = {"float32": "32-true", "float64": "64-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


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
    devices: int = 1  # GPUs, or processes on CPU
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
class Training(L.LightningModule):
    """The model with its loss, metrics, optimizer and data."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.model = model = __MODEL__()
        load_weights(model, HERE / "weights.safetensors")
        if config.fresh:
            torch.manual_seed(config.seed)
            reset_parameters(model)
        #: if images
        model.to(memory_format=torch.channels_last)
        #: end
        __LOSSES__
        #: if class_weights
        self.register_buffer("class_weights", torch.tensor(__CLASS_WEIGHTS__), persistent=False)
        #: end
        #: if metrics
        metrics = {
            __METRICS__
        }
        self.train_metrics = MetricCollection(metrics, compute_groups=False)
        self.val_metrics = self.train_metrics.clone(prefix="val_")
        #: end

    def setup(self, stage: str) -> None:
        config, trainer = self.config, self.trainer
        self.train_loader, self.val_loader = loaders(
            config.data,
            batch_size=config.batch_size,
            validation_split=config.validation_split,
            shuffle=config.shuffle,
            seed=config.seed,
            workers=config.workers,
            rank=trainer.global_rank,
            world=trainer.world_size,
        )
        #: if batch_norm
        if trainer.world_size > 1:
            self.model = synchronized(self.model)
        #: end

    def train_dataloader(self) -> Any:
        set_epoch(self.train_loader, self.current_epoch)
        return self.train_loader

    def val_dataloader(self) -> Any:
        return self.val_loader or []

    def on_train_epoch_start(self) -> None:
        # dropout: the same in a run that was resumed
        torch.manual_seed(self.config.seed + 1_000_003 * self.current_epoch + self.global_rank)

    def objective(self, inputs: __INPUTS_TYPE__, targets: __TARGETS_TYPE____WEIGHTS_PARAMETER____MASK_PARAMETER__) -> tuple[Tensor, __OUTPUTS_TYPE__]:
        """The loss of a batch, and the outputs of the model."""
        __FORWARD__

    def training_step(self, batch: Any, index: int) -> Tensor:
        #: if metrics
        return self.measured(batch, "", self.train_metrics)
        #: else
        return self.measured(batch, "")
        #: end

    def validation_step(self, batch: Any, index: int) -> None:
        #: if metrics
        self.measured(batch, "val_", self.val_metrics)
        #: else
        self.measured(batch, "val_")
        #: end

    #: if metrics
    def measured(self, batch: Any, prefix: str, metrics: MetricCollection) -> Tensor:
    #: else
    def measured(self, batch: Any, prefix: str) -> Tensor:
    #: end
        """The loss of a batch; it and the metrics are logged. Each batch counts by its size, as in Keras."""
        __BATCH__ = batch
        __MASKS__
        size, share = self.shared(__SIZE____AND_KEPT__)
        loss, outputs = self.objective(__GIVEN__)
        #: if penalty
        loss = loss * share + penalty(self)
        #: else
        loss = loss * share
        #: end
        self.log(f"{prefix}loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=size, sync_dist=True)
        #: if metrics
        __UPDATE_METRICS__
        self.log_dict(metrics, on_step=False, on_epoch=True, batch_size=size)
        #: end
        return loss

    def shared(self, size: int__KEPT_PARAMETER__) -> tuple[int, Tensor | float]:
        """The size of a batch over all processes, and the factor with which the mean of their losses is the batch's."""
        if self.trainer.world_size == 1:
            return size, 1.0
        #: if one_mask
        kept = mask.sum()  # a loss is a mean over the steps that count
        whole, all_kept = self.all_gather(torch.stack([kept.new_tensor(size), kept])).sum(0)
        return int(whole), __SHARE__
        #: else
        whole = int(self.all_gather(torch.tensor(size, device=self.device)).sum())
        return whole, __SHARE__
        #: end

    def configure_optimizers(self) -> Any:
        #: if learning_rate or optimizer_state
        config = self.config
        #: end
        #: if per_token or optimizer_state
        model = self.model
        #: end
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
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
        #: if scheduler
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
        #: else
        return optimizer
        #: end
    #: if clip

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        #: if clip_of_model
        model = self.model
        #: end
        parameters = [parameter for parameter in self.parameters() if parameter.requires_grad]
        __CLIP__
    #: end
    #: if constraints

    def on_train_batch_end(self, *_: Any) -> None:
        model = self.model
        __CONSTRAINTS__
    #: end


#: if penalty
def penalty(training: Training) -> Tensor:
    """What Keras' regularizers add to the loss."""
    model = training.model
    return __PENALTY__


#: end
#: if callbacks
def keras_callbacks(config: Config, model: nn.Module, optimizer: torch.optim.Optimizer) -> Callbacks:
    """The callbacks of Keras that Lightning has no equal of."""
    return __CALLED__


#: end
def main(config: Config) -> None:
    if config.precision == "fp16" and not torch.accelerator.is_available():
        fail("--precision fp16 takes a GPU; bf16 works on CPU, too")
    #: if per_token
    if config.precision == "fp16":
        fail("--precision fp16 scales gradients, which PerToken squares: take bf16")
    #: end
    torch.set_default_dtype(torch.float64 if config.precision == "float64" else torch.float32)
    sys.modules["tensorboard.compat.notf"] = ModuleType("notf")  # or it imports TensorFlow where there is one
    #: if callbacks_todo
    __CALLBACKS_TODO__
    #: end
    callbacks = [
        #: if callbacks
        Run(config, keras_callbacks),
        #: else
        Run(config),
        #: end
        L.pytorch.callbacks.LearningRateMonitor(),
        __STOPS__
        L.pytorch.callbacks.ModelCheckpoint(
            config.output, "checkpoint", save_on_train_epoch_end=True, enable_version_counter=False
        ),
    ]
    trainer = L.Trainer(
        max_epochs=config.epochs,
        devices=config.devices,
        strategy="ddp" if config.devices > 1 else "auto",
        precision=PRECISION[config.precision],
        deterministic=config.deterministic,
        logger=TensorBoardLogger(config.output, name="", version=""),
        callbacks=callbacks,
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # data.py shares the batches
        reload_dataloaders_every_n_epochs=1,  # for the order of each epoch
    )
    trainer.fit(Training(config), ckpt_path=begin(config), weights_only=True)


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
