"""Local classes without the options that a model does not use: the text holds what its owner needs.

Each option is a list of replacements in the text of the class. A test holds every combination against the class.
"""

from __future__ import annotations

from collections.abc import Iterator

from converters.graph import Call, Graph, Module

Replacements = tuple[tuple[str, str], ...]
ATTENTION = "MultiHeadAttention"
SUBCLASSES = ("MaskedAttention", "ScoredAttention")  # they take over its constructor, and part of its forward
# Options of the constructor, with what is usual, and of forward.
CONSTRUCTED: dict[str, tuple[object, Replacements]] = {
    "kv_dim": (None, (
        (", kv_dim: int | None = None", ""), ("kv_dim or dim", "dim"), ("(N, S, kv_dim)", "(N, S, dim)"),
    )),
    "bias": (True, ((", bias: bool = True", ""), (", bias=bias", ""))),
    "dropout": (0.0, (
        (", dropout: float = 0.0", ""), ("self.heads, self.dropout = heads, dropout", "self.heads = heads"),
        ("    dropout = self.dropout if self.training else 0.0\n    ", ""), (", dropout_p=dropout", ""),
        ("F.dropout(weights, self.dropout, self.training) @ v", "weights @ v"),
    )),
}  # fmt: skip
CALLED: dict[str, Replacements] = {
    "mask": ((", mask: Tensor | None = None", ""), (", attn_mask=mask", "")),
    "is_causal": ((", is_causal: bool = False", ""), (", is_causal=is_causal", "")),
}
ALWAYS_MASKED: Replacements = (
    ("mask: Tensor | None = None", "mask: Tensor"),
    (
        "if mask is None:\n            x = F.scaled_dot_product_attention(q, k, v)\n        else:\n            x =",
        "x =",
    ),
)


def trimmed(name: str, text: str, graph: Graph) -> str:
    """The text of a local class or function as the model needs it."""
    if name not in (ATTENTION, *SUBCLASSES):
        return text
    own = list(_uses(graph, (f"local.{name}",)))
    family = list(_uses(graph, tuple(f"local.{one}" for one in (ATTENTION, *SUBCLASSES))))
    alone = len(own) == len(family)
    left_out = [
        pairs
        for option, (usual, pairs) in CONSTRUCTED.items()
        if all(module.kwargs.get(option, usual) == usual for module, _ in family)
    ]
    if name == ATTENTION and alone:
        left_out += [pairs for option, pairs in CALLED.items() if not any(option in call.kwargs for _, call in own)]
    if name == "MaskedAttention" and not any("is_causal" in call.kwargs for _, call in own):
        left_out.append(CALLED["is_causal"])
        left_out += [ALWAYS_MASKED] if all("mask" in call.kwargs for _, call in own) else []
    for old, new in (pair for pairs in left_out for pair in pairs):
        text = text.replace(old, new)
    return text


def _uses(graph: Graph, constructors: tuple[str, ...]) -> Iterator[tuple[Module, Call]]:
    """The layers of these classes, and their calls, in the classes of blocks as well."""
    for module in graph.modules:
        if module.graph is not None:
            yield from _uses(module.graph.block.template.graph if module.graph.block else module.graph, constructors)
        elif module.constructor in constructors:
            yield from ((module, c) for c in graph.nodes if isinstance(c, Call) and c.target == module.key)
