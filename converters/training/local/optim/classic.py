"""Momentum and scaled gradients."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from converters.training.local.optim.base import KerasOptimizer, squared


class SGD(KerasOptimizer):
    """Momentum with the learning rate inside the buffer: a change of rate acts on the next gradients only."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)

    def begin(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["momentum"] = torch.zeros_like(p)

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        m = state["momentum"].mul_(group["momentum"]).sub_(grad * group["lr"])
        p.add_(m * group["momentum"] - grad * group["lr"] if group["nesterov"] else m)


class RMSprop(KerasOptimizer):
    """Epsilon is added before the root is taken, and the learning rate stands inside the momentum."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        alpha: float = 0.9,
        eps: float = 1e-7,
        momentum: float = 0.0,
        centered: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        options = {"alpha": alpha, "eps": eps, "momentum": momentum, "centered": centered}
        super().__init__(params, lr=lr, weight_decay=weight_decay, **options)

    def begin(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["square_avg"] = torch.zeros_like(p)
        if group["momentum"]:
            state["momentum"] = torch.zeros_like(p)
        if group["centered"]:
            state["grad_avg"] = torch.zeros_like(p)

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        variance = state["square_avg"].lerp_(squared(p, grad), 1 - group["alpha"])
        if group["centered"]:
            variance = variance - state["grad_avg"].lerp_(grad, 1 - group["alpha"]) ** 2
        step = group["lr"] * grad / (variance + group["eps"]).sqrt()
        if group["momentum"]:
            step = state["momentum"].mul_(group["momentum"]).add_(step)
        p.sub_(step)


class Adagrad(KerasOptimizer):
    """Epsilon is added before the root is taken."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        initial_accumulator_value: float = 0.1,
        eps: float = 1e-7,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, initial=initial_accumulator_value, eps=eps, weight_decay=weight_decay)

    def begin(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["sum"] = torch.full_like(p, group["initial"])

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        total = state["sum"].add_(squared(p, grad))
        p.sub_(group["lr"] * grad / (total + group["eps"]).sqrt())


class Adadelta(KerasOptimizer):
    """As torch's, with weight decay apart from the gradient."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        rho: float = 0.95,
        eps: float = 1e-7,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay)

    def begin(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["square_avg"], state["acc_delta"] = torch.zeros_like(p), torch.zeros_like(p)

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        square, eps, rho = squared(p, grad), group["eps"], group["rho"]
        variance = state["square_avg"].lerp_(square, 1 - rho) + eps
        ratio = (state["acc_delta"] + eps) / variance
        state["acc_delta"].lerp_(ratio * square, 1 - rho)
        p.sub_(group["lr"] * ratio.sqrt() * grad)


class Ftrl(KerasOptimizer):
    """Follow the regularized leader, proximal form with shrinkage."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1: float = 0.0,
        l2: float = 0.0,
        l2_shrinkage: float = 0.0,
        beta: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        penalties = {"l1": l1, "l2": l2, "l2_shrinkage": l2_shrinkage, "beta": beta}
        options = {"power": power, "initial": initial_accumulator_value, "weight_decay": weight_decay}
        super().__init__(params, lr=lr, **penalties, **options)

    def begin(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        state["accumulator"], state["linear"] = torch.full_like(p, group["initial"]), torch.zeros_like(p)

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        lr, power = group["lr"], -group["power"]
        old = state["accumulator"]
        new = old + squared(p, grad)
        shrunk = grad + 2 * group["l2_shrinkage"] * p
        z = state["linear"].add_(shrunk - (new**power - old**power) / lr * p)
        curvature = new**power / lr + 2 * group["l2"] + group["beta"] / lr
        p.copy_((z.clamp(-group["l1"], group["l1"]) - z) / curvature)
        old.copy_(new)
