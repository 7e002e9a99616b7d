"""Functions of neural networks that PyTorch has in another form."""

import torch
from torch import Tensor


def batch_norm(
    x: Tensor, epsilon: float, mean: Tensor, variance: Tensor, scale: Tensor | None = None, offset: Tensor | None = None
) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset; all of them broadcast against x, and have gradients."""
    factor = (variance + epsilon).rsqrt()
    factor = factor if scale is None else factor * scale
    y = (x - mean) * factor
    return y if offset is None else y + offset


def dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """Attention of (N, T, heads, D) tensors; heads of the query may share one of the key.

    A large negative number hides what the mask leaves out, so that a row of which nothing is left averages all values.
    """
    query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
    if 1 < key.shape[1] < query.shape[1]:
        key, value = (x.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for x in (key, value))
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if bias is not None:
        scores = scores + bias
    if causal:
        below = torch.ones(scores.shape[2:], dtype=torch.bool, device=scores.device).tril()
        mask = below if mask is None else mask & below
    if mask is not None:
        scores = scores.masked_fill(~mask, 0.7 * torch.finfo(scores.dtype).min)
    return (scores.softmax(dim=-1) @ value).transpose(1, 2)


def log_probability(logits: Tensor, target: Tensor) -> Tensor:
    """The logarithm of the softmax over the last axis, at each target."""
    return logits.log_softmax(dim=-1).gather(-1, target.long().unsqueeze(-1)).squeeze(-1)
