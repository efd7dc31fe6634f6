"""Many runs of several strategies: which is better, by how much, and whether that is shown.

Sources: Lindauer and Hutter 2020, "Best Practices for Scientific Research on Neural Architecture
Search" (JMLR 21(243)); Agarwal et al. 2021 (arXiv 2108.13264) for the interquartile mean with its
stratified bootstrap and the probability of improvement, which is `statistics.probability_better`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from hybridsearch.errors import UserError
from hybridsearch.evidence.resampling import BLOCK, Array, Interval, tails, two_way
from hybridsearch.evidence.statistics import CONFIDENCE, RESAMPLES, finite

TRIMMED = 0.25  # share of the runs left out on either side of an interquartile mean


def interquartile_mean(
    scores: Sequence[ArrayLike],
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    rng: np.random.Generator,
) -> Interval:
    """The mean of the middle half of all runs, with a percentile interval.

    scores: for every task [runs]; a bootstrap draws runs within their task (its stratum), all are
    then pooled, as in Agarwal et al. 2021. Of n runs floor(n/4) are left out on either side.

    Raises: UserError when a task has no runs or a score is not finite.
    """
    columns = [finite(task, 1)[:, None] for task in scores]
    return interquartile_means(columns, confidence=confidence, resamples=resamples, rng=rng)[0]


def interquartile_means(
    scores: Sequence[ArrayLike],
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    rng: np.random.Generator,
) -> list[Interval]:
    """`interquartile_mean` at every point of curves; scores: for every task [runs, points].

    All points see the same draws. The interval holds at each point by itself, not for all at once.
    """
    tasks = [finite(task, 2) for task in scores]
    if not tasks:
        raise UserError("an interquartile mean needs the runs of one task or more, got none")
    drawn = [rng.integers(len(task), size=(resamples, len(task))) for task in tasks]
    pooled = np.concatenate(tasks)
    found = []
    for point in range(pooled.shape[1]):
        means = np.concatenate(
            [
                _middle(np.concatenate([t[p, point] for t, p in zip(tasks, part, strict=True)], 1))
                for part in _blocks(drawn, len(pooled))
            ]
        )
        value = float(_middle(pooled[None, :, point])[0])
        low, high = np.quantile(means, tails(confidence))
        found.append(Interval(value, min(float(low), value), max(float(high), value)))
    return found


def _blocks(drawn: list[NDArray[np.int64]], width: int) -> list[list[NDArray[np.int64]]]:
    """The draws in parts of at most about BLOCK numbers."""
    size = max(1, BLOCK // width)
    starts = range(0, len(drawn[0]), size)
    return [[rows[start : start + size] for rows in drawn] for start in starts]


def _middle(rows: Array) -> Array:
    """The mean of every row's middle half."""
    n = rows.shape[1]
    cut = int(TRIMMED * n)
    if cut:  # only which are in the middle matters, not their order
        rows = np.partition(rows, (cut, n - cut - 1), axis=1)[:, cut : n - cut]
    result: Array = rows.mean(axis=1)
    return result


def mean_difference(
    a: ArrayLike,
    b: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    rng: np.random.Generator,
) -> Interval:
    """The mean of a - b over seeds that both share; a, b: [seeds], in the same order.

    The bootstrap of `resampling.two_way`, where only the seeds are drawn.

    Raises: UserError when the numbers of seeds differ.
    """
    first, second = _paired(a, b)
    return two_way((first - second)[:, None], confidence, resamples, rng)


def paired_p(a: ArrayLike, b: ArrayLike) -> float:
    """The two-sided p of Wilcoxon's signed-rank test on a - b; a, b: [seeds], in the same order.

    Seeds without a difference are left out (Wilcoxon 1945); 1 where there is no other.

    Raises: UserError when the numbers of seeds differ.
    """
    first, second = _paired(a, b)
    gaps = first - second
    return float(stats.wilcoxon(gaps[gaps != 0]).pvalue) if gaps.any() else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values corrected for their number (Holm 1979, step-down), in the same order."""
    order = np.argsort(p_values, kind="stable")
    n = len(p_values)
    steps = np.arange(n, 0, -1) * np.asarray(p_values, dtype=np.float64)[order]
    corrected = np.empty(n)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(p) for p in corrected]


def censored_median(
    times: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    rng: np.random.Generator,
) -> Interval:
    """The median of times of which some are only known to lie beyond the end; inf where it does.

    times: [runs], inf for the censored, which all ended later than every other time. The median is
    that of Kaplan and Meier 1958: the first time by which half of the runs are done, so that it is
    known unless over half are censored. Percentile bootstrap over runs.
    """
    known = np.asarray(times, dtype=np.float64)
    if known.ndim != 1 or not len(known) or np.isnan(known).any():
        raise UserError(f"expected the times of one run or more, got shape {known.shape}")
    middle = (len(known) - 1) // 2
    drawn = known[rng.integers(len(known), size=(resamples, len(known)))]
    medians = np.sort(np.partition(drawn, middle, axis=1)[:, middle])
    low, high = tails(confidence)
    # No interpolation: between a time and inf there is nothing.
    return Interval(
        float(np.sort(known)[middle]),
        float(medians[int(low * (resamples - 1))]),
        float(medians[int(np.ceil(high * (resamples - 1)))]),
    )


def _paired(a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    first, second = finite(a, 1), finite(b, 1)
    if first.shape != second.shape:
        raise UserError(
            f"paired runs need the same seeds on both sides, got {len(first)} and {len(second)}; "
            "keep only those that both have"
        )
    return first, second
