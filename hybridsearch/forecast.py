"""What a child that stands at a rung will score at the top, from its score there and its function.

A score after a sixteenth of the steps tells a bad function from a good one, but among good ones
mostly how fast they learn (docs/decisions/0004-rungs-and-rewards.md). So the process of `surrogate`
learns from the children that came to the top, with what a child lacks at the rung beside what its
function does; how much that counts is for the data to say.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hybridsearch.genome.units import Tokens
from hybridsearch.surrogate.features import Features, describe
from hybridsearch.surrogate.process import Hyper, Posterior, fit
from hybridsearch.surrogate.targets import exponential

Floats = NDArray[np.float64]
LEAST = 6  # children at the top below which a process would be an anecdote
GROWTH = 2  # the hyperparameters are fitted anew when so many times more children are at the top
ROWS = 256  # children at the top that it learns from, the best
LAGS = 1.0  # standard deviations below the mean of those at the top from which a child lacks
WINDOW = 512  # children of a rung that a new one is compared with, the last


class Forecast:
    """Of one rung. All depends on what was seen and its order alone, so that a resumed run, which
    sees it again at once, goes on alike.
    """

    def __init__(self) -> None:
        self._seen = describe([])
        self._new: list[Tokens] = []  # seen, not yet described
        self._low: list[float] = []
        self._pairs: list[int] = []  # of `_low`, those whose score at the top is known
        self._top: list[float] = []  # of `_pairs`
        self._fitted: tuple[int, Hyper] | None = None
        self._made: _Made | None = None

    def see(self, genome: Tokens, low: float, top: float | None) -> None:
        """A child that came to this rung with the score `low`; top: that at the top, if known."""
        if top is not None:
            self._pairs.append(len(self._low))
            self._top.append(top)
            self._made = None
        self._low.append(low)
        self._new.append(genome)

    @property
    def ready(self) -> bool:
        """Whether enough children are at the top to say anything."""
        return len(self._pairs) >= LEAST

    def promises(
        self, genomes: Sequence[Tokens], low: Sequence[float], optimism: float
    ) -> tuple[list[float], list[float]]:
        """Mean plus `optimism` standard deviations of children at the rung, and of those seen
        before, on one scale.
        """
        made = self._model()
        ends = [self._features().take(range(max(0, len(self._low) - WINDOW), len(self._low)))]
        lows = [np.array(self._low[-WINDOW:])]
        ends.insert(0, describe(genomes))
        lows.insert(0, np.array(low))
        promises = []
        for features, scores in zip(ends, lows, strict=True):
            mean, variance = made.predict(features, scores)
            promises.append([float(p) for p in mean + optimism * np.sqrt(variance)])
        return promises[0], promises[1]

    def scores(self, genomes: Sequence[Tokens], low: Sequence[float]) -> list[float]:
        """The scores at the top that are expected of children at the rung."""
        made = self._model()
        mean, _ = made.predict(describe(genomes), np.array(low))
        return [float(score) for score in np.interp(mean, made.targets, made.tops)]

    def _features(self) -> Features:
        if self._new:
            self._seen = Features.join([self._seen, describe(self._new)])
            self._new = []
        return self._seen

    def _model(self) -> _Made:
        if self._made is None:
            top, low = np.array(self._top), np.array(self._low)[self._pairs]
            features = self._features().take(self._pairs)
            count = LEAST
            while GROWTH * count <= len(top):
                count = round(GROWTH * count)
            if self._fitted is None or self._fitted[0] != count:
                first = _Made(features.take(range(count)), low[:count], top[:count], None)
                self._fitted = count, first.hyper
            rows = np.sort(np.argsort(-top, kind="stable")[:ROWS])
            self._made = _Made(features.take(rows), low[rows], top[rows], self._fitted[1])
        return self._made


class _Made:
    """The process after N children at the top.

    targets, tops: [N], rising, what it learns instead of scores at the top, and these.
    """

    def __init__(self, features: Features, low: Floats, top: Floats, hyper: Hyper | None) -> None:
        self._centre, self._spread = float(low.mean()), float(low.std()) or 1.0
        targets, order = exponential(top), np.argsort(top, kind="stable")
        self.targets, self.tops = targets[order], top[order]
        with_low = self._with(features, low)
        self.hyper = fit(with_low, targets, trust=0.0) if hyper is None else hyper
        self._process = Posterior(with_low, targets, self.hyper, trust=0.0)

    def _with(self, features: Features, low: Floats) -> Features:
        lacks = np.minimum((low - self._centre) / self._spread + LAGS, 0.0)
        return features.expecting(lacks[:, None].astype(np.float32))

    def predict(self, features: Features, low: Floats) -> tuple[Floats, Floats]:
        """Mean and variance of the targets of M children, [M] each."""
        return self._process.predict(self._with(features, low))
