"""Optimizers that look at whole matrices, or at a second set of weights."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from converters.training.local.optim.base import KerasOptimizer, squared


class Adafactor(KerasOptimizer):
    """Second moments as an outer product over the last two axes that the weight had in Keras.

    A group's `view` says how to get there from the parameter: `p.reshape(sizes).permute(axes).reshape(shape)`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        beta2_decay: float = -0.8,
        eps: tuple[float, float] = (1e-30, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, beta2_decay=beta2_decay, eps=eps, d=d, weight_decay=weight_decay, view=None)

    def begin(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        seen = as_in_keras(p, group["view"])
        if seen.ndim < 2:
            state["variance"] = torch.zeros_like(p)
        else:
            state["row_var"], state["col_var"] = torch.zeros_like(seen[..., :1]), torch.zeros_like(seen[..., :1, :])

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        t = state["step"].item()
        beta2, rate = 1 - t ** group["beta2_decay"], min(group["lr"], t**-0.5)
        alpha = p.square().mean().sqrt().clamp(min=group["eps"][1]) * rate
        grad = as_in_keras(grad, group["view"])
        square = as_in_keras(squared(p, p.grad), group["view"]) + group["eps"][0]
        if grad.ndim < 2:
            variance = state["variance"].view(grad.shape).lerp_(square, 1 - beta2)
        else:
            row = state["row_var"].lerp_(square.mean(-1, keepdim=True), 1 - beta2)
            column = state["col_var"].lerp_(square.mean(-2, keepdim=True), 1 - beta2)
            variance = row / row.mean(-2, keepdim=True) * column
        step = grad / variance.sqrt()
        step = step / (step.square().mean().sqrt() / group["d"]).clamp(min=1)
        p.sub_(alpha * as_in_torch(step, p.shape, group["view"]))


def as_in_keras(x: Tensor, view: Any) -> Tensor:
    """A tensor of a parameter's shape with the axes of the Keras weight."""
    if view is None:
        return x
    sizes, axes, shape = view
    return x.reshape(sizes).permute(axes).reshape(shape)


def as_in_torch(x: Tensor, shape: Sequence[int], view: Any) -> Tensor:
    """The inverse of `as_in_keras`."""
    if view is None:
        return x
    sizes, axes, _ = view
    back = sorted(range(len(axes)), key=axes.__getitem__)
    return x.reshape([sizes[axis] for axis in axes]).permute(back).reshape(shape)


class Muon(KerasOptimizer):
    """Momentum made orthogonal for matrices (groups with `muon=True`), Adam for everything else."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        ns_steps: int = 5,
        rms_rate: float | None = 0.2,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
        adam_lr_ratio: float = 1.0,
        weight_decay: float = 4e-3,
    ) -> None:
        self.momentum, self.nesterov, self.rms_rate = momentum, nesterov, rms_rate
        self.coefficients, self.ns_steps, self.adam_lr_ratio = ns_coefficients, ns_steps, adam_lr_ratio
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, muon=False)

    def begin(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["exp_avg"] = torch.zeros_like(p)
        if not group["muon"]:
            state["exp_avg_sq"] = torch.zeros_like(p)

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        m, lr = state["exp_avg"], group["lr"]
        if group["muon"]:
            m.mul_(self.momentum).add_(grad)
            ahead = grad + self.momentum * m if self.nesterov else m
            step = self.orthogonal(ahead.flatten(1)).view_as(p)
            p.sub_(lr * step * (1 if self.rms_rate is None else self.rms_rate * max(p.flatten(1).shape) ** 0.5))
            return
        beta1, beta2 = group["betas"]
        t = state["step"].item()
        v = state["exp_avg_sq"].lerp_(squared(p, grad), 1 - beta2)
        rate = lr * self.adam_lr_ratio * (1 - beta2**t) ** 0.5 / (1 - beta1**t)
        p.sub_(m.lerp_(grad, 1 - beta1) * rate / (v.sqrt() + group["eps"]))

    def orthogonal(self, x: Tensor) -> Tensor:
        """Newton-Schulz steps towards the nearest orthogonal matrix, in the type of `x`."""
        a, b, c = self.coefficients
        tall = x.shape[0] > x.shape[1]
        x = x.T if tall else x
        x = x / (x.norm() + 1e-7)
        for _ in range(self.ns_steps):
            gram = x @ x.T
            x = a * x + (b * gram + c * gram @ gram) @ x
        return x.T if tall else x


class ScheduleFreeAdamW(KerasOptimizer):
    """Adam's steps on `z`, averaged; the parameter lies between both.

    Keras with TensorFlow takes the *new* z for the old one where it recovers the average, and so does this.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2.5e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        warmup_steps: int = 0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, warmup_steps=warmup_steps, weight_decay=weight_decay)

    def begin(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["z"], state["exp_avg_sq"] = p.clone(), torch.zeros_like(p)

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        t = state["step"].item()
        lr = group["lr"] * min(t / group["warmup_steps"], 1.0) if group["warmup_steps"] else group["lr"]
        v = state["exp_avg_sq"].lerp_(squared(p, grad), 1 - beta2)
        z = state["z"].sub_(lr * grad / ((v / (1 - beta2**t)).sqrt() + group["eps"]))
        x = (p - (1 - beta1) * z) / beta1
        x = (1 - 1 / t) * x + z / t
        p.copy_((1 - beta1) * z + beta1 * x)
