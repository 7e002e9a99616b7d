"""What converters work with: the handle of their layer, and of the modules that they write."""

from converters.layer.config import activation_name, compact
from converters.layer.handle import LayerHandle
from converters.layer.module import ModuleHandle
from converters.layer.recorder import Draft, Recorder
from converters.layer.weights import NoWeights

__all__ = ["Draft", "LayerHandle", "ModuleHandle", "NoWeights", "Recorder", "activation_name", "compact"]
