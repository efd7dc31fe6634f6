"""Two strategies on the same seeds: the difference, its interval, and what that allows to say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from hybridsearch.analysis import course
from hybridsearch.analysis.runs import Run
from hybridsearch.errors import UserError, nearest
from hybridsearch.evidence.resampling import Interval
from hybridsearch.evidence.strategies import mean_difference


@dataclass(frozen=True)
class Measure:
    """A number that a run is judged by, higher is better. of: None where a run has none. unit: in
    which `scale` times the number is told.
    """

    words: str
    unit: str
    scale: float
    of: Callable[[Run], float | None]


@dataclass(frozen=True)
class Paired:
    """first less second over the seeds that both have; difference: None with less than two."""

    first: str
    second: str
    measure: Measure
    seeds: tuple[int, ...]
    values: tuple[tuple[float, float], ...]
    difference: Interval | None

    @property
    def shown(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.difference is not None and (self.difference.low > 0 or self.difference.high < 0)

    @property
    def sentence(self) -> str:
        """What the runs say, and what they do not."""
        names, count = f"{self.first} and {self.second}", len(self.seeds)
        what = self.measure.words
        if not self.seeds:
            return f"{what}: {names} have no seed in common, so nothing can be said."
        if self.difference is None:
            return f"{what}: {names} have one seed in common, which shows nothing."
        mean, low, high = (
            self.measure.scale * end
            for end in (self.difference.mean, self.difference.low, self.difference.high)
        )
        told = (
            f"{what}, {self.first} minus {self.second}: {mean:+.3g} {self.measure.unit}, 95% "
            f"interval {low:+.3g} to {high:+.3g} over {count} shared seeds. "
        )
        if not self.shown:
            return told + "No difference is shown."
        better, worse = (self.first, self.second) if low > 0 else (self.second, self.first)
        return told + f"On these seeds {better} is shown to be better than {worse}."


def _winner(name: str) -> Callable[[Run], float | None]:
    def of(run: Run) -> float | None:
        winner = (run.summary or {}).get("winner")
        return float(winner[name]) if winner else None

    return of


def _early(run: Run) -> float | None:
    best = course.best_so_far(run)[1]
    known = best[np.isfinite(best)]
    return float(known.mean()) if len(known) else None


MEASURES = {
    "test": Measure("test accuracy of the winner", "points", 100.0, _winner("mean")),
    "validation": Measure("score of the winner on fresh seeds", "", 1.0, _winner("validation")),
    "search": Measure(
        "best fitness of the search",
        "",
        1.0,
        lambda run: (run.summary or {}).get("incumbent_fitness"),
    ),
    "course": Measure("mean of the best so far over the search", "", 1.0, _early),
}


def paired(runs: Iterable[Run], first: str, second: str, measure: str = "test") -> Paired:
    """Compare two strategies (labels, as in the column `strategy`) by a measure of MEASURES: test
    (accuracy of the winner), validation, search or course.

    Runs with the same strategy and seed stand for one, the last. That the runs were asked the same
    is the caller's care (`alike`). Raises: UserError for an unknown measure.
    """
    if measure not in MEASURES:
        raise UserError(f"unknown measure {measure!r}{nearest(measure, MEASURES)}")
    judge = MEASURES[measure]
    scores: dict[str, dict[int, float]] = {first: {}, second: {}}
    for run in runs:
        value = judge.of(run)
        if run.config.label in scores and value is not None:
            scores[run.config.label][run.config.seed] = value
    seeds = tuple(sorted(scores[first].keys() & scores[second].keys()))
    values = tuple((scores[first][seed], scores[second][seed]) for seed in seeds)
    difference = None
    if len(seeds) > 1:
        a, b = np.array(values).T
        difference = mean_difference(a, b, rng=np.random.default_rng(0))
    return Paired(first, second, judge, seeds, values, difference)
