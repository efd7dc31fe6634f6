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
    which `scale` times the number is told, with so many decimals.
    """

    words: str
    of: Callable[[Run], float | None]
    unit: str = "of the fitness"
    scale: float = 1.0
    decimals: int = 4


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
    def told(self) -> str:
        """The difference with its interval, in the unit of the measure; "-" where there is none."""
        if self.difference is None:
            return "-"
        found = self.difference
        mean, low, high = (
            f"{self.measure.scale * end:+.{self.measure.decimals}f}"
            for end in (found.mean, found.low, found.high)
        )
        return f"{mean} ({low} to {high})"

    @property
    def sentence(self) -> str:
        """What the runs say, and what they do not."""
        names, words = f"{self.first} and {self.second}", self.measure.words
        if not self.seeds:
            return f"{words}: {names} have no seed in common, so nothing can be said."
        if self.difference is None:
            return f"{words}: {names} have one seed in common, which shows nothing."
        told = (
            f"{words}, {self.first} minus {self.second}: {self.told} {self.measure.unit}, with the "
            f"95% interval, over {len(self.seeds)} shared seeds. "
        )
        if not self.shown:
            return told + "No difference is shown."
        ahead = self.difference.low > 0
        better, worse = (self.first, self.second) if ahead else (self.second, self.first)
        return told + f"{better} is shown to be better than {worse}."


def _winner(name: str) -> Callable[[Run], float | None]:
    def of(run: Run) -> float | None:
        winner = (run.summary or {}).get("winner")
        return float(winner[name]) if winner else None

    return of


def _incumbent(run: Run) -> float | None:
    return (run.summary or {}).get("incumbent_fitness")


def _course(run: Run) -> float | None:
    best = course.best_so_far(run)[1]
    known = best[np.isfinite(best)]
    return float(known.mean()) if len(known) else None


MEASURES = {
    "test": Measure("Test accuracy of the winner", _winner("mean"), "points", 100.0, 2),
    "validation": Measure("Score of the winner on fresh seeds", _winner("validation")),
    "search": Measure("Best fitness of the search", _incumbent),
    "course": Measure("Mean of the best so far over the search", _course),
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
