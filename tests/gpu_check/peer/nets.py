# SPDX-License-Identifier: MIT
"""Nets with the interface of the peer's, small ones in their place."""
import torch
from torch import nn


class Mlp(nn.Module):
    def __init__(self, dim, hidden, depth):
        super().__init__()
        sizes = [dim + 2] + [hidden] * depth + [dim]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))

    def forward(self, z, r, t):
        x = torch.cat([z, t[:, None], (t - r)[:, None]], 1)
        for layer in self.layers[:-1]:
            x = torch.tanh(layer(x))
        return self.layers[-1](x)


class ImageNet(nn.Module):
    def __init__(self, channels, classes=1, image=3):
        super().__init__()
        self.first = nn.Conv2d(image, channels, 3, padding=1)
        self.last = nn.Conv2d(channels, image, 3, padding=1)
        self.times = nn.Linear(2, channels)
        self.labels = nn.Embedding(classes, channels)

    def forward(self, z, r, t, y=None):
        c = self.times(torch.stack([t, t - r], 1))
        c = c if y is None else c + self.labels(y)
        return self.last(torch.tanh(self.first(z) + c[:, :, None, None]))


class MeanFlowNet(ImageNet):
    def __init__(self, ch=64, mult=(), blocks=0):
        super().__init__(ch, 10)


class SongUNet(ImageNet):
    def __init__(self, model_channels=128, channel_mult=(), num_blocks=0):
        super().__init__(model_channels)


class DiT(ImageNet):
    def __init__(self, hidden_size=768, depth=0, num_heads=0):
        super().__init__(hidden_size, 1000, image=4)
