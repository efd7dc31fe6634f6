"""The bootstraps behind `statistics`: weights instead of copies, matrix products, in blocks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hybridsearch.errors import UserError

Array = NDArray[np.float64]
Counts = NDArray[np.int64]

BLOCK = 2_000_000  # weights held at once: 16 MB


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval: low <= mean <= high, in the estimate's unit."""

    mean: float
    low: float
    high: float


def tails(confidence: float) -> tuple[float, float]:
    """The two quantiles that a central interval runs between: 0.95 -> (0.025, 0.975)."""
    if not 0 < confidence < 1:
        raise UserError(f"confidence must lie between 0 and 1, got {confidence}; 0.95 is usual")
    return (1 - confidence) / 2, (1 + confidence) / 2


def draw_counts(n: int, resamples: int, rng: np.random.Generator) -> Counts:
    """[resamples, n]: how often each of n things is drawn when n are, with replacement."""
    return rng.multinomial(n, np.full(n, 1 / n), size=resamples)


def two_way(table: Array, confidence: float, resamples: int, rng: np.random.Generator) -> Interval:
    """The mean of `table` [seeds, images] over both, which were drawn independently.

    Percentiles of the pigeonhole bootstrap (Owen 2007, doi 10.1214/07-AOAS122), their distance
    from the mean stretched by t(v)/z * sqrt(V/V*). A bootstrap of few seeds is too narrow: its
    variance V* misses a factor (S-1)/S, and it knows no Student's t (Hesterberg 2015, doi
    10.1080/00031305.2015.1089789, corrects both for one sample). V is the sum of the unbiased
    variances of the mean over seeds and over images, v its degrees of freedom after Satterthwaite
    1946. Where the images dominate, or the seeds are many, the factor is about 1. Where there is
    no effect of seed or image, only noise of the pair, the interval is up to 1.7 times too wide.
    """
    mean = float(table.mean())
    draws = _resampled_means(table, resamples, rng)
    lower, upper = tails(confidence)
    low, high = np.quantile(draws, (lower, upper))
    parts = [
        (float(np.var(table.mean(axis=1 - axis), ddof=1)) / n, n - 1)
        for axis, n in enumerate(table.shape)
        if n > 1
    ]
    total, star = sum(v for v, _ in parts), float(np.var(draws))
    stretch = 1.0
    if total > 0 and star > 0:
        freedom = total**2 / sum(v**2 / df for v, df in parts)
        stretch = float(stats.t.ppf(upper, freedom) / stats.norm.ppf(upper))
        stretch *= max(1.0, (total / star) ** 0.5)
    return Interval(
        mean,
        mean + stretch * min(float(low) - mean, 0.0),
        mean + stretch * max(float(high) - mean, 0.0),
    )


def _resampled_means(table: Array, resamples: int, rng: np.random.Generator) -> Array:
    """[resamples] means of `table` with multinomial weights on its rows and on its columns.

    Equal columns are merged first: of 10,000 images most are right, or wrong, for every seed, and
    how often each pattern is drawn has the same law as when images are drawn one by one.
    """
    seeds, images = table.shape
    patterns, counts = np.unique(table, axis=1, return_counts=True)
    merged = len(counts) * 8 < images  # else a multinomial draw costs more than it saves
    columns: Array = patterns if merged else table
    width = columns.shape[1]
    means: Array = np.empty(resamples)
    size = max(1, BLOCK // max(width, seeds))
    for start in range(0, resamples, size):
        n = min(size, resamples - start)
        if merged:
            drawn = rng.multinomial(images, counts / images, size=n)
        else:
            picks = rng.integers(0, width, size=(n, images)) + width * np.arange(n)[:, None]
            drawn = np.bincount(picks.ravel(), minlength=n * width).reshape(n, width)
        sums = drawn.astype(np.float64) @ columns.T  # [n, seeds]
        means[start : start + n] = (sums * draw_counts(seeds, n, rng)).sum(axis=1) / table.size
    return means


def weighted_spearman(first: Array, second: Array, weights: Counts) -> Array:
    """Spearman's correlation [B] of first and second [F], where b holds weights[b, f] copies of f.

    weights: [B, F]. nan where a side does not vary.
    """
    middle = (weights.sum(axis=1, keepdims=True) + 1) / 2  # the mean rank
    x, y = _ranks(first, weights) - middle, _ranks(second, weights) - middle
    both, left, right = ((weights * p).sum(axis=1) for p in (x * y, x * x, y * y))
    with np.errstate(invalid="ignore"):
        result: Array = both / np.sqrt(left * right)
    return result


def _ranks(values: Array, weights: Counts) -> Array:
    """Ranks [B, F] of `values` [F] under `weights` [B, F]; ties share their mean rank."""
    order = np.argsort(values, kind="stable")
    new = np.r_[True, np.diff(values[order]) > 0]
    tied = np.add.reduceat(weights[:, order], np.flatnonzero(new), axis=1)
    ranks: Array = np.empty(weights.shape)
    ranks[:, order] = (np.cumsum(tied, axis=1) - tied + (tied + 1) / 2)[:, np.cumsum(new) - 1]
    return ranks
