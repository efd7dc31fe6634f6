"""The deep networks that the paper retrains its functions on, with BatchNorm and the activation
before every convolution.

Sources: He et al. 2016b (arXiv 1603.05027, ResNet-164), Zagoruyko and Komodakis 2016 (1605.07146,
WRN-28-10), Huang et al. 2017 (1608.06993, DenseNet-100-12). Convolutions have no bias, since a
BatchNorm follows or the values are summed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hybridsearch.errors import UserError
from hybridsearch.evaluate.layers import GlobalPool, MakeActivation, Shape, conv
from hybridsearch.evaluate.recompute import NormActivation

Build = Callable[[MakeActivation, Shape, int, int], nn.Module]
EXPANSION = 4  # channels that a bottleneck gives, over those inside


def normed(act: MakeActivation, channels: int) -> NormActivation:
    """BatchNorm, then the activation."""
    return NormActivation(nn.BatchNorm2d(channels), act(channels, 1))


class PreBlock(nn.Module):
    """A residual unit of pre-activated convolutions; He et al. 2016b, figure 1(b).

    convolutions: (channels, kernel, stride) of each. Where the shape changes, the shortcut is a 1x1
    convolution of the activated input; else it is the input itself.
    """

    def __init__(
        self, act: MakeActivation, inside: int, convolutions: list[tuple[int, int, int]]
    ) -> None:
        super().__init__()
        outside = convolutions[-1][0]
        stride = max(stride for _, _, stride in convolutions)
        changes = inside != outside or stride > 1
        self.shortcut = conv(inside, outside, stride, kernel=1) if changes else None
        self.acts, self.convs = nn.ModuleList(), nn.ModuleList()
        for channels, kernel, step in convolutions:
            self.acts.append(normed(act, inside))
            self.convs.append(conv(inside, channels, step, kernel))
            inside = channels

    def forward(self, x: Tensor) -> Tensor:
        out = self.acts[0](x)
        shortcut = x if self.shortcut is None else self.shortcut(out)
        out = self.convs[0](out)
        for act, convolve in zip(self.acts[1:], self.convs[1:], strict=True):
            out = convolve(act(out))
        return out + shortcut  # type: ignore[no-any-return]


def _staged(
    act: MakeActivation,
    shape: Shape,
    classes: int,
    stem: int,
    blocks: int,
    unit: Callable[[int, int], list[tuple[int, int, int]]],
) -> nn.Module:
    """Three stages of units between a convolution and the mean over positions. unit: the
    convolutions of one, from its stage and its stride.
    """
    layers: list[nn.Module] = [conv(shape[0], stem)]
    inside = stem
    for stage in range(3):
        for block in range(blocks):
            convolutions = unit(stage, 2 if stage and not block else 1)
            layers.append(PreBlock(act, inside, convolutions))
            inside = convolutions[-1][0]
    layers += [normed(act, inside), GlobalPool(), nn.Linear(inside, classes)]
    return nn.Sequential(*layers)


def preresnet(depth: int) -> Build:
    """The pre-activation bottleneck ResNet of depth 9n+2; 164: 1.7 M parameters.

    Raises: UserError for another depth.
    """
    blocks = blocks_of("preresnet", depth, 9, 2)

    def build(act: MakeActivation, shape: Shape, classes: int, width: int) -> nn.Module:
        def unit(stage: int, stride: int) -> list[tuple[int, int, int]]:
            inner = width * 2**stage
            return [(inner, 1, stride), (inner, 3, 1), (EXPANSION * inner, 1, 1)]

        return _staged(act, shape, classes, width, blocks, unit)

    return build


def wide_resnet(depth: int, factor: int) -> Build:
    """The wide ResNet of depth 6n+4; 28, 10: 36.5 M parameters. Without dropout, which augmented
    CIFAR does not need.

    Raises: UserError for another depth.
    """
    blocks = blocks_of("wrn", depth, 6, 4)

    def build(act: MakeActivation, shape: Shape, classes: int, width: int) -> nn.Module:
        def unit(stage: int, stride: int) -> list[tuple[int, int, int]]:
            channels = factor * width * 2**stage
            return [(channels, 3, stride), (channels, 3, 1)]

        return _staged(act, shape, classes, width, blocks, unit)

    return build


class DenseLayer(nn.Module):
    """Hands on its input and `growth` channels more."""

    def __init__(self, act: MakeActivation, inside: int, growth: int) -> None:
        super().__init__()
        self.act, self.conv = normed(act, inside), conv(inside, growth)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(self.act(x))], 1)


def densenet(depth: int, growth: int) -> Build:
    """The DenseNet without bottlenecks or compression, of depth 3n+4; 100, 12: 7.0 M parameters.

    Raises: UserError for another depth.
    """
    count = blocks_of("densenet", depth, 3, 4)

    def build(act: MakeActivation, shape: Shape, classes: int, width: int) -> nn.Module:
        layers: list[nn.Module] = [conv(shape[0], width)]
        inside = width
        for block in range(3):
            if block:
                layers += [normed(act, inside), conv(inside, inside, kernel=1), nn.AvgPool2d(2)]
            for _ in range(count):
                layers.append(DenseLayer(act, inside, growth))
                inside += growth
        layers += [normed(act, inside), GlobalPool(), nn.Linear(inside, classes)]
        return nn.Sequential(*layers)

    return build


def blocks_of(name: str, depth: int, per_block: int, rest: int) -> int:
    """How many blocks a stage has in a network of this depth."""
    count, over = divmod(depth - rest, per_block)
    if over or count < 1:
        nearest = max(1, round((depth - rest) / per_block)) * per_block + rest
        raise UserError(
            f"network {name}{depth}: expected a depth of {per_block}n+{rest}, got {depth}; the "
            f"nearest is {name}{nearest}"
        )
    return count
