"""An activation as the evaluator sets it up for one input shape, to be measured alone.

The evaluator chooses kernels for networks and data. So a network is built that has just one
activation, behind a layer that hands it the wanted shape in the number format and memory layout of
a real training; its input is caught in a step.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from children import Children
from torch import Tensor, nn

from hybridsearch.config import Config, DataConfig, NetworkConfig, TrainingConfig
from hybridsearch.evaluate.layers import MakeActivation
from hybridsearch.evaluate.training import Diverged
from hybridsearch.genome.activation import Activation

Shape = tuple[int, ...]  # [B, C, H, W] after a convolution, [B, C] after a dense layer


class Laid(nn.Module):
    """Images channels last, as networks of ours have them and others ask for."""

    def forward(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last)


def build(make_activation: MakeActivation, in_shape: Shape, classes: int) -> nn.Module:
    """The network `one_activation:build`; a 1x1 image means dense layers."""
    channels, height, width = in_shape
    if height * width == 1:
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels, channels, bias=False),
            nn.BatchNorm1d(channels),
            make_activation(channels, -1),
            nn.Linear(channels, classes),
        )
    return nn.Sequential(
        Laid(),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        make_activation(channels, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, classes),
    )


@dataclass
class Alone:
    """activation: with its kernel. x: an input as in training, and grad of its output, alike."""

    activation: Activation
    x: Tensor
    grad: Tensor
    precision: Callable[[], torch.autocast]

    def step(self) -> None:
        """One forward and backward pass."""
        with self.precision():
            out = self.activation(self.x)
        betas = (self.activation.betas,) if self.activation.betas.numel() else ()
        torch.autograd.grad(out, (self.x, *betas), self.grad)


def config(shape: Shape, precision: str, steps: int = 2000) -> Config:
    """The one-activation task; steps: of a full training, over which a compilation is shared."""
    batch, channels, height, width = (*shape, 1, 1)[:4]
    settings = {"batch_size": batch, "lr": 1e-6, "precision": precision, "steps": steps}
    return Config(
        data=DataConfig(name=f"synthetic:noise_{channels}_{height}_{width}"),
        network=NetworkConfig(name="one_activation:build"),
        training=TrainingConfig.model_validate(settings),
    )


@lru_cache(maxsize=32)
def _children(shape: Shape, precision: str, device: str) -> Children:
    return Children(config(shape, precision), device)


def alone(formula: str, shape: Shape, precision: str, device: str) -> Alone:
    """The activation of a function at an input of `shape`, as the evaluator would compute it."""
    children = _children(shape, precision, device)
    child = children.new(formula)
    (activation,) = (m for m in child.network.modules() if isinstance(m, Activation))
    caught: list[Tensor] = []

    def catch(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        caught.append(inputs[0].detach().clone())

    handle = activation.register_forward_pre_hook(catch)
    with contextlib.suppress(Diverged):
        children.trainer.train(child, 1)
    handle.remove()
    x = caught[0].requires_grad_()
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    grad = torch.empty_like(x).detach().copy_(noise)
    return Alone(activation, x, grad, children.trainer.precision)
