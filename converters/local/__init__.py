"""Short torch modules and functions for what takes more than three torch calls.

They are real source, tested directly, and written into the emitted `model.py` above the model, which is
why their files import torch only and are read as text by the emitter.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType
from typing import Any


@cache
def modules() -> tuple[ModuleType, ...]:
    """The files of this folder, imported when they are first asked for."""
    return tuple(importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__))


@cache
def home(name: str) -> ModuleType:
    """The file that defines a class or function. Raises KeyError if none does."""
    for module in modules():
        if getattr(getattr(module, name, None), "__module__", None) == module.__name__:
            return module
    raise KeyError(f"converters/local defines no {name}")


def find(name: str) -> Any:
    """The class or function itself."""
    return getattr(home(name), name)
