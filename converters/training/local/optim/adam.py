"""Adam and its kin."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from converters.training.local.optim.base import KerasOptimizer, squared


class Adam(KerasOptimizer):
    """Epsilon is added to the root before its bias is corrected; weight decay is AdamW's."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
        amsgrad: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, amsgrad=amsgrad, weight_decay=weight_decay)

    def begin(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = torch.zeros_like(p)

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        t = state["step"].item()
        m = state["exp_avg"].lerp_(grad, 1 - beta1)
        v = state["exp_avg_sq"].lerp_(squared(p, grad), 1 - beta2)
        if group["amsgrad"]:
            v = torch.maximum(state["max_exp_avg_sq"], v, out=state["max_exp_avg_sq"])
        rate = group["lr"] * (1 - beta2**t) ** 0.5 / (1 - beta1**t)
        p.sub_(m * rate / (v.sqrt() + group["eps"]))


class Adamax(KerasOptimizer):
    """Epsilon is added to the largest gradient so far, not to each of them."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def begin(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["exp_avg"], state["exp_inf"] = torch.zeros_like(p), torch.zeros_like(p)

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        m = state["exp_avg"].lerp_(grad, 1 - beta1)
        size: Tensor | None = getattr(p, "grad_size", None)  # of an embedding: the sum of the sizes per token
        u = state["exp_inf"].mul_(beta2)
        torch.maximum(u, grad.abs() if size is None else size, out=u)
        p.sub_(group["lr"] * m / ((1 - beta1 ** state["step"].item()) * (u + group["eps"])))


class Nadam(KerasOptimizer):
    """Nesterov momentum whose beta1 grows with 1 - 0.96^t / 2."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def begin(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
        state["mu_product"] = torch.tensor(1.0, dtype=torch.float64)

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        t = state["step"].item()
        mu, mu_next = (beta1 * (1 - 0.5 * 0.96**step) for step in (t, t + 1))
        product = state["mu_product"].mul_(mu).item()
        m = state["exp_avg"].lerp_(grad, 1 - beta1)
        v = state["exp_avg_sq"].lerp_(squared(p, grad), 1 - beta2) / (1 - beta2**t)
        ahead = mu_next * m / (1 - product * mu_next) + (1 - mu) * grad / (1 - product)
        p.sub_(group["lr"] * ahead / (v.sqrt() + group["eps"]))


class Lamb(KerasOptimizer):
    """Adam's step, scaled for each weight by the norm of the weight over the norm of the step."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def begin(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        t = state["step"].item()
        m = state["exp_avg"].lerp_(grad, 1 - beta1) / (1 - beta1**t)
        v = state["exp_avg_sq"].lerp_(squared(p, grad), 1 - beta2) / (1 - beta2**t)
        step = m / (v.sqrt() + group["eps"])
        weight_norm, step_norm = p.norm(), step.norm()
        ratio = torch.where((weight_norm > 0) & (step_norm > 0), weight_norm / step_norm, 1.0)
        p.sub_(ratio * group["lr"] * step)


class Lion(KerasOptimizer):
    """The sign of a momentum that is ahead of the one that is kept."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, weight_decay=weight_decay)

    def begin(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["exp_avg"] = torch.zeros_like(p)

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        p.sub_(group["lr"] * (state["exp_avg"] * beta1 + grad * (1 - beta1)).sign())
        state["exp_avg"].mul_(beta2).add_(grad * (1 - beta2))
