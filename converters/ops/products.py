"""Products of tensors, and linear algebra of the matrices in their last two axes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from converters.arrangement import AS_WRITTEN, Arrangement, Flat, as_written, channels_first
from converters.graph import Value
from converters.layer import LayerHandle
from converters.ops.operands import array_of, is_float, operands, perm_of, same_type, tensor, write
from converters.registry import converts

Pair = tuple[Any, Any]
MATRICES = {
    "Det": "torch.linalg.det", "Inv": "torch.linalg.inv", "Logdet": "torch.logdet", "Pinv": "torch.linalg.pinv",
    "MatrixRank": "torch.linalg.matrix_rank", "Corrcoef": "local.correlation",
}  # fmt: skip


def factors(layer: LayerHandle, *inputs: Any) -> list[Value]:
    """Tensors of one type of number, arrays among them as buffers."""
    names = ("first", "second") if len(inputs) == 2 else [f"operand{i}" for i in range(len(inputs))]
    given = [tensor(layer, array_of(x), role) for x, role in zip(inputs, names, strict=True)]
    return same_type(layer, given)


def plain(y: Value) -> Value:
    return y.arranged(as_written(y.rank))


@converts("ops.Matmul", layout=AS_WRITTEN)
def matmul(layer: LayerHandle, x1: Any, x2: Any) -> Value:
    return plain(write(layer, "@", *factors(layer, x1, x2)))


@converts("ops.Dot", layout=AS_WRITTEN)
def dot(layer: LayerHandle, x1: Any, x2: Any) -> Value:
    """The last axis of the first with the last but one of the second."""
    x, y = (array_of(v) for v in (x1, x2))
    if isinstance(x, (int, float)) or isinstance(y, (int, float)) or 0 in (_rank(x), _rank(y)):
        return write(layer, "*", *operands(layer, x, y))
    x, y = factors(layer, x, y)
    if y.rank <= 2:
        return plain(write(layer, "@", x, y))
    return plain(write(layer, "torch.tensordot", x, y, dims=([x.rank - 1], [y.rank - 2])))


def _rank(x: Any) -> int:
    return x.rank if isinstance(x, Value) else int(x.ndim)


@converts("ops.Inner", layout=AS_WRITTEN)
def inner(layer: LayerHandle, x1: Any, x2: Any) -> Value:
    """Over the last axis of both."""
    return plain(write(layer, "torch.inner", *factors(layer, x1, x2)))


@converts("ops.Vdot", layout=AS_WRITTEN)
def vdot(layer: LayerHandle, x1: Any, x2: Any) -> Value:
    """Over all elements of both, in a row."""
    x, y = (write(layer, "flatten", v) if v.rank > 1 else v for v in factors(layer, x1, x2))
    return plain(write(layer, "@", x, y))


@converts("ops.Outer", layout=AS_WRITTEN)
def outer(layer: LayerHandle, x1: Any, x2: Any) -> Value:
    """All elements of one with all of the other."""
    x, y = (write(layer, "flatten", v) if v.rank > 1 else v for v in factors(layer, x1, x2))
    return plain(write(layer, "torch.outer", x, y))


@converts("ops.Tensordot", layout=AS_WRITTEN)
def tensordot(layer: LayerHandle, x1: Any, x2: Any, *, axes: int | Pair = 2) -> Value:
    if not isinstance(axes, int):
        axes = tuple([a] if isinstance(a, int) else list(a) for a in axes)  # type: ignore[assignment]  # two lists
    return plain(write(layer, "torch.tensordot", *factors(layer, x1, x2), dims=axes))


def LETTERS(inputs: Sequence[Any], config: Mapping[str, Any]) -> list[Arrangement]:
    """Any order of axes: the letters follow them. An ellipsis names axes by their place."""
    named = "..." not in str(config.get("subscripts"))
    return [as_written(x.rank) if isinstance(x.arrangement, Flat) or not named else x.arrangement for x in inputs]


TERM = r"[A-Za-z]*(\.\.\.)?[A-Za-z]*"
EQUATION = re.compile(f"{TERM}(,{TERM})*(->{TERM})?")


def fits(subscripts: str, ranks: Sequence[int]) -> bool:
    """Whether an equation is one: a term an operand, a letter an axis, and nothing in the result that is in no term."""
    if EQUATION.fullmatch(subscripts) is None:
        return False
    left, _, result = subscripts.partition("->")
    terms, axes = left.split(","), result.replace("...", "")
    lengths = [len(term.replace("...", "")) for term in terms]
    return (
        len(terms) == len(ranks)
        and all(n <= rank if "." in term else n == rank for term, n, rank in zip(terms, lengths, ranks, strict=True))
        and len(set(axes)) == len(axes)
        and set(result) <= set(left)
    )


@converts("ops.Einsum", layout=LETTERS)
def einsum(layer: LayerHandle, *operands: Any, subscripts: str) -> Value:
    """The letters of an operand are written in the order in which its axes lie. The result of images is one."""
    given = factors(layer, *operands)
    if not fits(subscripts, [x.rank for x in given]):
        layer.unsupported(
            f"{subscripts!r:.60} is no equation for operands of {[x.rank for x in given]} axes",
            "check that the file is not damaged",
        )
    terms, arrow, result = subscripts.partition("->")
    letters = terms.split(",")
    order = as_written(len(result))
    if "." not in subscripts:
        letters = ["".join(term[a] for a in perm_of(x)) for term, x in zip(letters, given, strict=True)]
        if arrow and any(x.rank == len(result) and x.arrangement == channels_first(x.rank) for x in given):
            order = channels_first(len(result))
            result = "".join(result[a] for a in order.axes)
    y = write(layer, "torch.einsum", f"{','.join(letters)}{arrow}{result}", *given)
    return y.arranged(order) if arrow and "." not in subscripts else plain(y)


@converts("ops.Kron", layout=AS_WRITTEN)
def kron(layer: LayerHandle, x1: Any, x2: Any) -> Value:
    return plain(write(layer, "torch.kron", *factors(layer, x1, x2)))


@converts("ops.Cross", layout=AS_WRITTEN)
def cross(
    layer: LayerHandle, x1: Any, x2: Any, *, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Value:
    """Of vectors of three along one axis of both."""
    x, y = factors(layer, x1, x2)
    if axis is None and len({axisa % x.rank, axisb % y.rank, axisc % max(x.rank, y.rank)}) > 1:
        layer.unsupported("its vectors lie along different axes", "move them to the last axis in Keras")
    dim = axis if axis is not None else axisa
    if x.sizes[dim] != 3 or y.sizes[dim] != 3:
        layer.unsupported("it multiplies vectors of two elements", "add a zero as the third in Keras")
    return plain(write(layer, "torch.linalg.cross", x, y, **({"dim": dim} if dim != -1 else {})))


@converts("ops.CDist", layout=AS_WRITTEN)
def cdist(layer: LayerHandle, x: Any, y: Any) -> Value:
    """Distances of all rows; without the shortcut by a product of matrices, which loses digits of near points."""
    mode = "donot_use_mm_for_euclid_dist"
    return plain(write(layer, "torch.cdist", *factors(layer, x, y), compute_mode=mode))


@converts("ops.Correlate", layout=AS_WRITTEN)
def correlate(layer: LayerHandle, x1: Any, x2: Any, *, mode: Literal["valid", "same", "full"] = "valid") -> Value:
    x, y = factors(layer, x1, x2)
    return plain(write(layer, "local.correlate", layer.floating(x), layer.floating(y), mode))


# -- linear algebra ----------------------------------------------------------------------------------------


@converts(*(f"ops.{name}" for name in MATRICES), layout=AS_WRITTEN)
def matrices(layer: LayerHandle, x: Value, *, rcond: float | None = None, tol: float | None = None) -> Value:
    options = {"rtol": rcond} if rcond is not None else {"atol": tol, "rtol": 0.0} if tol is not None else {}
    return plain(write(layer, MATRICES[layer.class_name], layer.floating(x), **options))


@converts("ops.Slogdet", layout=AS_WRITTEN)
def slogdet(layer: LayerHandle, x: Value) -> list[Value]:
    """(sign, logarithm of the magnitude)."""
    return [plain(y) for y in layer.function("torch.linalg.slogdet", x)]


@converts("ops.Cholesky", layout=AS_WRITTEN)
def cholesky(layer: LayerHandle, x: Value, *, upper: bool = False) -> Value:
    return plain(write(layer, "torch.linalg.cholesky", x, **({"upper": True} if upper else {})))


@converts("ops.CholeskyInverse", layout=AS_WRITTEN)
def cholesky_inverse(layer: LayerHandle, x: Value, *, upper: bool = False) -> Value:
    return plain(write(layer, "torch.cholesky_inverse", x, **({"upper": True} if upper else {})))


@converts("ops.Solve", layout=AS_WRITTEN)
def solve(layer: LayerHandle, a: Any, b: Any) -> Value:
    """a x = b, for matrices b or, where b has one axis less, vectors."""
    return _solved(layer, "torch.linalg.solve", *factors(layer, a, b))


@converts("ops.SolveTriangular", layout=AS_WRITTEN)
def solve_triangular(layer: LayerHandle, a: Any, b: Any, *, lower: bool = False) -> Value:
    return _solved(layer, "torch.linalg.solve_triangular", *factors(layer, a, b), upper=not lower)


def _solved(layer: LayerHandle, target: str, a: Value, b: Value, **options: Any) -> Value:
    if not (is_float(a) and is_float(b)):
        layer.unsupported("it solves equations in whole numbers", "cast them to floats in Keras")
    if b.rank != a.rank - 1:
        return plain(write(layer, target, a, b, **options))
    column = write(layer, "unsqueeze", b, -1)
    return plain(write(layer, "squeeze", write(layer, target, a, column, **options), -1))


@converts("ops.SVD", layout=AS_WRITTEN)
def svd(layer: LayerHandle, x: Value, *, full_matrices: bool = True, compute_uv: bool = True) -> Value:
    """The singular values. The vectors are not unique: each library picks signs of its own."""
    if compute_uv:
        layer.unsupported(
            "the signs of singular vectors differ between libraries", "use svd(compute_uv=False) in Keras"
        )
    return plain(write(layer, "torch.linalg.svdvals", x))
