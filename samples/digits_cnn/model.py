"""Converted from the Keras model 'digits_cnn' (Keras 3.15.1)."""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

BatchNorm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)  # Keras: epsilon=1e-3, momentum=0.99


class DigitsCNN(nn.Module):
    """(N, 1, 8, 8) -> (N, num_classes)."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1, bias=False)
        self.bn1 = BatchNorm(32)
        self.conv2 = nn.Conv2d(32, 64, 3, stride=2, bias=False)
        self.bn2 = BatchNorm(64)
        self.dropout = nn.Dropout(0.3)
        self.digit = nn.Linear(64 * 4 * 4, num_classes)

    def logits(self, image: Tensor) -> Tensor:
        """Before the softmax: what cross_entropy expects."""
        x = F.relu(self.bn1(self.conv1(image * 0.0625)), inplace=True)  # (N, 32, 8, 8)
        x = F.relu(self.bn2(self.conv2(F.pad(x, (0, 1, 0, 1)))), inplace=True).flatten(1)  # (N, 1024)
        return self.digit(self.dropout(x))

    def forward(self, image: Tensor) -> Tensor:
        return self.logits(image).softmax(dim=-1)
