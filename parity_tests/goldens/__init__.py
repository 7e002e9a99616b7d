"""Emitted files that were read like code, whole, and the command that rewrites them."""

from __future__ import annotations

from pathlib import Path


def golden(name: str) -> Path:
    """Where the text of a model is kept."""
    return Path(__file__).parent / f"{name}.txt"
