"""Ratios of durations that may be believed: interleaved rounds, medians, exact intervals.

A machine is never quite idle, and a burst of somebody else's work slows whatever is measured then.
So everything that is compared runs in the same round, one after the other; each round gives one
ratio, and the bursts that last longer than a round cancel in it. The estimate is the median of
these ratios: a burst inside a round spoils that round and no other.

The interval is that of the sign test (David and Nagaraja 2003, section 7.1): the k-th smallest and
the k-th largest ratio, k as large as the confidence allows. It assumes nothing but rounds that are
alike and independent, where a bootstrap of a median needs many rounds to keep its promise. Below
six rounds even the range cannot reach 95%; then the range is given, with what it does reach.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import stats

T = TypeVar("T")
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """low <= value <= high. coverage: confidence of the interval, 0..1. n: values it is made of."""

    value: float
    low: float
    high: float
    coverage: float
    n: int


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """The median of `values` with its interval of at least `confidence`, if n allows it.

    Raises: ValueError without values, or when one is not finite.
    """
    rising = sorted(values)
    n = len(rising)
    if not n or not all(map(math.isfinite, rising)):
        raise ValueError(f"expected finite values, at least one, got {list(values)}")
    # P(the k-th smallest is above the median) = P(Binomial(n, 1/2) <= k - 1)
    k = 1
    while 2 * k < n and stats.binom.cdf(k, n, 0.5) <= (1 - confidence) / 2:
        k += 1
    coverage = max(0.0, 1 - 2 * float(stats.binom.cdf(k - 1, n, 0.5)))
    return Estimate(float(np.median(rising)), rising[k - 1], rising[n - k], coverage, n)


def paired_ratio(top: Sequence[float], bottom: Sequence[float]) -> Estimate:
    """The median of top[i] / bottom[i]; values of one i were measured in one round.

    Raises: ValueError when the lengths differ.
    """
    return median_interval([a / b for a, b in zip(top, bottom, strict=True)])


def rounds(entries: Sequence[T], count: int) -> Iterator[tuple[int, T]]:
    """(round, entry) of `count` rounds; every other round backwards, so that a drift cancels."""
    for number in range(count):
        for entry in entries if number % 2 == 0 else reversed(entries):
            yield number, entry
