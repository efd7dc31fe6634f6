"""The channel axis is followed through what networks do between a layer and its activation."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hybridsearch.transplant.swap import swap


def attended(x):
    """Two heads: [batch, tokens, 6] -> the same, mixed over tokens."""
    heads = x.unflatten(-1, (2, 3)).transpose(1, 2)
    weights = (heads @ heads.transpose(-1, -2)).softmax(-1)
    return (weights @ heads).transpose(1, 2).reshape(x.shape)


CONV, DENSE = nn.Conv2d(2, 6, 1), nn.Linear(4, 6)
PATHS = {
    "conv": (lambda x: CONV(x), 6, 1),
    "conv of one image": (lambda x: CONV(x[0]), 6, 0),
    "conv1d": (lambda x: F.conv1d(x[:, :, 0], torch.ones(6, 2, 1)), 6, 1),
    "transposed conv": (lambda x: F.conv_transpose2d(x, torch.ones(2, 6, 1, 1)), 6, 1),
    "dense": (lambda x: DENSE(x), 6, -1),
    "matrix product": (lambda x: torch.matmul(x, nn.Parameter(torch.ones(4, 6))), 6, -1),
    "channels last": (lambda x: CONV(x).permute(0, 2, 3, 1), 6, -1),
    "there and back": (lambda x: DENSE(x).transpose(1, 3).swapaxes(3, 1), 6, -1),
    "tokens": (lambda x: CONV(x).flatten(2).transpose(1, 2), 6, -1),
    "tokens first": (lambda x: CONV(x).flatten(2), 6, 1),
    "layer norm over images": (
        lambda x: F.layer_norm(CONV(x).permute(0, 2, 3, 1), (6,)).permute(0, 3, 1, 2),
        6,
        1,
    ),
    "batch norm": (lambda x: F.batch_norm(x, None, None, training=True), 2, 1),
    "half of the channels": (lambda x: CONV(x).chunk(2, 1)[1], 3, 1),
    "some of them": (lambda x: CONV(x)[:, 1:5, ::2], 4, 1),
    "residual": (lambda x: x.sum() + CONV(x), 6, 1),
    "pooled": (lambda x: F.avg_pool2d(CONV(x), 2), 6, 1),
    "joined": (lambda x: torch.cat([CONV(x), x], 1), 8, 1),
    "heads": (lambda x: DENSE(x).unflatten(-1, (3, 2)).exp().flatten(-2), 6, -1),
    "channel shuffle": (
        lambda x: CONV(x).view(3, 2, 3, 5, 4).transpose(1, 2).reshape(3, 6, 5, 4),
        6,
        1,
    ),
    "attention": (lambda x: attended(DENSE(x).flatten(1, 2)), 6, -1),
    "flat": (lambda x: CONV(x).flatten(1), 120, -1),  # the rule for two axes
}


@pytest.mark.parametrize("name", PATHS)
def test_axis(name):
    path, channels, axis = PATHS[name]

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x):
            return self.act(path(x))

    (site,) = swap(Model(), "x*sigmoid(beta*x)", torch.randn(3, 2, 5, 4)).replaced
    assert (site.channels, site.axis) == (channels, axis)
    assert (site.note == "axis by rule") == (name == "flat")
