"""Repeated timings as they stand in a table and in a JSON file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from ratios import median_interval

RESAMPLES = 2000


class Measured(TypedDict):
    """An estimate, its 95% interval, and how many repeats it is made of."""

    median: float
    low: float
    high: float
    repeats: int


def median(samples: Sequence[float]) -> Measured:
    """The median of repeats of one measurement, with the interval of `ratios.median_interval`."""
    e = median_interval(samples)
    return {"median": e.value, "low": e.low, "high": e.high, "repeats": e.n}


def entries(name: str, value: Measured) -> dict[str, object]:
    """For a JSON file: the median under the name, its interval and repeats beside it."""
    return {
        name: value["median"],
        f"{name}_interval": [value["low"], value["high"]],
        f"{name}_repeats": value["repeats"],
    }


def show(value: Measured, digits: int = 3) -> str:
    """For a table: 1,234 (1,200 to 1,250)."""
    numbers = (value["median"], value["low"], value["high"])
    texts = [f"{v:,.0f}" if abs(v) >= 1000 else f"{v:.{digits}g}" for v in numbers]
    return f"{texts[0]} ({texts[1]} to {texts[2]})"


def ratio(above: Sequence[float], below: Sequence[float]) -> Measured:
    """sum(above) / sum(below) of pairs, with the interval of a bootstrap over the pairs."""
    top, bottom = (np.asarray(v, dtype=np.float64) for v in (above, below))
    picks = np.random.default_rng(0).integers(0, len(top), (RESAMPLES, len(top)))
    low, high = np.quantile(top[picks].sum(1) / bottom[picks].sum(1), (0.025, 0.975))
    return {
        "median": float(top.sum() / bottom.sum()),
        "low": float(low),
        "high": float(high),
        "repeats": len(top),
    }
