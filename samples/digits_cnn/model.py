"""Converted from the Keras model 'digits_cnn' (Keras 3.15.1)."""

import torch.nn.functional as F
from torch import Tensor, nn


class DigitsCNN(nn.Module):
    """(N, 1, 8, 8) -> (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32, eps=1e-3, momentum=0.01)
        self.conv2 = nn.Conv2d(32, 64, 3, stride=2, bias=False)
        self.bn2 = nn.BatchNorm2d(64, eps=1e-3, momentum=0.01)
        self.dropout1 = nn.Dropout(0.3)
        self.digit = nn.Linear(1024, 10)

    def forward(self, image: Tensor) -> Tensor:
        image = F.pad(F.relu(self.bn1(self.conv1(image * 0.0625))), (0, 1, 0, 1))  # (N, 32, 9, 9)
        image = self.dropout1(F.relu(self.bn2(self.conv2(image))).flatten(1))  # (N, 1024)
        return self.digit(image).softmax(dim=-1)
