"""PyTorch beside an imported TensorFlow, as in a notebook that still holds the Keras model."""

from __future__ import annotations

import sys


def keep_apart() -> None:
    """Makes Triton unimportable where TensorFlow was imported first.

    Both carry an LLVM; where TensorFlow's is loaded first, the import of Triton's aborts the process ("LLVM ERROR:
    inconsistency in registered CommandLine options"). torch asks for Triton at the first optimizer, meta tensor
    or `torch.compile`, and does without it if it cannot be imported. Call this before torch work, not once: a
    user may import TensorFlow at any time.
    """
    if "tensorflow" in sys.modules and "triton" not in sys.modules:
        sys.modules["triton"] = None  # type: ignore[assignment]  # Python's own way to say "not importable"
