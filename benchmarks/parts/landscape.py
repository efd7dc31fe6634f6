"""A score for every function of any space, spread over it from a recorded table by a process."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from hashlib import blake2b
from statistics import NormalDist

import numpy as np

from hybridsearch.genome.text import from_token_text
from hybridsearch.surrogate.experience import Experience, Past
from hybridsearch.surrogate.targets import exponential
from hybridsearch.tables.table import NOISE, Table, load_table
from hybridsearch.types import Task


def uniform(*parts: object) -> float:
    """A number in (0, 1) that these parts alone decide."""
    digest = blake2b(" ".join(map(str, parts)).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") + 0.5) / 2.0**64


class Landscape:
    """A score for every function of any space.

    A process over a table's functions says what rank a function has among them; what it misses on
    functions that it was not shown is added as noise of the same size, drawn once per function. The
    recorded function of that rank lends its losses at all rungs, with their replicates. Beyond the
    table's best the scores go on as the best tenth rises with its rank's logarithm.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        genomes = table.genomes  # made anew whenever it is asked for
        rows = np.array(sorted(genomes))
        scores = table.scores("validation")[rows, :, -1]
        means = np.nanmean(scores, axis=1)
        past = Past([genomes[row] for row in rows], means)
        self._experience = Experience([past])
        targets = exponential(means)
        share = (np.argsort(np.argsort(means)) + 0.5) / len(means)
        spread = -np.log1p(-share)
        self._means = dict(zip(rows.tolist(), means.tolist(), strict=True))
        self._centre, self._deviation = float(spread.mean()), float(spread.std())
        seen = self._experience.describe(past.genomes).expected[:, 0].astype(np.float64)
        self.missed = float((targets - seen).std())
        order = np.argsort(means, kind="stable")
        self._rows = rows[order]
        top = slice(-len(order) // 10, None)
        self._slope = float(np.polyfit(spread[order][top], means[order][top], 1)[0])
        self._last = float(spread.max())
        self._known: dict[str, tuple[int, float]] = {}
        self._loss = np.asarray(table.validation_loss, np.float64)

    def learn(self, tasks: Iterable[Task]) -> None:
        """Look up the functions of tasks."""
        for task in tasks:
            if task.key not in self._known:
                # One at a time: in another company the last bit may differ, and so the place.
                genome = from_token_text(task.function)
                expected = float(self._experience.describe([genome]).expected[0, 0])
                target = expected + self.missed * NormalDist().inv_cdf(uniform("missed", task.key))
                spread = max(0.0, target * self._deviation + self._centre)
                self._known[task.key] = self._place(spread)

    def _place(self, spread: float) -> tuple[int, float]:
        """The row that lends its losses, and what is added to its scores."""
        count = len(self._rows)
        place = min(count - 1, int((1 - np.exp(-spread)) * count))
        beyond = self._slope * max(0.0, spread - self._last)
        return int(self._rows[place]), beyond

    def truth(self, key: str) -> float:
        """The score of a function at the top, free of noise."""
        row, beyond = self._known[key]
        return self._means[row] + beyond

    def loss(self, task: Task, rung: int) -> float:
        row, beyond = self._known[task.key]
        replicate = int(uniform(task.seed, task.key) * NOISE)
        return float(self._loss[row, replicate, rung]) - beyond


@cache
def landscape(name: str) -> Landscape:
    """Made once per process."""
    return Landscape(load_table(name))
