"""What is repeated with other seeds: many jobs side by side, and the mean of what they found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from hybridsearch.comparison.summary import rng_for
from hybridsearch.evidence.resampling import Interval, two_way
from hybridsearch.evidence.statistics import CONFIDENCE
from hybridsearch.pools.failure import Failure
from hybridsearch.pools.loky import LokyPool

RESAMPLES = 4000
J, R = TypeVar("J"), TypeVar("R")


def side_by_side(
    work: Callable[[J], R], jobs: Mapping[str, J], processes: int
) -> Iterator[tuple[str, R]]:
    """(name, result) of every job, as they are done, so many at a time. One that fails ends the
    program.
    """
    pool = LokyPool(processes)
    try:
        for name, result in pool.run(work, jobs, float("inf")):
            if isinstance(result, Failure):
                raise SystemExit(f"{jobs[name]}: {result.message}")
            yield name, result
    finally:
        pool.close()


def mean_of(values: Sequence[float], name: str) -> Interval:
    """The mean with the interval of new seeds. name: from which the resampling is drawn."""
    return two_way(np.array(values)[:, None], CONFIDENCE, RESAMPLES, rng_for(name))


def spelled(value: Mapping[str, float], digits: int = 3) -> str:
    """A mean with its interval, which one seed has not."""
    if value["low"] == value["high"]:
        return f"{value['mean']:.{digits}f}"
    return f"{value['mean']:.{digits}f} ({value['low']:.{digits}f} to {value['high']:.{digits}f})"
