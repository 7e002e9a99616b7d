"""The modules of a project and of a file's translation, one by one: what names the layer that differs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from torch import nn

from migrate.emit.project import checksums
from migrate.emit.selfcheck import build
from migrate.fit.differences import called, differs


def check_modules(folder: Path, migration: Mapping[str, Any], text: str, names: Mapping[str, str]) -> None:
    """The same modules with the same settings; where model.py was edited since, its text has to tell (`check_text`)."""
    emitted = (folder / "model.py").read_text() if (folder / "model.py").exists() else ""
    if checksums(emitted) != migration["lines"]:
        return
    old, new = (_settings(build(source, migration["class_name"])) for source in (emitted, text))
    for key, other in zip_longest(old, new):
        for path in dict.fromkeys((key, other)):
            if path is not None and old.get(path) != new.get(path):
                expected, found = (side.get(path, f"no module {path}") for side in (old, new))
                raise differs(called(migration, path, names), expected, found)


def _settings(model: nn.Module) -> dict[str, str]:
    """`Conv2d(3, 8, kernel_size=(3, 3), stride=(2, 2))` of every module that has no others within."""
    found = {}
    for path, module in model.named_modules():
        if next(module.children(), None) is None:
            own = list(module.parameters(recurse=False))
            frozen = ", frozen" if own and not any(parameter.requires_grad for parameter in own) else ""
            found[path] = f"{type(module).__name__}({module.extra_repr()}){frozen}"
    return found
