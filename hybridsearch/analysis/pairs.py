"""Two strategies on the same seeds: the difference, its interval, and what that allows to say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hybridsearch.analysis import course
from hybridsearch.analysis.runs import Run, on_fresh_seeds
from hybridsearch.analysis.tables import gap_words
from hybridsearch.errors import UserError, nearest
from hybridsearch.evidence.resampling import Interval
from hybridsearch.evidence.strategies import mean_difference
from hybridsearch.types import Measure

ROUNDING = 1e-9  # share of a difference; an interval no wider than that has no width


@dataclass(frozen=True)
class Judge:
    """What runs are judged by. words: what it is. of: its value, None where a run has none."""

    words: str
    of: Callable[[Run], float | None]


@dataclass(frozen=True)
class Paired:
    """first less second over the seeds on which both have a value.

    what: they were judged by. scale: what its values mean. common: how many seeds both ran with.
    values: of both, seed by seed. difference: None with less than two seeds.
    """

    first: str
    second: str
    what: str
    scale: Measure
    common: int
    seeds: tuple[int, ...]
    values: tuple[tuple[float, float], ...]
    difference: Interval | None

    @property
    def shown(self) -> bool:
        """Whether the interval leaves out 0. One of no width never does: a few seeds with the same
        difference do not say how much it varies.
        """
        if self.difference is None:
            return False
        low, high = self.difference.low, self.difference.high
        return high - low > ROUNDING * abs(self.difference.mean) and (low > 0 or high < 0)

    @property
    def told(self) -> str:
        """The difference with its interval for people; "-" where there is none."""
        if self.difference is None:
            return "-"
        return "{} ({})".format(*gap_words(vars(self.difference), self.scale))

    @property
    def sentence(self) -> str:
        """What the runs say, and what they do not."""
        names = f"{self.first} and {self.second}"
        if not self.common:
            return f"{self.what}: {names} have no seed in common, so nothing can be said."
        if not self.seeds:
            return f"{self.what}: {names} have that on no shared seed, so nothing can be said."
        if self.difference is None:
            return f"{self.what}: {names} have that on one shared seed, which shows nothing."
        told = (
            f"{self.what}, {self.first} minus {self.second}: {self.told}, with the 95% interval, "
            f"over {len(self.seeds)} shared seeds. "
        )
        if not self.shown:
            return told + "No difference is shown."
        ahead = (self.difference.low > 0) == self.scale.higher
        better, worse = (self.first, self.second) if ahead else (self.second, self.first)
        return told + f"{better} is shown to be better than {worse}."


def _test(run: Run) -> float | None:
    """What the winner has on seeds that did not name it, where it was trained from such."""
    winner = on_fresh_seeds(run.summary or {}).get("winner")
    return float(winner["mean"]) if winner else None


def _validation(run: Run) -> float | None:
    winner = (run.summary or {}).get("winner")
    return float(winner["validation"]) if winner else None


def _incumbent(run: Run) -> float | None:
    return (run.summary or {}).get("incumbent_fitness")


def _course(run: Run) -> float | None:
    best = course.best_so_far(run)[1]
    known = best[np.isfinite(best)]
    return float(known.mean()) if len(known) else None


JUDGES = {
    "test": Judge("Test {metric} of the winner", _test),
    "validation": Judge("Fitness of the winner on fresh seeds", _validation),
    "search": Judge("Best fitness of the search", _incumbent),
    "course": Judge("Mean of the best fitness so far", _course),
}
# Of fitness more is better; its chance and best value are not told.
FITNESS = Measure("fitness", True, -math.inf, math.inf)


def paired(runs: Sequence[Run], first: str, second: str, by: str = "test") -> Paired:
    """Compare two strategies (labels, as in the column `strategy`) by one of JUDGES: test (the
    metric of the winner on test data, on seeds that did not name it), validation (its fitness in
    the retest), search (the best fitness of the search, one training) or course (the mean of the
    best so far).

    Runs with the same strategy and seed stand for one, the last. That the runs were asked the same
    is the caller's care (`alike`). Raises: UserError for an unknown judge.
    """
    if by not in JUDGES:
        raise UserError(f"expected one of {', '.join(JUDGES)}, got {by!r}{nearest(by, JUDGES)}")
    judge = JUDGES[by]
    scores: dict[str, dict[int, float]] = {first: {}, second: {}}
    judged = []
    for run in runs:
        value = judge.of(run)
        if run.config.label in scores and value is not None:
            scores[run.config.label][run.config.seed] = value
            judged.append(run)
    ran = [{run.config.seed for run in runs if run.config.label == who} for who in (first, second)]
    seeds = tuple(sorted(scores[first].keys() & scores[second].keys()))
    values = tuple((scores[first][seed], scores[second][seed]) for seed in seeds)
    difference = None
    if len(seeds) > 1:
        a, b = np.array(values).T
        difference = mean_difference(a, b, rng=np.random.default_rng(0))
    # Of a run that has a value: what another one is going to measure may not be known yet.
    scale = (judged or runs)[0].measure if by == "test" and runs else FITNESS
    what = judge.words.format(metric=scale.name)
    common = len(ran[0] & ran[1])
    return Paired(first, second, what, scale, common, seeds, values, difference)
