"""What happens to gradients before the step."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, distributed, nn

from converters.training.local.optim.base import squared


def clip_by_norm(parameters: Iterable[Tensor], max_norm: float, together: Sequence[Sequence[Tensor]] = ()) -> None:
    """Each parameter's gradient to at most `max_norm`; `together` are those that were one weight in Keras."""
    joined = {id(p) for group in together for p in group}
    for group in [*together, *([p] for p in parameters if id(p) not in joined)]:
        factor = max_norm / norm_of_gradients(group).clamp(min=max_norm)
        for p in group:
            if p.grad is not None:
                p.grad.mul_(factor)
            for name, power in (("grad_squared", 2), ("grad_size", 1)):
                if getattr(p, name, None) is not None:
                    setattr(p, name, getattr(p, name) * factor**power)


def clip_by_global_norm(parameters: Iterable[Tensor], max_norm: float) -> None:
    """All gradients together to at most `max_norm`; one that is not finite makes all of them NaN."""
    parameters = list(parameters)
    norm = norm_of_gradients(parameters)
    for p in parameters:
        if p.grad is not None:
            p.grad.mul_(max_norm / norm.clamp(min=max_norm) + (norm - norm))
        for name in ("grad_squared", "grad_size"):  # from here on Keras, too, has one gradient for all tokens
            p.__dict__.pop(name, None)


def clip_by_value(parameters: Iterable[Tensor], value: float) -> None:
    """Each number of the gradients to at most `value`; those of embeddings are clipped token by token (`PerToken`)."""
    for p in parameters:
        if p.grad is not None and getattr(p, "grad_squared", None) is None:
            p.grad.clamp_(-value, value)


def norm_of_gradients(parameters: Sequence[Tensor]) -> Tensor:
    """The root of the sum of all squares; of an embedding, token by token."""
    squares = [squared(p, p.grad).sum() for p in parameters if p.grad is not None]
    return torch.stack(squares).sum().sqrt() if squares else torch.tensor(0.0)


class PerToken:
    """Keras 3 with TensorFlow squares the gradient of an embedding once per token, before it adds up tokens that
    occur twice. This keeps those sums beside the gradient, for the optimizers and clipping of this file. The gradient
    of several processes is the mean of theirs, so each of them has that of its tokens times their number."""

    def __init__(self, embedding: nn.Embedding, clip_value: float | None = None) -> None:
        self.weight, self.clip_value = embedding.weight, clip_value
        embedding.register_forward_hook(self.watch)

    def watch(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(lambda grad: self.keep(inputs[0], grad))

    def keep(self, ids: Tensor, grad: Tensor) -> Tensor:
        world = distributed.get_world_size() if distributed.is_initialized() else 1
        grad = grad if self.clip_value is None else grad.clamp(-world * self.clip_value, world * self.clip_value)
        for name, part in (("grad_squared", (grad / world) ** 2), ("grad_size", grad.abs() / world)):
            sums = torch.zeros_like(self.weight).index_add(0, ids.flatten(), part.flatten(0, -2).to(self.weight))
            if world > 1:
                distributed.all_reduce(sums)
            total = getattr(self.weight, name, None)
            setattr(self.weight, name, sums if total is None else total + sums)
        return grad
