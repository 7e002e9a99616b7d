"""What a Keras config says, read as data: objects by class name, refused by name where they are not Keras' own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from converters.errors import Unsupported

BUILT_IN = ("keras", "tensorflow.keras", "tensorflow.python.keras", "tf_keras", "tensorflow.python.tools", "builtins")
DAMAGED = "check that the file is not damaged"


def named(value: Any, kind: str) -> tuple[str, dict[str, Any]]:
    """(class name, config) of a serialized object, or of a name alone: 'adam', {'class_name': 'Adam', 'config': ...}.

    Raises Unsupported for a custom class or function.
    """
    if isinstance(value, str):
        return value, {}
    if not isinstance(value, Mapping) or not isinstance(value.get("class_name"), str):
        raise Unsupported(f"{kind} {value!r:.80} is not a name or an object of Keras", DAMAGED)
    name, config = value["class_name"], value.get("config", {})
    home = value.get("module")
    known = isinstance(home, str) and home.startswith(BUILT_IN)
    custom = not known and (isinstance(home, str) or ">" in str(value.get("registered_name") or ""))
    name = name.removeprefix("Custom>")  # what Keras 2 calls its own optimizers in HDF5 files
    if name == "function" or (home == "builtins" and isinstance(config, str)):
        refuse_custom(config, kind) if custom else None
        return str(config), {}
    if custom:
        refuse_custom(name, kind)
    return name, dict(config) if isinstance(config, Mapping) else {}


def refuse_custom(name: Any, kind: str) -> NoReturn:
    raise Unsupported(
        f"{kind} {str(name)!r:.80} is not one of Keras' own",
        f"write it in PyTorch and put it where train.py says TODO (scaffold --allow-todo), or give another "
        f"{kind.removeprefix('the ')}",
    )


def snake(name: str) -> str:
    """'MeanSquaredError', 'mean_squared_error' and 'MSE' in one spelling: lower case without underscores."""
    return name.replace("_", "").lower()


def short(value: float) -> float:
    """A number that passed through float32 on its way into the file, as it was meant: 1e-3, not 0.00100000004749745."""
    if isinstance(value, float) and float(np.float32(value)) == value:
        return float(str(np.float32(value)))
    return value


class Options:
    """The keys of one config: each is taken once, and what nobody took is an error."""

    def __init__(self, where: str, config: Mapping[str, Any], *ignored: str) -> None:
        self._where, self._left = where, {key: value for key, value in config.items() if key not in ignored}
        self.asked: list[str] = []  # every key that there is

    @property
    def left(self) -> list[str]:
        """The keys that nobody took and that say something."""
        return [key for key, value in self._left.items() if value is not None and value is not False]

    def _take(self, key: str, default: Any = None) -> Any:
        self.asked += [key] if key not in self.asked else []
        return self._left.pop(key, default)

    def number(self, key: str, default: float | None = None) -> float:
        """A finite or infinite number."""
        value = self._take(key)
        value = default if value is None else value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self._wrong(key, value, "a number")
        return short(value)

    def optional(self, key: str, default: float | None = None) -> float | None:
        """A number or None; the default only where the key is missing."""
        if self._left.get(key) is not None:
            return self.number(key)
        value: float | None = self._take(key, default)
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        value = self._take(key, default)
        if not isinstance(value, bool):
            self._wrong(key, value, "true or false")
        return value

    def value(self, key: str, default: Any = None) -> Any:
        return self._take(key, default)

    def done(self) -> None:
        """Nothing may be left but what says nothing."""
        for key in self.left:
            raise Unsupported(
                f"the config key {key}={self._left[key]!r:.80} is not known for {self._where}",
                "check that the file is not damaged; if it comes from a newer Keras, update tf2torch",
            )

    def _wrong(self, key: str, value: Any, expected: str) -> NoReturn:
        raise Unsupported(f"{self._where}: the config says {key}={value!r:.80}, expected {expected}", DAMAGED)
