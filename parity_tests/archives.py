"""`.keras` files taken apart and put together again, damaged on purpose."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Change = Callable[[dict[str, Any]], Any]


def edited(source: str | Path, target: Path, change: Change) -> Path:
    """A copy of a `.keras` file whose config.json `change` has been at."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                data = json.dumps(change(config) or config).encode()
            new.writestr(name, data)
    return target


def renamed(config: Any, old: str, new: str) -> Any:
    """The config with a name replaced wherever it stands, keys included."""
    if isinstance(config, dict):
        return {(new if k == old else k): renamed(v, old, new) for k, v in config.items()}
    if isinstance(config, list):
        return [renamed(item, old, new) for item in config]
    return new if config == old else config
