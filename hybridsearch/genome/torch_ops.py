"""The torch side of the table in `primitives.py`: the same tokens, differentiable, any device.

Forms are chosen so that value and gradient neither overflow nor cancel where the function itself
is tame; outside its mathematical domain a function gives nan (`sqrt` of a negative), unrepaired.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from hybridsearch.genome.primitives import EPS


def sinc(x: Tensor) -> Tensor:
    """sin(x)/x; near 0 its Taylor series, since the quotient's gradient cancels there."""
    small = x.abs() < 0.5
    s = torch.where(small, x, 0.0)
    q = s * s
    series = 1 - q / 6 * (1 - q / 20 * (1 - q / 42 * (1 - q / 72 * (1 - q / 110 * (1 - q / 156)))))
    away = torch.where(small, 1.0, x)
    return torch.where(small, series, torch.sin(away) / away)


UNARY_TORCH: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "id": lambda x, b: x,
    "neg": lambda x, b: -x,
    "abs": lambda x, b: x.abs(),
    "square": lambda x, b: x * x,
    "cube": lambda x, b: x * x * x,
    "sqrt": lambda x, b: x.sqrt(),
    "scale": lambda x, b: b * x,
    "shift": lambda x, b: x + b,
    "logabs": lambda x, b: torch.log(x.abs() + EPS),
    "exp": lambda x, b: x.exp(),
    "sin": lambda x, b: x.sin(),
    "cos": lambda x, b: x.cos(),
    "sinh": lambda x, b: x.sinh(),
    "cosh": lambda x, b: x.cosh(),
    "tanh": lambda x, b: x.tanh(),
    "asinh": lambda x, b: x.asinh(),
    "atan": lambda x, b: x.atan(),
    "sinc": lambda x, b: sinc(x),
    "relu": lambda x, b: x.relu(),
    "min0": lambda x, b: -torch.relu(-x),  # gradient 0 at 0, as relu; clamp's would be 1
    "sigmoid": lambda x, b: x.sigmoid(),
    "softplus": lambda x, b: F.softplus(x, threshold=40.0),  # linear from where float64 is
    "gauss": lambda x, b: torch.exp(-x * x),
    "erf": lambda x, b: x.erf(),
    "beta": lambda x, b: b.expand_as(x),
}

BINARY_TORCH: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "add": lambda v, w, b: v + w,
    "mul": lambda v, w, b: v * w,
    "sub": lambda v, w, b: v - w,
    "div": lambda v, w, b: v / (w + EPS),
    "max": lambda v, w, b: torch.maximum(v, w),
    "min": lambda v, w, b: torch.minimum(v, w),
    "gate": lambda v, w, b: v.sigmoid() * w,
    "rbf": lambda v, w, b: torch.exp(-b * (v - w).square()),
    "laplace": lambda v, w, b: torch.exp(-b * (v - w).abs()),
    "blend": lambda v, w, b: b * v + (1 - b) * w,
}
