"""A score for every function of any space, spread over it from a recorded table by a process."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from hashlib import blake2b
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from hybridsearch.genome.text import from_token_text
from hybridsearch.genome.units import Space
from hybridsearch.surrogate.features import Features, describe
from hybridsearch.surrogate.process import Posterior, covariance, fit, representatives
from hybridsearch.tables.table import DIVERGED, MISSING, OK, Table, load_table
from hybridsearch.types import Task

# Rows of like rank, a tenth of the table, whose replicates say how noisy a score is. What is left
# over are the best four, of six replicates each.
COMPANY = 332
ROWS, SAMPLED = 512, 1024  # functions of the table, and drawn, that the process sees
TINY = 1e-9  # of variance, for those who all learn nothing


def uniform(*parts: object) -> float:
    """A number in (0, 1) that these parts alone decide."""
    digest = blake2b(" ".join(map(str, parts)).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") + 0.5) / 2.0**64


def normal(*parts: object) -> float:
    """A number of the standard normal distribution that these parts alone decide."""
    return NormalDist().inv_cdf(uniform(*parts))


class Landscape:
    """A score for every function of any space.

    A process over a table's functions says what rank a function has among them. Where it knows
    little, as of most functions of several units, one of its samples says it: drawn jointly for
    SAMPLED functions of all sizes, which it then has seen too, so that functions that do alike
    score alike. What it misses even on functions that it was shown is drawn once per function.
    Between the ranks of recorded functions, and beyond the best of them, the truth goes on as the
    best hundredth rises with its rank's logarithm: however many are trained, there is a better one.

    The recorded function next in rank lends its mean scores at all rungs. What a training adds to
    them, by its seed, is normal, with the covariance over the rungs that replicates of functions of
    like rank have; it diverges as often as theirs did. So no training is the luckiest there can be.
    """

    def __init__(self, table: Table, units: int) -> None:
        self.table = table
        genomes = table.genomes  # made anew whenever it is asked for
        rows = np.array(sorted(genomes))
        scores = table.scores("validation")[rows]
        profiles = np.nanmean(scores, axis=1)
        means = profiles[:, -1]
        order = np.argsort(means, kind="stable")
        self.means, self._profiles = means[order], profiles[order]
        self._noise, self._failing = _noise(scores[order], table.status[rows[order]])
        self._spread = -np.log1p(-(np.arange(len(means)) + 0.5) / len(means))
        top = slice(-len(order) // 100, None)
        self._slope = float(np.polyfit(self._spread[top], self.means[top], 1)[0])
        targets = norm.ppf((rankdata(means) - 0.5) / len(means))
        shown = representatives(means, ROWS)
        features = describe([genomes[row] for row in rows[shown]])
        targets = targets[shown]
        plain = Posterior(features, targets, fit(features, targets))
        self.missed = float((targets - plain.predict(features)[0]).std())
        self._process = _sampled(plain, targets, units)
        self._known: dict[str, tuple[int, float]] = {}

    def learn(self, tasks: Iterable[Task]) -> None:
        """Look up the functions of tasks."""
        for task in tasks:
            if task.key not in self._known:
                # One at a time: in another company the last bit may differ, and so the place.
                one = describe([from_token_text(task.function)])
                mean, variance = (float(part[0]) for part in self._process.predict(one))
                deviation = np.sqrt(variance + self.missed**2)
                target = mean + deviation * normal("missed", task.key)
                self._known[task.key] = self.place(-float(norm.logsf(target)))

    def place(self, spread: float) -> tuple[int, float]:
        """The place, from the worst, of the function that lends its losses, and the truth."""
        beyond = self._slope * max(0.0, spread - float(self._spread[-1]))
        place = int(np.abs(self._spread - spread).argmin())
        return place, float(np.interp(spread, self._spread, self.means)) + beyond

    def truth(self, key: str) -> float:
        """The score of a function at the top, free of noise."""
        return self._known[key][1]

    def loss(self, task: Task, rung: int) -> float:
        """What a training with the seed of the task would show; nan where it diverges."""
        place, truth = self._known[task.key]
        company = place // COMPANY
        if uniform("fails", task.seed, task.key) < self._failing[company]:
            return float("nan")
        noise = self._noise[company, rung]
        draws = [normal("noise", task.seed, task.key, k) for k in range(len(noise))]
        score = self._profiles[place, rung] + truth - self.means[place] + noise @ draws
        return -float(score)


def _sampled(process: Posterior, targets: NDArray[np.float64], units: int) -> Posterior:
    """The process after it has seen a sample of its own at functions of up to so many units too."""
    rng = np.random.default_rng(0)
    space = Space(min_units=1, max_units=units)
    drawn = dict.fromkeys(space.sample(rng) for _ in range(SAMPLED))
    others, hyper = describe(list(drawn)), process.hyper
    mean, _ = process.predict(others)
    noisy = covariance(process.features, process.features, hyper)
    noisy += math.exp(hyper.noise) * np.eye(len(noisy))
    cross = covariance(process.features, others, hyper)
    left = covariance(others, others, hyper) - cross.T @ np.linalg.solve(noisy, cross)
    # Seen with noise, as the process takes all that it sees.
    left += math.exp(hyper.noise) * np.eye(len(left))
    values = mean + np.linalg.cholesky(left) @ rng.standard_normal(len(left))
    return Posterior(
        Features.join([process.features, others]), np.concatenate([targets, values]), hyper
    )


def _noise(
    scores: NDArray[np.float64], status: NDArray[np.uint8]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Per company of functions: factors [R, R] of the covariance of scores over the rungs, and the
    share of trainings that diverged. scores: [F, P, R], status: [F, P], in the order of rank.
    """
    factors, failing = [], []
    for first in range(0, len(scores), COMPANY):
        rows = slice(first, first + COMPANY)
        failing.append((status[rows] == DIVERGED).sum() / (status[rows] != MISSING).sum())
        groups = [own[able] for own, able in zip(scores[rows], status[rows] == OK, strict=True)]
        left = np.concatenate([own - own.mean(axis=0) for own in groups if len(own) > 1])
        free = sum(max(0, len(own) - 1) for own in groups)
        factors.append(np.linalg.cholesky(left.T @ left / free + TINY * np.eye(left.shape[1])))
    return np.array(factors), np.array(failing)


@cache
def landscape(name: str, units: int) -> Landscape:
    """Made once per process."""
    return Landscape(load_table(name), units)
