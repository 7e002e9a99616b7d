"""Watches an emitted model run: every tensor that a module or a line of `model.py` makes, and where it was made.

The place of a tensor is the path of the module whose `forward` was running and the line there, so that functional
layers, and layers within blocks, are seen as well as modules.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from converters.graph import leaves, map_tree

FRAMES_AT_MOST = 60


@dataclass(frozen=True)
class Event:
    """Something that made tensors: a module (`function` is '') or a torch function.

    module: path of the module, or of the one whose forward called the function; call: the how-manieth of this module;
    line: of `model.py`, in that forward (for a module, in the forward that calls it);
    ordinal: which of the functions of this name that ran on this line in this call.
    """

    module: str
    call: int
    line: int
    function: str = ""
    ordinal: int = 0


Seen = Callable[[Event, int, torch.Tensor], torch.Tensor]


@dataclass
class _Running:
    """A module whose forward is running."""

    path: str
    call: int
    scope: str  # the class if it is written in model.py, else ''
    line: int
    counts: Counter[tuple[int, str]] = field(default_factory=Counter)


class Recorder(TorchFunctionMode):
    """Calls `seen(event, index, tensor)` for each tensor that is made; what it returns takes the tensor's place."""

    def __init__(self, model: nn.Module, seen: Seen) -> None:
        super().__init__()
        self.model, self.seen = model, seen
        self.file = source_file(model)
        self.paths = {module: path for path, module in model.named_modules()}
        self.running: list[_Running] = []
        self.calls: Counter[str] = Counter()
        self.busy = False

    @contextmanager
    def watching(self) -> Iterator[Recorder]:
        """Hooks on every module, and the mode; both are gone afterwards."""
        hooks = [module.register_forward_pre_hook(self._enter) for module in self.paths]
        hooks += [module.register_forward_hook(self._leave) for module in self.paths]
        try:
            with self:
                yield self
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        path = self.paths[module]
        above = next((r for r in reversed(self.running) if r.scope), None)
        line = _line(self.file, above.scope) if above is not None else 0
        scope = type(module).__qualname__ if _written_in(module, self.file) else ""
        self.running.append(_Running(path, self.calls[path], scope, line))
        self.calls[path] += 1

    def _leave(self, module: nn.Module, inputs: Any, outputs: Any) -> Any:
        left = self.running.pop()
        return self._shown(Event(left.path, left.call, left.line), outputs)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if kwargs.get("inplace"):
            kwargs["inplace"] = False  # what was seen must last
        result = func(*args, **kwargs)
        if self.busy or not self.running or not self.running[-1].scope or not _makes_tensors(func, result):
            return result
        here = self.running[-1]
        line, function = _line(self.file, here.scope), name_of(func)
        event = Event(here.path, here.call, line, function, here.counts[line, function])
        here.counts[line, function] += 1
        return self._shown(event, result)

    def _shown(self, event: Event, result: Any) -> Any:
        found = [leaf for leaf in leaves(result) if isinstance(leaf, torch.Tensor)]
        self.busy = True
        try:
            new = {id(tensor): self.seen(event, index, tensor) for index, tensor in enumerate(found)}
        finally:
            self.busy = False
        if all(new[id(tensor)] is tensor for tensor in found):
            return result
        return map_tree(lambda leaf: new.get(id(leaf), leaf), result)


def source_file(model: nn.Module) -> str:
    """The name of the file in which the class of a model is written."""
    return type(model).forward.__code__.co_filename


def name_of(func: Any) -> str:
    """`relu` of `torch.relu`, `F.relu` and `Tensor.relu`; of a property such as `Tensor.T`, its own."""
    name = str(getattr(func, "__name__", func))
    return str(getattr(getattr(func, "__self__", None), "__name__", name)) if name == "__get__" else name


def _written_in(module: nn.Module, file: str) -> bool:
    code = getattr(type(module).forward, "__code__", None)
    return code is not None and code.co_filename == file


def _makes_tensors(func: Any, result: Any) -> bool:
    return any(isinstance(leaf, torch.Tensor) for leaf in leaves(result))


def _line(file: str, scope: str) -> int:
    """The line in a method of class `scope` that is being run; 0 if none is."""
    frame = sys._getframe(2)
    for _ in range(FRAMES_AT_MOST):
        if frame.f_code.co_filename == file and frame.f_code.co_qualname.startswith(f"{scope}."):
            return frame.f_lineno
        if frame.f_back is None:
            break
        frame = frame.f_back
    return 0
