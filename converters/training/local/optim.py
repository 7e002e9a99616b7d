"""Optimizers and gradient clipping as Keras computes them.

All of them decay weights apart from the gradient, scaled by the learning rate, before the update. Learning rates are
read from the parameter groups, as torch's schedulers expect.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class KerasOptimizer(Optimizer):
    """What the optimizers share: the loop over parameters, the step count, the decay of weights."""

    def __init__(self, params: Iterable[Any], **defaults: Any) -> None:
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["step"] = torch.tensor(0.0)
                    self.begin(p, state, group)
                state["step"] += 1
                if group.get("weight_decay"):
                    p.mul_(1 - group["weight_decay"] * group["lr"])
                self.update(p, p.grad, state, group)
        return loss

    def begin(self, p: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """The state of a parameter before its first update."""

    def update(self, p: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        """One step of one parameter, in place."""
        raise NotImplementedError


def squared(p: Tensor, grad: Tensor) -> Tensor:
    """The square of a gradient; of an embedding's, the sum of the squares per token (see `PerToken`)."""
    per_token: Tensor | None = getattr(p, "grad_squared", None)
    return grad * grad if per_token is None else per_token


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


def clip_by_norm(parameters: Iterable[Tensor], max_norm: float, together: Sequence[Sequence[Tensor]] = ()) -> None:
    """Each parameter's gradient to at most `max_norm`; `together` are those that were one weight in Keras."""
    joined = {id(p) for group in together for p in group}
    for group in [*together, *([p] for p in parameters if id(p) not in joined)]:
        grads = [p.grad for p in group if p.grad is not None]
        if grads:
            norm = torch.stack([grad.square().sum() for grad in grads]).sum().sqrt()
            for grad in grads:
                grad.mul_(max_norm / norm.clamp(min=max_norm))


def clip_by_global_norm(parameters: Iterable[Tensor], max_norm: float) -> None:
    """All gradients together to at most `max_norm`; one that is not finite makes all of them NaN."""
    grads = [p.grad for p in parameters if p.grad is not None]
    norm = torch.stack([grad.square().sum() for grad in grads]).sum().sqrt()
    for grad in grads:
        grad.mul_(max_norm / norm.clamp(min=max_norm) + (norm - norm))
