"""Attention, its projections separate Linear layers as Keras has them. A mask is True where a query may look."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(N, T, heads * head_dim) -> (N, heads, T, head_dim)."""
    return x.unflatten(-1, (heads, -1)).transpose(-3, -2)


def join_heads(x: Tensor) -> Tensor:
    """(N, heads, T, head_dim) -> (N, T, heads * head_dim)."""
    return x.transpose(-3, -2).flatten(-2)


class SelfAttention(nn.Module):
    """Self-attention: x (N, T, dim) -> (N, T, dim)."""

    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(dim, heads * head_dim)
        self.key = nn.Linear(dim, heads * head_dim)
        self.value = nn.Linear(dim, heads * head_dim)
        self.output = nn.Linear(heads * head_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        q = split_heads(self.query(x), self.heads)  # (N, heads, T, head_dim)
        k = split_heads(self.key(x), self.heads)
        v = split_heads(self.value(x), self.heads)
        return self.output(join_heads(F.scaled_dot_product_attention(q, k, v)))


class MultiHeadAttention(nn.Module):
    """Queries (N, T, dim) look at keys (N, S, kv_dim) and gather values (N, S, kv_dim): (N, T, dim)."""

    def __init__(
        self, dim: int, heads: int, head_dim: int, kv_dim: int | None = None, bias: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query = nn.Linear(dim, heads * head_dim, bias=bias)
        self.key = nn.Linear(kv_dim or dim, heads * head_dim, bias=bias)
        self.value = nn.Linear(kv_dim or dim, heads * head_dim, bias=bias)
        self.output = nn.Linear(heads * head_dim, dim, bias=bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        q, k, v = self.project(query, key, value)
        dropout = self.dropout if self.training else 0.0
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=is_causal)
        return self.output(join_heads(x))

    def project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q = split_heads(self.query(query), self.heads)  # (N, heads, T, head_dim)
        k = split_heads(self.key(key), self.heads)  # (N, heads, S, head_dim)
        v = split_heads(self.value(value), self.heads)  # (N, heads, S, head_dim)
        return q, k, v


class MaskedAttention(MultiHeadAttention):
    """MultiHeadAttention in which a query that may look nowhere gets the mean of all values."""

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        q, k, v = self.project(query, key, value)
        if mask is None:
            x = F.scaled_dot_product_attention(q, k, v, is_causal=is_causal)
        else:
            x = attention_or_mean(q, k, v, mask)
        return self.output(join_heads(x))


class ScoredAttention(MultiHeadAttention):
    """MultiHeadAttention that also returns its weights (N, heads, T, S)."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        q, k, v = self.project(query, key, value)
        weights = attention_weights(q, k, mask)
        x = F.dropout(weights, self.dropout, self.training) @ v
        return self.output(join_heads(x)), weights


class GroupedQueryAttention(nn.Module):
    """MultiHeadAttention in which several heads of queries in a row share one head of keys and values."""

    def __init__(
        self, dim: int, heads: int, kv_heads: int, head_dim: int, bias: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.dropout = heads, kv_heads, dropout
        self.query = nn.Linear(dim, heads * head_dim, bias=bias)
        self.key = nn.Linear(dim, kv_heads * head_dim, bias=bias)
        self.value = nn.Linear(dim, kv_heads * head_dim, bias=bias)
        self.output = nn.Linear(heads * head_dim, dim, bias=bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        q, k, v = self.project(query, key, value)
        dropout = self.dropout if self.training else 0.0
        x = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=is_causal, enable_gqa=True
        )
        return self.output(join_heads(x))

    def project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q = split_heads(self.query(query), self.heads)  # (N, heads, T, head_dim)
        k = split_heads(self.key(key), self.kv_heads)  # (N, kv_heads, S, head_dim)
        v = split_heads(self.value(value), self.kv_heads)  # (N, kv_heads, S, head_dim)
        return q, k, v


class MaskedGroupedQueryAttention(GroupedQueryAttention):
    """GroupedQueryAttention in which a query that may look nowhere gets the mean of all values."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.project(query, key, value)
        groups = self.heads // self.kv_heads
        x = attention_or_mean(q, k.repeat_interleave(groups, dim=-3), v.repeat_interleave(groups, dim=-3), mask)
        return self.output(join_heads(x))


def attention_or_mean(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Attention; a query that may look nowhere gets the mean of all values, where PyTorch alone gives zeros."""
    x = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return torch.where(mask.any(-1, keepdim=True), x, v.mean(-2, keepdim=True))


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None = None) -> Tensor:
    """How much each of T queries takes from each of S keys: (..., T, S). A row that is masked whole is zero."""
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    if mask is None:
        return scores.softmax(-1)
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(~mask, 0.0)


def biased_attention_weights(q: Tensor, k: Tensor, bias: Tensor) -> Tensor:
    """How much each of T queries takes from each of S keys, with a bias (..., T, S) for the scores."""
    return (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5 + bias).softmax(-1)


def attention_bias(mask: Tensor, like: Tensor) -> Tensor:
    """What Keras adds to the scores: -1e9 where the mask is False, so that a row that is masked whole stays finite."""
    lowest = max(-1e9, torch.finfo(like.dtype).min)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(~mask, lowest)


def causal_mask(query: Tensor, key: Tensor) -> Tensor:
    """(T, S): a query looks at the keys up to its own position."""
    return torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device).tril()


def window_mask(query: Tensor, key: Tensor, width: int) -> Tensor:
    """(T, S): a query looks at the keys that are fewer than `width` steps away."""
    rows = torch.arange(query.shape[-2], device=query.device)
    columns = torch.arange(key.shape[-2], device=query.device)
    return (rows[:, None] - columns).abs() < width
