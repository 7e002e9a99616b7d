"""Weight expressions: what they give, that they invert, that they survive JSON and stream without a copy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from converters.arrangement import Block, Flat
from converters.errors import UserError
from converters.weights import (
    Leaf,
    Reshape,
    Transpose,
    Weight,
    concat,
    constant,
    evaluate,
    from_json,
    numpy_dtype,
    restore,
    to_json,
)
from migrate.write import write_safetensors

RANDOM = np.random.default_rng(0)
ARRAYS = {"k": RANDOM.normal(size=(12, 5)), "c": RANDOM.normal(size=(2, 3, 4, 6)), "b": RANDOM.normal(size=(12,))}
K, C, B = (Leaf(array.shape, "float64", name) for name, array in ARRAYS.items())
FLAT = Flat(2, (Block((2, 3, 2), (2, 0, 1)),))
TWO = Flat(2, (Block((2, 2), (1, 0)), Block((8,), (0,))))
GRU = concat([K.split(3, 0)[i] for i in (1, 0, 2)], 0)

EXPRESSIONS = {
    "transpose": (K.T, lambda: ARRAYS["k"].T),
    "convolution": (C.transpose(3, 2, 0, 1), lambda: ARRAYS["c"].transpose(3, 2, 0, 1)),
    "depthwise": (C.transpose(2, 3, 0, 1).reshape(24, 1, 2, 3), lambda: ARRAYS["c"].transpose(2, 3, 0, 1).reshape(24, 1, 2, 3)),
    "flattened rows": (K.reorder(0, FLAT).T, lambda: ARRAYS["k"].reshape(2, 3, 2, 5).transpose(2, 0, 1, 3).reshape(12, 5).T),
    "two branches": (K.reorder(0, TWO), lambda: np.concatenate([ARRAYS["k"][[0, 2, 1, 3]], ARRAYS["k"][4:]])),
    "gates": (GRU, lambda: ARRAYS["k"][[*range(4, 8), *range(4), *range(8, 12)]]),
    "gates of flattened rows": (concat([K.reorder(0, FLAT).slice(1, 2, 5), K.reorder(0, FLAT).slice(1, 0, 2)], 1), lambda: ARRAYS["k"].reshape(2, 3, 2, 5).transpose(2, 0, 1, 3).reshape(12, 5)[:, [2, 3, 4, 0, 1]]),
    "flipped": (C.flip(0, 1), lambda: ARRAYS["c"][::-1, ::-1]),
    "with a constant": (concat([B, constant(0, (3,), "float64")], 0), lambda: np.concatenate([ARRAYS["b"], np.zeros(3)])),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expression_gives_inverts_and_survives_json(name: str, tmp_path: Path) -> None:
    weight, expected = EXPRESSIONS[name]
    found = evaluate(weight, lambda leaf: ARRAYS[leaf.key])
    np.testing.assert_array_equal(found, expected())
    assert weight.shape == found.shape
    assert from_json(json.loads(json.dumps(to_json(weight)))) == weight
    empty = {leaf.key: np.full(leaf.shape, np.nan) for leaf in weight.leaves()}
    restore(weight, found, empty)
    for key, array in empty.items():
        np.testing.assert_array_equal(array, ARRAYS[key])
    write_safetensors(tmp_path / "w", {"w": weight}, lambda leaf: ARRAYS[leaf.key])
    np.testing.assert_array_equal(load_file(tmp_path / "w")["w"], found)


def test_simplification_leaves_one_reshape_outside() -> None:
    """So that a reordered kernel is written row by row, without a second copy of it."""
    weight = K.reorder(0, FLAT).T
    assert isinstance(weight, Reshape) and isinstance(weight.base, Transpose)
    assert isinstance(weight.base.base, Reshape) and weight.base.base.base == K
    assert K.T.T == K
    assert K.reshape(12, 5) is K
    assert C.transpose(3, 2, 0, 1).transpose(2, 3, 1, 0) == C


def test_large_arrays_stream_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migrate.write.BLOCK", 64)
    write_safetensors(tmp_path / "w", {"a": K.T, "b": C.transpose(3, 2, 0, 1)}, lambda leaf: ARRAYS[leaf.key])
    found = load_file(tmp_path / "w")
    np.testing.assert_array_equal(found["a"], ARRAYS["k"].T)
    np.testing.assert_array_equal(found["b"], ARRAYS["c"].transpose(3, 2, 0, 1))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "bool", "float64", "int64"])
def test_dtypes_of_the_file_are_kept(dtype: str, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file as load_torch

    array = np.arange(6).reshape(2, 3).astype(numpy_dtype(dtype))
    leaf = Leaf((2, 3), dtype, "x")
    write_safetensors(tmp_path / "w", {"w": leaf.T, "one": constant(1, (2,), dtype)}, lambda _: array)
    found = load_torch(tmp_path / "w")
    assert found["w"].dtype == getattr(torch, dtype) and found["w"].shape == (3, 2)
    assert found["one"].float().tolist() == [1, 1]


def test_wrong_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="cannot be used as"):
        K.reshape(7, 7)
    with pytest.raises(UserError, match="no 5 equal parts"):
        K.split(5, 0)
    with pytest.raises(UserError, match="cannot be joined"):
        concat([K, B], 0)
    with pytest.raises(UserError, match=r"migration\.json"):
        from_json(["exec", "import os"])


def test_a_part_is_written_back_and_the_rest_stays() -> None:
    """Also where numpy has to copy what the part is of."""
    shuffled: Weight = Reshape((5, 12), "float64", Transpose((5, 12), "float64", K, (1, 0)))
    part, arrays = shuffled.reshape(60).slice(0, 0, 7), {"k": ARRAYS["k"].copy()}
    restore(part, np.zeros(7), arrays)
    expected = ARRAYS["k"].T.reshape(60).copy()
    expected[:7] = 0
    np.testing.assert_array_equal(arrays["k"].T.reshape(60), expected)
