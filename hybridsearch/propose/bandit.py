"""Who gets how much of a batch: probability matching over lately earned credit.

Sources: Thierens 2005, "An adaptive pursuit strategy for allocating operator probabilities",
equations 1 to 3 (probability matching with a floor); Fialho et al. 2008 for crediting extreme
values rather than means. Deterministic: a function of the outcomes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from hybridsearch.config import HybridConfig
from hybridsearch.propose.novelty import has_verdict
from hybridsearch.types import Json, Outcome, Status


class Bandit:
    """Two arms, the controller and the population.

    An arm's credit R in a batch is the mean, over the functions that it was the first to have
    trained, of what each exceeds the bar by (0 without any); the bar is the `bar`-th best reward
    before the batch. Its quality is Q <- Q + a (R - Q), where a = 1 - exp(-m / memory) for its m
    proposals, and its share is floor + (1 - 2 floor) Q / (Q1 + Q2).
    """

    def __init__(self, config: HybridConfig) -> None:
        self._config = config
        self._quality = [0.0, 0.0]
        self._best: list[float] = []  # the `bar` best rewards so far, best first
        self._owed = 0.0  # the part of a proposal that rounding has kept from the controller

    @property
    def share(self) -> float:
        """The controller's share of the next batch."""
        c, total = self._config, math.fsum(self._quality)
        if not c.bandit or total <= 0:
            return c.share
        return c.floor + (1 - 2 * c.floor) * self._quality[0] / total

    def split(self, n: int) -> int:
        """How many of n proposals the controller makes; over many small batches, its share."""
        exact = self.share * n + self._owed
        whole = min(max(math.floor(exact + 0.5), 0), n)
        self._owed = exact - whole
        return whole

    def learn(self, *arms: Sequence[Outcome]) -> None:
        """The outcomes of a batch, the controller's and the population's."""
        c = self._config
        bar = self._best[-1] if len(self._best) == c.bar else 0.0
        for arm, outcomes in enumerate(arms):
            gains = [max(0.0, r - bar) for r in _rewards(outcomes)]
            credit = math.fsum(gains) / len(gains) if gains else 0.0
            judged = sum(has_verdict(o) for o in outcomes)
            rate = -math.expm1(-judged / c.memory)
            self._quality[arm] += rate * (credit - self._quality[arm])
        found = [r for outcomes in arms for r in _rewards(outcomes)]
        self._best = sorted([*self._best, *found], reverse=True)[: c.bar]

    def state(self) -> dict[str, Json]:
        return {"quality": list(self._quality), "best": list(self._best), "owed": self._owed}

    def restore(self, values: dict[str, Json]) -> None:
        self._quality, self._best = list(values["quality"]), list(values["best"])
        self._owed = values["owed"]


def _rewards(outcomes: Sequence[Outcome]) -> list[float]:
    """Of the functions that were trained for these outcomes."""
    trained = [o for o in outcomes if o.status in (Status.OK, Status.DIVERGED) and not o.known]
    return [o.reward for o in trained if o.reward is not None and has_verdict(o)]
