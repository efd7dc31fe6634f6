"""What the networks are made of.

A factory of activations is called as `make_activation(channels, axis)` and returns an nn.Module;
the axis is stated, never guessed: 1 after a convolution, -1 after a dense layer. A network may also
name a group of layers, whose function can be another one than that under test.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]


class MakeActivation(Protocol):
    """channels: the size of an input's channel axis. axis: that axis. group: of layers."""

    def __call__(self, channels: int, axis: int, group: str = "") -> nn.Module: ...


def conv(inside: int, outside: int, stride: int = 1, kernel: int = 3) -> nn.Conv2d:
    """A convolution without bias (a BatchNorm follows)."""
    return nn.Conv2d(inside, outside, kernel, stride, padding=kernel // 2, bias=False)


class GlobalPool(nn.Module):
    """[B, C, H, W] -> [B, C], the mean over positions. Its gradient lies in memory as x does: that
    of AdaptiveAvgPool2d never is channels last, and every layer that meets it is slowed down.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.is_contiguous(memory_format=torch.channels_last):
            return x.permute(0, 2, 3, 1).flatten(1, 2).mean(1)
        return x.mean((2, 3))
