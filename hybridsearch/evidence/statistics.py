"""What may be said of accuracies measured on a few seeds and a finite test set.

Two things are drawn by chance: the training seed and the test images. An interval that resamples
only one of them is too narrow, so both are resampled, independently (see `resampling.two_way`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from hybridsearch.errors import UserError
from hybridsearch.evidence.resampling import (
    BLOCK,
    Array,
    Interval,
    draw_counts,
    tails,
    two_way,
    weighted_spearman,
)

__all__ = [
    "Interval",
    "bootstrap_mean",
    "bootstrap_median",
    "paired_difference",
    "probability_better",
    "split_half_reliability",
    "verdict",
]

CONFIDENCE = 0.95
RESAMPLES = 5000  # moves an end of a 95% interval by about 1% of its width from rng to rng


def bootstrap_mean(
    values: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    rng: np.random.Generator,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Interval:
    """The mean of a metric over new seeds and new examples of the same kind.

    values: [seeds, examples]; of an accuracy bool (or float in 0..1), 1 where that seed's child was
    right; one column where the metric has no value per example. bounds: what a mean can be. The
    interval is that of `resampling.two_way`. With one seed it speaks of that one trained network.

    Raises: UserError when `values` is not a finite, non-empty matrix.
    """
    found = two_way(finite(values, 2), confidence, resamples, rng)
    return Interval(found.mean, max(found.low, bounds[0]), min(found.high, bounds[1]))


def bootstrap_median(
    scores: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    rng: np.random.Generator,
) -> Interval:
    """The median over seeds, with a percentile interval; scores: [seeds].

    With five seeds the interval is nearly their range: five say no more of a median.

    Raises: UserError when there are no scores, or one is not finite.
    """
    known = finite(scores, 1)
    drawn = known[rng.integers(len(known), size=(resamples, len(known)))]
    low, high = np.quantile(np.median(drawn, axis=1), tails(confidence))
    return Interval(float(np.median(known)), float(low), float(high))


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    rng: np.random.Generator,
    bounds: tuple[float, float] = (-1.0, 1.0),
) -> Interval:
    """The mean metric of `a` less that of `b`: the two-way bootstrap of a - b.

    a, b: [seeds, examples]; row s of both was trained with the same seed and column i is the same
    example, so that what both share (a hard image, a lucky data order) cancels. bounds: what the
    difference can be.

    Raises: UserError when a matrix is not finite or empty, or the shapes differ.
    """
    first, second = finite(a, 2), finite(b, 2)
    if first.shape != second.shape:
        raise UserError(
            f"a paired difference needs the same seeds and images on both sides, got shapes "
            f"{first.shape} and {second.shape}; keep only those that both have"
        )
    found = two_way(first - second, confidence, resamples, rng)
    return Interval(found.mean, max(found.low, bounds[0]), min(found.high, bounds[1]))


def verdict(difference: Interval, rediscovered: bool, higher: bool = True) -> str:
    """What the paired difference of winner and best baseline allows to say. higher: whether more of
    what is measured is better.

    "rediscovered" when the winner is a baseline under another spelling, whatever the difference;
    "better" or "worse" when the whole interval lies on one side of 0; otherwise "not shown". A
    bound that is exactly 0, or not a number, shows nothing.
    """
    if rediscovered:
        return "rediscovered"
    if difference.low > 0:
        return "better" if higher else "worse"
    if difference.high < 0:
        return "worse" if higher else "better"
    return "not shown"


def probability_better(
    a: ArrayLike,
    b: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    rng: np.random.Generator,
) -> Interval:
    """The probability, in 0..1, that a run of `a` scores above a run of `b`; a tie counts half.

    a: [n] and b: [m], final scores of independent runs. It is Mann and Whitney's U / (n m), the
    measure A of Vargha and Delaney 2000; the interval is the percentile bootstrap that resamples
    both sides independently, as in Agarwal et al. 2021 (arXiv 2108.13264). Where the two sides do
    not overlap it has no width, which says little when the runs are few.
    """
    left, right = finite(a, 1), finite(b, 1)
    wins = (np.sign(left[:, None] - right[None, :]) + 1.0) / 2
    weights = draw_counts(len(left), resamples, rng), draw_counts(len(right), resamples, rng)
    draws = ((weights[0] @ wins) * weights[1]).sum(axis=1) / wins.size
    low, high = np.quantile(draws, tails(confidence))
    return Interval(float(wins.mean()), float(low), float(high))


def split_half_reliability(
    scores: ArrayLike,
    top_share: float = 1.0,
    *,
    rng: np.random.Generator,
    splits: int = 100,
    confidence: float = CONFIDENCE,
    resamples: int = 1000,
) -> Interval:
    """Spearman's correlation between two halves of the replicates, in -1..1.

    scores: [functions, replicates], finite. In each split the mean over one half is correlated
    with the mean over the other (of an odd number one replicate sits out); the result is averaged
    over `splits` random splits, or over all where there are no more. It is the reliability of a
    mean over HALF the replicates: there is no Spearman-Brown correction, which would assume an
    interval scale and parallel halves.

    Only the best `top_share` of the functions (0..1, at least 3) are kept, chosen by the mean over
    all replicates. Choosing by one half would favour that half's luck. Choosing by both has a bias
    too, downwards: among the chosen a low first half must go with a high second one, so that pure
    noise gives less than 0 for a small share.

    The interval is a percentile bootstrap over the kept functions (Efron 1979), the same draw for
    every split; a draw in which a half does not vary is left out. nan where nothing varies.

    Raises: UserError when there are fewer than 3 functions or 2 replicates, or nan among them.
    """
    table = finite(scores, 2)
    functions, replicates = table.shape
    if functions < 3 or replicates < 2:
        raise UserError(f"need 3 functions and 2 replicates or more, got {functions, replicates}")
    if not 0 < top_share <= 1:
        raise UserError(f"top_share must lie in 0..1, got {top_share}; 1 keeps all functions")
    keep = max(3, round(top_share * functions))
    table = table[np.argsort(-table.mean(axis=1), kind="stable")[:keep]]

    as_measured = np.ones((1, keep), dtype=np.int64)
    weights = np.vstack([as_measured, draw_counts(keep, resamples, rng)])
    sums: Array = np.zeros(len(weights))
    size = max(1, BLOCK // keep)
    halves = _halves(replicates, splits, rng)
    for one, other in halves:
        first, second = table[:, one].mean(axis=1), table[:, other].mean(axis=1)
        for start in range(0, len(weights), size):
            part = slice(start, start + size)
            sums[part] += weighted_spearman(first, second, weights[part])
    value, draws = float(sums[0]) / len(halves), sums[1:][np.isfinite(sums[1:])] / len(halves)
    if not len(draws):
        return Interval(value, math.nan, math.nan)
    low, high = np.quantile(draws, tails(confidence))
    return Interval(value, float(low), float(high))


def _halves(
    n: int, splits: int, rng: np.random.Generator
) -> list[tuple[Sequence[int], Sequence[int]]]:
    """Pairs of disjoint halves of n replicates: all there are, or `splits` random ones if fewer."""
    half = n // 2
    if math.comb(n, half) * math.comb(n - half, half) // 2 > splits:
        orders = (rng.permutation(n).tolist() for _ in range(splits))
        return [(order[:half], order[half : 2 * half]) for order in orders]
    return [
        (one, other)
        for one in combinations(range(n), half)
        for other in combinations(sorted(set(range(n)) - set(one)), half)
        if one < other  # each unordered pair once
    ]


def finite(values: ArrayLike, ndim: int) -> Array:
    """The values as float64, or a UserError where they are not of that kind."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != ndim or array.size == 0 or not np.isfinite(array).all():
        raise UserError(
            f"expected finite numbers in {ndim} dimension(s), at least one of each, got shape "
            f"{array.shape}; leave out what failed"
        )
    return array
