"""Weights whose scale suits the activation function.

One fixed initialisation is unfair to some candidates (AutoInit, Bingham and Miikkulainen 2021):
what a layer reads has the second moment E f(z)^2 for z from N(0,1), so its weights are drawn with
variance 1 / (fan_in * E f(z)^2), and what it hands on has variance 1 again. For ReLU, where
E f(z)^2 = 1/2, this is the initialisation of He et al. 2015.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import nn

from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import Function

RELU_MOMENT = 0.5  # E f(z)^2 of ReLU: the scale of He et al. 2015


@lru_cache(maxsize=256)
def second_moment(function: Function) -> float:
    """E f(z)^2 for z from N(0,1), by the trapezoidal rule on [-8, 8]; betas at their start.

    Functions for which it is no positive finite number get 1: they cannot be helped by scaling.
    """
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    density = torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    with torch.no_grad():
        f = Activation(function, 1, 1)(z.reshape(-1, 1)).reshape(-1)
    value = float(torch.trapezoid(f * f * density, z))
    return value if math.isfinite(value) and value > 1e-12 else 1.0


def initialise(network: nn.Module, moment: float) -> None:
    """Draw all convolution and dense weights anew; the first layer reads the data (moment 1)."""
    first = True
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            std = 1 / math.sqrt(fan_in * (1.0 if first else moment))
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
            first = False
