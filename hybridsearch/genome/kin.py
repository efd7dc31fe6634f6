"""Baselines under another scale: what is found as new may be a known function times a number."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import Function, baselines

RANGE, POINTS = 8.0, 641
CLOSE = 1e-6  # of the largest value; there are constants of 1e-7 in divisions
BETAS = (-1.0, 0.5, 2.0)  # beside the start, where both have a parameter


@dataclass(frozen=True)
class Kin:
    """f(x) is scale * g(x) + shift, of mirrored ones scale * g(-x) + shift, g the baseline."""

    baseline: str
    scale: float
    mirrored: bool
    shift: float


def kin_of(function: Function) -> Kin | None:
    """The baseline that a function is but for scale, sign, mirroring and shift, the plainest such
    relation; None where it is none, or one itself. A trainable parameter must start alike and do
    the same in both.
    """
    found = []
    for known in baselines():
        if known.key == function.key:
            return None
        if known.starts == function.starts:
            found += [k for mirrored in (False, True) if (k := _kin(function, known, mirrored))]
    return min(found, key=lambda k: (k.mirrored, k.shift != 0, k.scale < 0), default=None)


def _kin(function: Function, known: Function, mirrored: bool) -> Kin | None:
    x = torch.linspace(-RANGE, RANGE, POINTS, dtype=torch.float64)
    there = -x if mirrored else x
    f, g = _values(function, x, None), _values(known, there, None)
    if not bool(f.isfinite().all()):
        return None
    high, low = int(g.argmax()), int(g.argmin())
    scale = float((f[high] - f[low]) / (g[high] - g[low]))
    shift = float(f[high] - scale * g[high])
    if abs(shift) < CLOSE * float(f.abs().max()):
        shift = 0.0
    pairs = [(f, g)]
    for beta in BETAS if function.starts else ():
        pairs.append((_values(function, x, beta), _values(known, there, beta)))
    for one, other in pairs:
        if not bool(((one - scale * other - shift).abs() <= CLOSE * one.abs().max()).all()):
            return None
    rounded = [float(f"{value:.6g}") for value in (scale, shift)]
    return Kin(known.name, rounded[0], mirrored, rounded[1]) if rounded[0] else None


@torch.no_grad()
def _values(function: Function, x: Tensor, beta: float | None) -> Tensor:
    """At points, float64; beta: of all parameters; None: their starts."""
    made = Activation(function, None).double()
    if beta is not None:
        made.betas.fill_(beta)
    return made(x)  # type: ignore[no-any-return]
