"""What the inputs of a model are for: token ids, images, padded sequences; found by following them in its graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from converters.graph import Graph, Layer, Node, Value, values

# What hands its input on as it is, as far as its range is concerned.
PASSING = {
    f"layers.{name}"
    for name in (
        "Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianNoise GaussianDropout Reshape Flatten "
        "Permute RepeatVector Concatenate ZeroPadding1D ZeroPadding2D ZeroPadding3D Cropping1D Cropping2D Cropping3D "
        "Identity TimeDistributed Resizing CenterCrop"
    ).split()
} | {
    f"ops.{name}"
    for name in "Cast Reshape ExpandDims Squeeze GetItem Transpose Concatenate Stack Identity Flip".split()
}
LIMITS = {"layers.Embedding": "input_dim", "layers.CategoryEncoding": "num_tokens", "ops.OneHot": "num_classes"}
IMAGE_CHANNELS = {1, 3, 4}


@dataclass(frozen=True)
class Role:
    """What an input takes. `shape`: without the batch, None for a dynamic size.

    `below`: token ids are smaller than this. `padded`: id 0 is padding. `mask_value`: a step that is this everywhere
    is padding. `low`, `high`: the range of what is a picture, or is rescaled.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    below: int | None = None
    padded: bool = False
    mask_value: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def masked(self) -> bool:
        """Whether it has padding."""
        return self.padded or self.mask_value is not None


def roles(graph: Graph, described: list[Mapping[str, Any]]) -> list[Role]:
    """The role of every input. `described`: name, shape (with the batch) and dtype, as the original states them."""
    found = []
    inputs = values(graph.inputs)
    for number, entry in enumerate(described):
        role = Role(str(entry["name"]), tuple(entry["shape"][1:]), str(entry["dtype"]))
        found.append(with_uses(role, graph, inputs[number]) if number < len(inputs) else role)
    return found


def with_uses(role: Role, graph: Graph, value: Value) -> Role:
    """A role with all that is known of it from the layers that an input goes into."""
    for layer, op in uses(graph, value):
        if op in LIMITS and isinstance(limit := layer.config.get(LIMITS[op]), int):
            role = replace(role, below=min(limit, role.below or limit))
        if op == "layers.Embedding":
            role = replace(role, padded=role.padded or bool(layer.config.get("mask_zero")))
        if op == "layers.Masking":
            role = replace(role, mask_value=float(layer.config.get("mask_value", 0.0)))
        if op == "layers.Rescaling":
            role = _rescaled(role, layer.config)
    if role.low is None and len(role.shape) == 3 and IMAGE_CHANNELS & {role.shape[0], role.shape[-1]}:
        low, high = (0.0, 256.0) if "int" in role.dtype else (0.0, 1.0)
        return replace(role, low=low, high=high)
    return role


def _rescaled(role: Role, config: Mapping[str, Any]) -> Role:
    """The range that becomes 0 to 1, or -1 to 1."""
    scale, offset = config.get("scale"), config.get("offset", 0.0)
    if not isinstance(scale, (int, float)) or not isinstance(offset, (int, float)) or not scale:
        return role
    ends = sorted(((-1.0 if offset < 0 else 0.0) - offset, 1.0 - offset))
    return replace(role, low=ends[0] / scale, high=ends[1] / scale) if scale > 0 else role


def uses(graph: Graph, value: Value) -> Iterator[tuple[Layer, str]]:
    """(layer, op) of everything that takes a value, or what it is handed on as."""
    followed = {value}
    for node in graph.nodes:
        assert isinstance(node, Node)
        taken = values((node.args, dict(node.kwargs)))
        if not followed.intersection(taken):
            continue
        if node.layer.graph is not None:
            inner = values(node.layer.graph.inputs)
            for position, operand in enumerate(taken[: len(inner)]):
                if operand in followed:
                    yield from uses(node.layer.graph, inner[position])
            continue
        yield node.layer, node.op
        for child in node.layer.children.values():
            yield child, f"layers.{child.class_name}"
        if node.op in PASSING:
            followed.update(output for output in node.outputs if output is not None)
