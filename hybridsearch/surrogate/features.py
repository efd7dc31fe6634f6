"""What the surrogate sees of a function: its shape and its size where a network's inputs lie.

BatchNorm hands an activation inputs that are about N(0,1), and undoes shift and scale of what comes
out. So the shape is taken after the output's mean and standard deviation under N(0,1) are removed,
and the size is told apart, in five numbers. The shape is split into an even and an odd part,
because f(x), -f(x), f(-x) and -f(-x) are one and the same to a network whose weights start
symmetric about 0: turning the sign of the weights before or after turns one into another, and of
the even and the odd part each alone only the sign.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hybridsearch.genome.batch import BLOCK, behaviour
from hybridsearch.genome.canonical import BETAS
from hybridsearch.genome.primitives import Array
from hybridsearch.genome.units import Tokens

RANGE = 3.5  # of 10,000 values from N(0,1), 5 lie outside
HALF = 33  # points between 0 and RANGE; as many mirrored; none at 0, where kinks have no slope
LARGEST = 1e4  # |f| and |f'| are cut off here; above it preflight rejects
MET = 20_000  # genomes whose features are kept, a kilobyte each
SLOPE = 0.5  # weight of the slopes beside the values

_RIGHT: Array = (np.arange(HALF, dtype=np.float64) + 0.5) * (RANGE / HALF)
POINTS: Array = np.concatenate([-_RIGHT[::-1], _RIGHT]).astype(np.float64)
_NORMAL: Array = np.exp(-0.5 * POINTS**2)
_NORMAL /= _NORMAL.sum()
# The square root of a weight between N(0,1) and none: the tails are seldom visited, yet matter.
_WEIGHT: Array = np.sqrt(np.exp(-0.25 * _RIGHT**2) / np.exp(-0.25 * POINTS**2).sum())

# Mean and standard deviation of the five numbers over the one-unit functions that pass preflight,
# so that each counts alike (tests/surrogate/test_features.py computes them again).
_CENTRE: Array = np.array([0.007, -0.004, 0.529, 1.254, 0.934])
_SPREAD: Array = np.array([0.829, 1.777, 0.344, 0.826, 0.920])


_met: dict[Tokens, tuple[NDArray[np.floating], ...]] = {}  # see MET; always the same values


@dataclass(frozen=True)
class Features:
    """Of G functions, float32: what is beyond it in a shape is of no use, and takes twice as long.

    even, odd: [G, 2 HALF], weighted values and slopes of the two parts of the shape. size: [G, 5],
    each about N(0,1) over the one-unit space: log root mean square of f, of f', share of the mean
    in the root mean square of f, log of the largest |f| and the largest |f'| over theirs.
    expected: [G, T], what `experience` of T earlier tables expects; of none, no column.
    """

    even: NDArray[np.floating]
    odd: NDArray[np.floating]
    size: NDArray[np.floating]
    expected: NDArray[np.floating]

    def __len__(self) -> int:
        return len(self.size)

    def take(self, rows: Sequence[int] | NDArray[np.intp]) -> Features:
        return Features(self.even[rows], self.odd[rows], self.size[rows], self.expected[rows])

    def expecting(self, expected: NDArray[np.floating]) -> Features:
        """The same with what is expected of them, [G, T]."""
        return replace(self, expected=expected)

    def wide(self) -> Features:
        """The same in float64."""
        parts = (self.even, self.odd, self.size, self.expected)
        return Features(*(part.astype(np.float64) for part in parts))

    @staticmethod
    def join(parts: Sequence[Features]) -> Features:
        """Those of one part after those of the other."""
        return Features(
            np.concatenate([p.even for p in parts]),
            np.concatenate([p.odd for p in parts]),
            np.concatenate([p.size for p in parts]),
            np.concatenate([p.expected for p in parts]),
        )


def describe(genomes: Sequence[Tokens]) -> Features:
    """The features of genomes, at the start value of every beta; of one that was met, at once."""
    if not genomes:
        return _block([])
    if len(_met) > MET:
        _met.clear()
    new = [genome for genome in dict.fromkeys(genomes) if genome not in _met]
    for start in range(0, len(new), BLOCK):
        block = new[start : start + BLOCK]
        made = _block(block)
        rows = zip(made.even, made.odd, made.size, strict=True)
        _met.update(zip(block, rows, strict=True))
    parts = zip(*(_met[genome] for genome in genomes), strict=True)
    even, odd, size = (np.array(part) for part in parts)
    return Features(even, odd, size, np.empty((len(genomes), 0), np.float32))


def _block(genomes: Sequence[Tokens]) -> Features:
    seen = behaviour(genomes, POINTS, BETAS[:1])
    return measured(seen.values[:, 0], seen.slopes[:, 0])


def measured(values: Array, slopes: Array) -> Features:
    """The features of functions, genomes or not, of which values and slopes [G, P] on POINTS are
    known.
    """
    value, slope = _finite(values), _finite(slopes)
    size = raw_size(value, slope)
    mean = _mean(value)[:, None]
    deviation = np.sqrt(_mean((value - mean) ** 2))[:, None] + 1e-6
    even, odd = _parts(np.arcsinh((value - mean) / deviation))  # of what is large, only how large
    slope_even, slope_odd = _parts(SLOPE * np.arcsinh(slope / deviation))
    return Features(
        # An even function has an odd slope.
        np.concatenate([even, slope_odd], axis=1).astype(np.float32),
        np.concatenate([odd, slope_even], axis=1).astype(np.float32),
        ((size - _CENTRE) / _SPREAD).astype(np.float32),
        np.empty((len(values), 0), np.float32),
    )


def raw_size(value: Array, slope: Array) -> Array:
    """The five numbers before they are centred: [G, 5] from values and slopes [G, P]."""
    square, slope_square = _mean(value**2) + 1e-9, _mean(slope**2) + 1e-9
    return np.stack(
        [
            0.5 * np.log(square),
            0.5 * np.log(slope_square),
            np.abs(_mean(value)) / np.sqrt(square),
            np.log(np.maximum(np.abs(value).max(axis=1), 1e-6)) - 0.5 * np.log(square),
            np.log(np.maximum(np.abs(slope).max(axis=1), 1e-6)) - 0.5 * np.log(slope_square),
        ],
        axis=1,
    )


def _mean(values: Array) -> Array:
    """Under N(0,1), [G]. A sum row by row: BLAS rounds a row by where it stands among others."""
    result: Array = (values * _NORMAL).sum(axis=1)
    return result


def _finite(values: Array) -> Array:
    return np.nan_to_num(np.clip(values, -LARGEST, LARGEST), nan=0.0)


def _parts(values: Array) -> tuple[Array, Array]:
    """The weighted even and odd part [G, HALF], of values [G, P] on the symmetric points."""
    right, left = values[:, HALF:], values[:, HALF - 1 :: -1]
    return 0.5 * (right + left) * _WEIGHT, 0.5 * (right - left) * _WEIGHT
