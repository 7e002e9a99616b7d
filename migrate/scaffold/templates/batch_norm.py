"""BatchNorm over the samples of all processes, as one process would compute it."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn
#: if exact

from model import BatchNorm
#: end


def synchronized(model: nn.Module) -> nn.Module:
    """The model with statistics of whole batches in place of those of each process' part; the same state dict."""
    #: if not exact
    if torch.cuda.is_available():
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    #: end
    for name, child in model.named_children():
        setattr(model, name, WholeBatchNorm(child) if isinstance(child, __KIND__) else synchronized(child))
    return model


class AllReduce(torch.autograd.Function):
    """The sum over all processes, of the gradients too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous().clone()
        distributed.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return AllReduce.forward(ctx, gradient)


class WholeBatchNorm(nn.Module):
    """Takes the place of a BatchNorm, with its weights. nn.SyncBatchNorm works on CUDA only__AND_WHY__."""

    def __init__(self, norm: __KIND__) -> None:
        super().__init__()
        self.eps, self.momentum, self.training = norm.eps, norm.momentum, norm.training
        self.weight, self.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        dims, shape = [0, *range(2, x.ndim)], [1, -1, *[1] * (x.ndim - 2)]
        sums = AllReduce.apply(torch.cat([x.sum(dims), x.new_tensor([x.numel() / x.shape[1]])]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centered = x - mean.view(shape)
        var = AllReduce.apply(centered.square().sum(dims)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            #: if exact
            self.running_var.lerp_(var, self.momentum)  # Keras: of n values sum / n
            #: else
            self.running_var.lerp_(var * count / (count - 1), self.momentum)
            self.num_batches_tracked += 1
            #: end
        x = centered * torch.rsqrt(var + self.eps).view(shape)
        if self.weight is not None:
            x = x * self.weight.view(shape)
        return x if self.bias is None else x + self.bias.view(shape)
