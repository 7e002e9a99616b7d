"""EinsumDense: a Linear where its equation is one, else `torch.einsum` with a parameter."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from typing import Any

from converters.arrangement import AS_WRITTEN, as_written
from converters.graph import Value
from converters.layer import LayerHandle
from converters.registry import converts
from converters.weights import Weight

EQUATION = re.compile(
    r"(?P<left>\.\.\.)?(?P<x>[a-zA-Z]+)(?P<right>\.\.\.)?,(?P<w>[a-zA-Z]+)->(\.\.\.)?(?P<y>[a-zA-Z]+)(\.\.\.)?"
)


@dataclass(frozen=True)
class Equation:
    """`...ab,bc->...ac`: the axes of the input, the kernel and the output. The ellipsis is `before` or `after`."""

    text: str
    x: str
    w: str
    y: str
    before: bool
    after: bool

    @property
    def summed(self) -> str:
        """The axes that input and kernel share and the output has not, in the input's order."""
        return "".join(axis for axis in self.x if axis in self.w and axis not in self.y)

    @property
    def new(self) -> str:
        """The axes that only the kernel brings, in the output's order."""
        return "".join(axis for axis in self.y if axis in self.w and axis not in self.x)

    @property
    def is_linear(self) -> bool:
        """Whether it maps the last axes of the input to the last axes of the output and leaves the others alone."""
        free = self.x.removesuffix(self.summed)
        return (
            bool(self.summed and self.new)
            and not self.after
            and self.x == free + self.summed
            and self.y == free + self.new
            and sorted(self.w) == sorted(self.summed + self.new)
        )


@converts("layers.EinsumDense", layout=AS_WRITTEN)
def einsum_dense(
    layer: LayerHandle,
    x: Value,
    *,
    equation: str,
    output_shape: int | tuple[int | None, ...] | None = None,
    bias_axes: str | None = None,
    activation: Any = None,
) -> Value:
    parsed = parse(layer, equation)
    if bias_axes and (set(bias_axes) - set(parsed.y)):
        layer.unsupported(
            f"bias_axes={bias_axes!r:.40} are not axes of the output of {equation!r:.80}", "check the file"
        )
    w = layer.weights("kernel", "bias" if bias_axes is not None else None)
    if w.kernel.rank != len(parsed.w):
        layer.unsupported(
            f"its kernel has {w.kernel.rank} axes, {equation!r:.80} names {len(parsed.w)}", "check the file"
        )
    if parsed.is_linear:
        y = linear(layer, x, parsed, w.kernel, w.bias if set(bias_axes or "") == set(parsed.new) else None)
        bias = None if set(bias_axes or "") == set(parsed.new) else w.bias
    else:
        y, bias = layer.function("torch.einsum", parsed.text, x, layer.parameter("kernel", w.kernel)), w.bias
    if bias is not None:
        y = layer.operator("+", y, layer.parameter("bias", bias))
    return layer.activate(y.arranged(as_written(y.rank)), activation)  # type: ignore[no-any-return]  # one value


def parse(layer: LayerHandle, equation: str) -> Equation:
    """The equation, if it is one that Keras takes: letters, each once in a term, and one ellipsis at the same end."""
    match = EQUATION.fullmatch(equation)
    if match is None:
        layer.unsupported(
            f"{equation!r:.80} is not an equation such as 'abc,cd->abd'", "check that the file is not damaged"
        )
    parsed = Equation(equation, match["x"], match["w"], match["y"], bool(match["left"]), bool(match["right"]))
    y = ("..." if parsed.before else "") + parsed.y + ("..." if parsed.after else "")
    if (
        any(len(set(term)) != len(term) for term in (parsed.x, parsed.w, parsed.y))
        or (parsed.before and parsed.after)
        or not equation.endswith(f"->{y}")
        or set(parsed.y) - set(parsed.x + parsed.w)
        or set(parsed.w) - set(parsed.x + parsed.y)
    ):
        layer.unsupported(f"{equation!r:.80} is not an equation that Keras takes", "check that the file is not damaged")
    return parsed


def linear(layer: LayerHandle, x: Value, equation: Equation, kernel: Weight, bias: Weight | None) -> Value:
    """The axes that are summed, flattened to one, through a Linear, and its features unflattened to the new axes."""
    shape = dict(zip(equation.w, kernel.shape, strict=True))
    summed, new = ([shape[axis] for axis in axes] for axes in (equation.summed, equation.new))
    order = [equation.w.index(axis) for axis in equation.summed + equation.new]
    if list(x.sizes[x.rank - len(summed) :]) != summed:
        layer.unsupported(
            f"its kernel is for the sizes {summed}, the input has {list(x.sizes)}",
            "check that the weights belong to this architecture",
        )
    module = layer.module("nn.Linear", prod(summed), prod(new), bias=bias is not None)
    weight = kernel.transpose(*order).reshape(prod(summed), prod(new)).T
    module.load(weight=weight, bias=bias.reshape(-1) if bias is not None else None)
    y: Value = module(layer.method("flatten", x, -len(summed)) if len(summed) > 1 else x)
    return layer.method("unflatten", y, -1, tuple(new)) if len(new) > 1 else y
