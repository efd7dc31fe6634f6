"""Rungs and early stopping; pure: no clock, no files, no training.

Successive halving over the run (ASHA, Li et al. 2020): a child is trained up to the first rung and
goes on while it is among the best share of all that have come to its rung so far, those of its
batch included. So a batch may be small, and a rung means the same in every batch. Scores of
different rungs are not one scale, so a child that is stopped gets the score that its rung predicts
for the top: a monotone fit on the children that were promoted all the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from scipy.optimize import isotonic_regression

from hybridsearch.config import FidelityConfig, RecordConfig

ENOUGH = 3  # pairs below which a fit would be an anecdote; until then scores stand as they are


def rung_steps(config: FidelityConfig | RecordConfig, steps: int) -> tuple[int, ...]:
    """The optimiser steps of every rung, rising; the last one is `steps`."""
    return tuple(sorted({max(1, round(share * steps)) for share in config.rungs}))


def promote(scores: Mapping[str, float], keep: float, earlier: Sequence[float] = ()) -> list[str]:
    """The names that go on: those among the best `keep` of all scores at this rung.

    earlier: the scores of children of earlier batches. At least one child of all may go on. Of
    those that tie at the edge, as children at chance do, as many go on as there is more room for
    than the earlier ones had, so that batches of one promote no more than large ones; the first
    proposed first, so that equal runs promote equally.
    """
    if not scores:
        return []
    before = np.asarray(earlier)
    every = np.concatenate([before, [*scores.values()]])
    count = _count(keep, len(every))
    edge = np.partition(every, len(every) - count)[len(every) - count]
    tied = [name for name, score in scores.items() if score == edge]
    room = count - int((every > edge).sum())
    had = _count(keep, len(before)) - int((before > edge).sum())
    taken = min(max(had, 0), int((before == edge).sum()))
    fitting = tied[: max(room - taken, 0)]
    return [name for name, score in scores.items() if score > edge or name in fitting]


def _count(keep: float, children: int) -> int:
    """How many of so many children of a rung may go on."""
    return max(1, round(keep * children))


def probe(stopped: Sequence[str], chance_of: Mapping[str, float], chance: float, draw: int) -> str:
    """One of the stopped children that goes on to the next rung all the same ("" where none could):
    what comes of them tells whether the right ones were stopped. `draw` is a random integer from
    the batch's own seed.
    """
    able = [name for name in stopped if chance_of[name] > chance]
    return able[draw % len(able)] if able else ""


@dataclass
class Extrapolation:
    """Predicts the score at the top from the score at a rung.

    pairs[r]: (score at rung r, score at the top) of the children that reached the top, in order.
    """

    chance: float
    pairs: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    _fits: dict[int, tuple[int, Fit]] = field(default_factory=dict, repr=False)

    def add(self, rung: int, score: float, top: float) -> None:
        self.pairs.setdefault(rung, []).append((score, top))

    def fit(self, rung: int) -> Fit:
        """The fit as it stands now; it does not change when pairs are added."""
        pairs = self.pairs.get(rung, [])
        if len(pairs) < ENOUGH:
            return Fit(self.chance, (), ())
        made = self._fits.get(rung)
        if made is None or made[0] != len(pairs):  # pairs are only ever added
            made = self._fits[rung] = len(pairs), self._fit(pairs)
        return made[1]

    def _fit(self, pairs: list[tuple[float, float]]) -> Fit:
        low, top = np.array(sorted(pairs)).T
        for score in np.unique(low[low > self.chance]):  # of equal scores one thing is expected
            top[low == score] = top[low == score].mean()
        blocks = isotonic_regression(top).blocks
        means = [(float(low[a:b].mean()), float(top[a:b].mean())) for a, b in pairwise(blocks)]
        return Fit(self.chance, *map(tuple, zip(*means, strict=True)))


@dataclass(frozen=True)
class Fit:
    """A monotone map from a rung's score to the top's: linear between the means of the blocks of
    an isotonic regression, from chance (which stays chance) up, constant above the last block.
    """

    chance: float
    low: tuple[float, ...]
    top: tuple[float, ...]

    def predict(self, score: float) -> float:
        if not self.low or score <= self.chance:
            return max(score, self.chance)
        x, y = np.array([self.chance, *self.low]), np.array([self.chance, *self.top])
        rising = np.concatenate([[True], np.diff(x) > 0])
        return float(np.interp(score, x[rising], np.maximum.accumulate(y[rising])))
