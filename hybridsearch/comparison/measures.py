"""What is measured of a run: its true regret, and when it found what it should."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hybridsearch.comparison.field import GOOD, Array, Field
from hybridsearch.comparison.trace import Trace

EARLY = 300  # the mean true regret is taken over evaluations 1 to this
MARKS = (50, 100, 300, 1000)  # evaluations at which the regret is told
TOPS = (10, 30, 100, 300)  # k: how many of the k best were found


@dataclass(frozen=True)
class Measures:
    """One run of N = budget evaluations.

    regret: [N] best truth less truth of the incumbent, in units of the fitness, after n functions;
    the incumbent is the best fully trained one of the first n by the fitness that the search saw;
    before there is one, the best of those that were stopped, by the fitness predicted for them. A
    run that ended early keeps its last incumbent.
    steps: [N] training steps so far. evaluated: functions in fact evaluated. to_target, to_good,
    to_incumbent: evaluations until one of the target set, one of the top 1% was evaluated, one of
    the target set was the incumbent; inf where that never came. found: k -> how many of the k best
    functions were evaluated.
    """

    regret: Array
    steps: NDArray[np.int64]
    evaluated: int
    to_target: float
    to_incumbent: float
    to_good: float
    found: dict[int, int]

    @property
    def early(self) -> float:
        """The mean true regret over evaluations 1 to EARLY, or to the budget's end before that."""
        return float(self.regret[:EARLY].mean())

    @property
    def area(self) -> float:
        """The area under true regret: its sum over all evaluations."""
        return float(self.regret.sum())

    def at(self, mark: int) -> float:
        """The regret after so many evaluations."""
        return float(self.regret[mark - 1])


def measure(trace: Trace, field: Field, steps: Sequence[int], budget: int) -> Measures:
    """The measures of a run. steps: training steps by the last rung reached, -1 (none) at the end;
    the rung before that is the top.
    """
    rows = np.array([field.row[f] for f in trace.functions], np.intp)[:budget]
    rungs = np.array(trace.rungs, np.intp)[:budget]
    fitness = np.array(trace.fitness)[:budget]
    held = _leaders(np.where(rungs == len(steps) - 2, fitness, -np.inf))
    worth = field.truth[rows[np.where(held >= 0, held, _leaders(fitness))]]
    regret = field.best - worth
    taken = np.cumsum(np.array(steps, np.int64)[rungs])
    rank = field.rank[rows]
    aimed = (held >= 0) & (rank[held] < field.target_size)
    missing = budget - len(rows)
    return Measures(
        np.pad(regret, (0, missing), mode="edge"),
        np.pad(taken, (0, missing), mode="edge"),
        len(rows),
        _first(rank < field.target_size),
        _first(aimed),
        _first(rank < field.top(GOOD)),
        {k: int((rank < k).sum()) for k in TOPS if k <= field.size},
    )


def _leaders(scores: Array) -> NDArray[np.intp]:
    """The place of the best so far, the earliest among equals; -1 while all are -inf."""
    best = np.maximum.accumulate(np.concatenate([[-np.inf], scores]))
    places = np.where(scores > best[:-1], np.arange(len(scores)), -1)
    found: NDArray[np.intp] = np.maximum.accumulate(places)
    return found


def _first(hits: NDArray[np.bool_]) -> float:
    """The place of the first hit, from 1; inf without one."""
    return float(np.argmax(hits)) + 1 if hits.any() else float("inf")
