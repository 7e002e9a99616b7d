"""Shapes in prose, for docstrings and comments."""

from __future__ import annotations

from converters.graph import Value

LETTERS = "NCDHW"


def shape_text(value: Value) -> str:
    """(N, 3, H, W): a letter for each dynamic size."""
    if value.dtype == "size" or value.shape is None:
        return ""
    sizes = [str(size) if size is not None else _letter(value, axis) for axis, size in enumerate(value.shape)]
    return f"({', '.join(sizes)})"


def _letter(value: Value, axis: int) -> str:
    if axis == 0:
        return "N"
    if value.rank in (4, 5):
        order = getattr(value.arrangement, "axes", tuple(range(value.rank)))
        keras = order[axis]
        return "DHWC"[(5 - value.rank) + keras - 1] if keras < value.rank - 1 else "C"
    return "T" if axis == 1 else "SUV"[min(axis - 2, 2)]
