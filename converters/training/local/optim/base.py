"""What the optimizers of Keras share."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
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
                for name in ("grad_squared", "grad_size"):
                    p.__dict__.pop(name, None)
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


class Optimizers(Optimizer):
    """Several optimizers, each with parameters of its own, as one."""

    def __init__(self, *parts: Optimizer) -> None:
        self.parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})
        self.param_groups = [group for part in parts for group in part.param_groups]

    def part(self, index: int) -> Optimizer:
        return self.parts[index]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None if closure is None else closure()
        for part in self.parts:
            part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {str(index): part.state_dict() for index, part in enumerate(self.parts)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for index, part in enumerate(self.parts):
            part.load_state_dict(state_dict[str(index)])
        self.param_groups = [group for part in self.parts for group in part.param_groups]


@torch.no_grad()
def resume(optimizer: Optimizer, model: nn.Module, state: dict[str, Tensor], scheduler: Any = None) -> None:
    """Goes on where Keras stopped: `state` is the content of optimizer.safetensors, `exp_avg/fc.weight` and so on."""
    by_name: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        what, _, name = key.partition("/")
        by_name.setdefault(name, {})[what] = value
    for part in getattr(optimizer, "parts", [optimizer]):
        mine = {id(p) for group in part.param_groups for p in group["params"]}
        for name, p in model.named_parameters():
            found = by_name.get(name, {}) if id(p) in mine else {}
            if "gradient_accumulator" in found:
                p.grad = found["gradient_accumulator"].to(p)
            kept = {what: v for what, v in found.items() if what not in ("gradient_accumulator", "average")}
            if kept:
                part.state[p] = {what: v.clone() if v.ndim == 0 else v.to(p) for what, v in kept.items()}
    for index, part in enumerate(getattr(optimizer, "parts", [optimizer])):
        for group in part.param_groups if f"rate/{index}" in state else ():
            group["lr"] = float(state[f"rate/{index}"])
    for one in getattr(scheduler, "parts", [scheduler]) if scheduler is not None and "batches" in state else ():
        one.last_epoch = int(state["batches"])
        one._last_lr = [group["lr"] for group in one.optimizer.param_groups]
