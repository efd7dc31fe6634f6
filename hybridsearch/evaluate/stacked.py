"""K replicates of one function side by side in one network.

Built-in networks of one chain of layers only. Where a layer alone has C channels, the stacked one
has K*C, replicate k in channels k*C to (k+1)*C - 1: convolutions become grouped, BatchNorm and
betas are per channel anyway, dense layers become a batched matrix product. No value of one
replicate meets a value of another, so a sum of losses has the gradients of separate training, and
what is not finite stays where it arose.

In tiny networks the calls cost more than the arithmetic, and K replicates share them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hybridsearch.evaluate.layers import GlobalPool
from hybridsearch.evaluate.recompute import NormActivation
from hybridsearch.genome.activation import Activation


class ToMaps(nn.Module):
    """[K, B, C, H, W] -> [B, K*C, H, W], channels last: what grouped convolutions read."""

    def forward(self, x: Tensor) -> Tensor:
        k, b, c, h, w = x.shape
        rows = x.permute(1, 3, 4, 0, 2).reshape(b, h, w, k * c)
        return rows.permute(0, 3, 1, 2)


class ToFeatures(nn.Module):
    """[K, B, C, H, W], or [B, K*C] after a pool -> [K, features, B] for dense layers.

    The batch comes last, so that a feature of a replicate is one row, and a matrix product hands
    on what the next reads, without a copy.
    """

    def __init__(self, replicates: int) -> None:
        super().__init__()
        self.replicates = replicates

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 5:
            return x.flatten(2).transpose(1, 2)
        return x.view(len(x), self.replicates, -1).permute(1, 2, 0)


class StackedLinear(nn.Module):
    """K dense layers: [K, in, B] or [1, K*in, B] -> [1, K*out, B].

    weight: [K, out, in]. bias: [K*out], or None.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.replicates, self.inside = len(layers), layers[0].in_features
        self.weight = nn.Parameter(torch.stack([m.weight.detach() for m in layers]))
        self.bias = None
        if layers[0].bias is not None:
            self.bias = nn.Parameter(torch.cat([m.bias.detach() for m in layers]))

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(self.replicates, self.inside, -1)
        if self.bias is None:
            out = torch.bmm(self.weight, x)
        else:
            out = torch.baddbmm(self.bias.view(self.replicates, -1, 1), self.weight, x)
        return out.view(1, -1, out.shape[-1])


class StackedNetwork(nn.Module):
    """[K, B, C, H, W] images -> [K, classes, B] logits.

    networks: replicates of one chain of layers (nn.Sequential); their weights are copied.
    Raises: TypeError for a layer that has no stacked form.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.replicates = len(networks)
        layers: list[nn.Module] = []
        for alike in zip(*(network.children() for network in networks), strict=True):
            if isinstance(alike[0], nn.Conv2d) and not layers:
                layers.append(ToMaps())
            layers.append(_stacked(alike))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.layers(x)
        return logits.view(self.replicates, -1, logits.shape[-1])  # type: ignore[no-any-return]


def _stacked(alike: Sequence[nn.Module]) -> nn.Module:
    """The stacked form of the same layer of every replicate, with their weights."""
    first, count = alike[0], len(alike)
    made: nn.Module
    if isinstance(first, nn.Linear):
        return StackedLinear(alike)  # type: ignore[arg-type]
    if isinstance(first, nn.Flatten):
        return ToFeatures(count)
    if isinstance(first, GlobalPool):
        return nn.Sequential(first, ToFeatures(count))
    if isinstance(first, NormActivation):
        blocks = [m for m in alike if isinstance(m, NormActivation)]
        act = _stacked([block.act for block in blocks])
        made = NormActivation(_stacked([block.norm for block in blocks]), act)  # type: ignore[arg-type]
        made.recompute = first.recompute
        return made
    if isinstance(first, nn.Conv2d):
        made = nn.Conv2d(
            count * first.in_channels,
            count * first.out_channels,
            first.kernel_size,  # type: ignore[arg-type]
            first.stride,  # type: ignore[arg-type]
            first.padding,  # type: ignore[arg-type]
            groups=count,
            bias=first.bias is not None,
        )
    elif isinstance(first, nn.BatchNorm2d | nn.BatchNorm1d):
        made = type(first)(count * first.num_features, first.eps, first.momentum)
    elif isinstance(first, Activation):
        made = Activation(first.function, count * first.channels, axis=1)
        made.kernel = first.kernel
    else:
        raise TypeError(f"a layer {type(first).__name__} cannot be stacked")
    axis = 1 if isinstance(first, Activation) else 0  # betas: [number, channels]
    states = [module.state_dict() for module in alike]
    made.load_state_dict(
        {
            name: torch.cat([s[name] for s in states], axis) if value.dim() else value
            for name, value in states[0].items()
        }
    )
    return made
