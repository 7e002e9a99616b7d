"""Colours and edges of images (N, C, H, W)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def grayscale(x: Tensor) -> Tensor:
    """Red, green and blue, weighted by how bright they look."""
    return 0.2989 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]


def rgb_to_hsv(x: Tensor) -> Tensor:
    """Hue, saturation and value, each from 0 to 1, of red, green and blue."""
    red, green, blue = x.unbind(1)
    value, spread = x.amax(1), x.amax(1) - x.amin(1)
    safe = torch.where(spread > 0, spread, 1.0)
    sector = torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4)
    sector = torch.where(value == red, (green - blue) / safe, sector)
    hue = torch.where(spread > 0, sector / 6 % 1, 0.0)
    saturation = torch.where(value > 0, spread / torch.where(value > 0, value, 1.0), 0.0)
    return torch.stack((hue, saturation, value), dim=1)


def hsv_to_rgb(x: Tensor) -> Tensor:
    """Red, green and blue of hue, saturation and value."""
    hue, saturation, value = x.detach().unbind(1)  # TensorFlow, and so Keras there, has no gradient of it
    angle = hue * 6
    ramps = (angle - 3).abs() - 1, 2 - (angle - 2).abs(), 2 - (angle - 4).abs()
    return torch.stack([value * (1 - saturation * (1 - ramp.clamp(0, 1))) for ramp in ramps], dim=1)


def sobel_edges(x: Tensor) -> Tensor:
    """Slopes down and to the right, in a new last axis; the image is mirrored at its ends."""
    x = F.pad(x, (1, 1, 1, 1), mode="reflect")
    rows = x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]
    columns = x[..., :-2, :] + 2 * x[..., 1:-1, :] + x[..., 2:, :]
    return torch.stack((rows[..., 2:, :] - rows[..., :-2, :], columns[..., 2:] - columns[..., :-2]), dim=-1)
