"""The numbers of a comparison: estimates with intervals, and pairs of strategies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from hybridsearch.comparison.field import Field
from hybridsearch.comparison.measures import MARKS, Measures
from hybridsearch.evidence.resampling import Interval
from hybridsearch.evidence.statistics import probability_better
from hybridsearch.evidence.strategies import (
    censored_median,
    holm,
    interquartile_mean,
    mean_difference,
    paired_p,
)
from hybridsearch.types import Json, seed_for

Runs = Mapping[str, Sequence[Measures]]  # strategy -> its runs, in the order of the seeds
TIMES = ("to_target", "to_incumbent", "to_good")


@dataclass(frozen=True)
class Strategy:
    """One strategy over all seeds. Medians are inf where over half of the runs are censored; of one
    seed there is no interval (`of_runs`).

    early, area: interquartile means. at: mark -> interquartile mean; only marks within the budget.
    times: medians of TIMES. met: of TIMES, how many runs came to it. found: k -> interquartile
    mean of the number found. steps: mean training steps of a run.
    """

    early: Interval
    area: Interval
    at: Mapping[int, Interval]
    times: Mapping[str, Interval]
    met: Mapping[str, int]
    found: Mapping[int, Interval]
    steps: float
    short: int  # runs that ended before the budget


@dataclass(frozen=True)
class Pair:
    """Two strategies on the mean early regret. better: P(a better than b), a tie half. p: Holm's.
    difference: mean of a less b, paired by seed; below 0 a is better. Of one seed neither has an
    interval (`of_runs`).
    """

    a: str
    b: str
    better: Interval
    p: float
    difference: Interval


@dataclass(frozen=True)
class Summary:
    """What a comparison says in numbers."""

    field: Field
    budget: int
    seeds: int
    strategies: Mapping[str, Strategy]
    pairs: Sequence[Pair]

    def to_json(self) -> dict[str, Json]:
        """The content of comparison.json."""
        return {
            "strategies": {
                name: {
                    "mean_regret_1_300": estimate(s.early),
                    "regret_at": {str(m): estimate(s.at.get(m)) for m in MARKS},
                    "evaluations_to_target": estimate(s.times["to_target"]),
                    "evaluations_to_top_1pct": estimate(s.times["to_good"]),
                }
                for name, s in self.strategies.items()
            },
            "target_size": self.field.target_size,
            "random_expected_evaluations_to_target": self.field.random_expectation,
            "pairs": [
                {
                    "a": p.a,
                    "b": p.b,
                    "p_a_better": p.better.mean,
                    "low": estimate(p.better)["low"],
                    "high": estimate(p.better)["high"],
                    "p_holm": p.p,
                }
                for p in self.pairs
            ],
        }


def of_runs(interval: Interval, runs: int) -> Interval:
    """An estimate from so many runs. One shows nothing of another: it has no ends, they are nan."""
    return interval if runs > 1 else replace(interval, low=math.nan, high=math.nan)


def estimate(interval: Interval | None) -> dict[str, float | None]:
    """An interval as JSON; what is unknown or lies beyond the budget is null."""
    if interval is None:
        return {"value": None, "low": None, "high": None}
    ends = {"value": interval.mean, "low": interval.low, "high": interval.high}
    return {name: end if math.isfinite(end) else None for name, end in ends.items()}


def summarise(runs: Runs, field: Field, budget: int) -> Summary:
    """All estimates. runs: of every strategy the same seeds in the same order."""
    strategies = {name: _strategy(name, rows, budget) for name, rows in runs.items()}
    early = {name: np.array([m.early for m in rows]) for name, rows in runs.items()}
    seeds = len(next(iter(early.values())))
    couples = list(combinations(runs, 2))
    p_values = holm([paired_p(early[a], early[b]) for a, b in couples])
    pairs = []
    for (a, b), p in zip(couples, p_values, strict=True):
        rng = rng_for(f"pair/{a}/{b}")
        better = of_runs(probability_better(-early[a], -early[b], rng=rng), seeds)
        gap = of_runs(mean_difference(early[a], early[b], rng=rng), seeds)
        pairs.append(Pair(a, b, better, p, gap))
    return Summary(field, budget, seeds, strategies, pairs)


def _strategy(name: str, runs: Sequence[Measures], budget: int) -> Strategy:
    rng = rng_for(f"strategy/{name}")

    def middle(values: Sequence[float]) -> Interval:
        return of_runs(interquartile_mean([values], rng=rng), len(runs))

    def until(times: Sequence[float]) -> Interval:
        return of_runs(censored_median(times, rng=rng), len(runs))

    times = {what: [getattr(m, what) for m in runs] for what in TIMES}
    return Strategy(
        early=middle([m.early for m in runs]),
        area=middle([m.area for m in runs]),
        at={mark: middle([m.at(mark) for m in runs]) for mark in MARKS if mark <= budget},
        times={what: until(row) for what, row in times.items()},
        met={what: int(np.isfinite(row).sum()) for what, row in times.items()},
        found={k: middle([m.found[k] for m in runs]) for k in runs[0].found},
        steps=float(np.mean([m.steps[-1] for m in runs])),
        short=sum(m.evaluated < budget for m in runs),
    )


def rng_for(purpose: str) -> np.random.Generator:
    """The bootstrap's draws; they depend on their purpose alone, never on what is beside it."""
    return np.random.default_rng(seed_for(0, f"comparison/{purpose}"))
