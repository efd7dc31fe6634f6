"""Whether a function that was written is the evaluator's: values and slopes, point by point.

Every point has betas of its own, so no sum over points hides or makes a difference. What is
compared does the same operations in the same order, so it may differ by rounding alone: ROOM units
of it, a value relative to 1 + its size, a slope to 1 + the largest of value and slopes there (it
may be what is left when large terms cancel). That bound means something only where the function
itself does not blow rounding up (sin(exp(x)) at x = 30 has no digit left); so a point counts where
moving x and the betas by SHAKE units changes the evaluator's own answer by less than the bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hybridsearch.errors import UserError
from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import Function

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

POINTS = 2000
ROOM = 1024  # units of rounding: 2e-13 in float64, 1e-4 in float32, where wrong is off by far more
SHAKE, SHAKES = 8, 4
FEWEST = 20  # points that must count
_SPECIAL = (0.0, 1e-30, 1e-8, 1e-3, 0.4999, 0.5, 1.0, 2.0, 10.0, 40.0, 100.0, 1e3, 1e6)


@dataclass(frozen=True)
class Grid:
    """Points with betas. x: [points]; betas: [number, points]."""

    x: Floats
    betas: Floats

    def shaken(self, units: float, rng: np.random.Generator) -> Grid:
        """All of it moved, each number by up to that part of itself; 0 stays 0."""
        x = self.x * (1 + rng.uniform(-units, units, self.x.shape))
        return Grid(x, self.betas * (1 + rng.uniform(-units, units, self.betas.shape)))


@dataclass(frozen=True)
class Answer:
    """value: [points]. slopes: [1 + number of betas, points], that in x first."""

    value: Floats
    slopes: Floats

    @property
    def size(self) -> Floats:
        """[points]: what differences are measured by; 1 where it is not finite."""
        sizes = np.abs(np.vstack([self.value, self.slopes]))
        largest: Floats = np.where(np.isfinite(sizes), sizes, 0.0).max(0)
        return 1 + largest


@dataclass(frozen=True)
class Steady:
    """Where an answer counts: finite, and not decided by rounding. As `Answer`."""

    value: Bools
    slopes: Bools


@dataclass(frozen=True)
class Deviation:
    """The largest differences, relative as above, and how many points counted. slopes: None
    where there are none to compare.
    """

    value: float
    slopes: float | None
    points: int


def grid(function: Function, points: int = POINTS) -> Grid:
    """Points in the middle and in the tails, special ones with both signs and several betas each;
    always the same.
    """
    rng = np.random.default_rng(0)
    special = np.tile([s for v in _SPECIAL for s in (v, -v)], 4)
    plain = points - len(special)
    spread = np.where(np.arange(plain) % 4 == 0, 10.0, 2.0)
    x = np.concatenate([special, rng.normal(size=plain) * spread])
    betas = rng.normal(size=(len(function.starts), points)) * 1.5
    for row, start in zip(betas, function.starts, strict=True):
        row[rng.random(points) < 0.2] = start
        row[rng.random(points) < 0.02] = 0.0
    return Grid(x, betas)


def evaluator(function: Function, points: Grid, dtype: torch.dtype) -> Answer:
    """What hybridsearch computes."""
    return of_module(Activation(function, len(points.x), 1), points, dtype)


def of_module(module: nn.Module, points: Grid, dtype: torch.dtype) -> Answer:
    """What a module with `betas` [number, channels] computes, whose channels are the points."""
    x = torch.tensor(points.x, dtype=dtype)[None].requires_grad_()
    betas = torch.tensor(points.betas, dtype=dtype).requires_grad_()
    held = {"betas": betas} if dict(module.named_parameters()) else {}
    y: Tensor = torch.func.functional_call(module, held, (x,))
    slopes = torch.autograd.grad(y.sum(), (x, betas), allow_unused=True, materialize_grads=True)
    return Answer(_numpy(y)[0], np.concatenate([_numpy(s) for s in slopes]))


def _numpy(tensor: Tensor) -> Floats:
    found: Floats = tensor.detach().double().numpy()
    return found


def steady(
    function: Function, points: Grid, dtype: torch.dtype, answer: Answer, room: float = ROOM
) -> Steady:
    """Where an answer of the evaluator counts."""
    unit = torch.finfo(dtype).eps
    rng = np.random.default_rng(1)
    value, slopes = np.isfinite(answer.value), np.isfinite(answer.slopes)
    for _ in range(SHAKES):
        moved = evaluator(function, points.shaken(SHAKE * unit, rng), dtype)
        off = _off(moved, answer)
        value &= off.value <= room * unit
        slopes &= off.slopes <= room * unit
    # Where one slope is infinite, frameworks differ in how far 0 times infinity spreads.
    return Steady(value, slopes & value & np.isfinite(answer.slopes).all(0))


def _off(found: Answer, wanted: Answer) -> Answer:
    """The differences, relative to what is wanted; infinite where nothing finite is found."""
    with np.errstate(all="ignore"):
        value = np.abs(found.value - wanted.value) / (1 + np.abs(wanted.value))
        slopes = np.abs(found.slopes - wanted.slopes) / wanted.size
    return Answer(np.nan_to_num(value, nan=np.inf), np.nan_to_num(slopes, nan=np.inf))


def compare(
    found: Answer,
    wanted: Answer,
    where: Steady,
    allowed: float,
    advice: str = "please report this function",
) -> Deviation:
    """The deviation of an answer. Raises: UserError, ending in the advice, when it is more than
    allowed, or too few points count to say anything.
    """
    points = int(where.value.sum())
    if points < FEWEST:
        raise UserError(
            f"cannot be checked: only {points} of {len(where.value):,} points have a finite value "
            "that rounding does not decide; nothing was written"
        )
    off = _off(found, wanted)
    value = float(off.value[where.value].max())
    slopes = float(off.slopes[where.slopes].max()) if where.slopes.any() else None
    for what, most in (("values", value), ("gradients", slopes)):
        if most is not None and not most <= allowed:
            raise UserError(
                f"the written {what} differ from the evaluator's by {most:.1e} where {allowed:.1e} "
                f"is rounding; nothing was written; {advice}"
            )
    return Deviation(value, slopes, points)


def against_evaluator(
    function: Function,
    answer: Callable[[Grid, torch.dtype], Answer],
    dtype: torch.dtype,
    points: Grid,
    room: float = ROOM,
) -> Deviation:
    """Compare one way to compute a function with the evaluator, in one precision."""
    wanted = evaluator(function, points, dtype)
    where = steady(function, points, dtype, wanted, room)
    return compare(answer(points, dtype), wanted, where, room * torch.finfo(dtype).eps)
