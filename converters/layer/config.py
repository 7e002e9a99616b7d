"""Small readings of what a config says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from converters.errors import Unsupported


def compact(sizes: Sequence[int]) -> int | tuple[int, ...]:
    """One number instead of equal ones, as people write a kernel size."""
    return sizes[0] if len(set(sizes)) == 1 else tuple(sizes)


def activation_name(activation: Any) -> tuple[str | None, dict[str, Any] | None]:
    """(name, None) of an activation function, or (class name, config) of an activation layer."""
    if activation is None or isinstance(activation, str):
        return activation, None
    if isinstance(activation, Mapping):
        name, config = activation.get("class_name"), activation.get("config")
        if name == "function" and isinstance(config, str):
            return config, None
        if isinstance(name, str) and isinstance(config, Mapping):
            return name, {k: v for k, v in config.items() if k not in ("name", "dtype")}
    raise Unsupported(f"the activation {activation!r:.80} cannot be read", "check that the file is not damaged")
