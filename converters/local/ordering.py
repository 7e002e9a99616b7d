"""The largest elements, with Keras' order of equals."""

from torch import Tensor


def top_k(x: Tensor, k: int, dim: int) -> tuple[Tensor, Tensor]:
    """The k largest and where they are. Of equal ones the first comes first, which Tensor.topk does not promise."""
    values, indices = x.sort(dim=dim, descending=True, stable=True)
    return values.narrow(dim, 0, k), indices.narrow(dim, 0, k)


def in_top_k(targets: Tensor, predictions: Tensor, k: int) -> Tensor:
    """Whether fewer than k classes are predicted above the target; never if its prediction is not finite."""
    target = predictions.gather(1, targets.long()[:, None])
    return ((predictions > target).sum(dim=1) < k) & target.squeeze(1).isfinite() & ~predictions.isnan().any(dim=1)
