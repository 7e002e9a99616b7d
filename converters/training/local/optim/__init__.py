"""Optimizers and gradient clipping as Keras computes them.

All of them decay weights apart from the gradient, scaled by the learning rate, before the update. Learning rates are
read from the parameter groups, as torch's schedulers expect.
"""

from converters.training.local.optim.adam import Adam, Adamax, Lamb, Lion, Nadam
from converters.training.local.optim.average import Average
from converters.training.local.optim.base import KerasOptimizer, Optimizers, resume, squared
from converters.training.local.optim.classic import SGD, Adadelta, Adagrad, Ftrl, RMSprop
from converters.training.local.optim.gradients import PerToken, clip_by_global_norm, clip_by_norm, clip_by_value
from converters.training.local.optim.structured import Adafactor, Muon, ScheduleFreeAdamW, as_in_keras, as_in_torch

__all__ = [
    "KerasOptimizer", "squared", "resume", "Optimizers", "clip_by_norm", "clip_by_value", "clip_by_global_norm",
    "PerToken", "Average", "Adam", "Adamax", "Nadam", "Lamb", "Lion", "SGD", "RMSprop", "Adagrad", "Adadelta",
    "Ftrl", "Adafactor", "as_in_keras", "as_in_torch", "Muon", "ScheduleFreeAdamW",
]  # fmt: skip
