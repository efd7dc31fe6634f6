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
from hybridsearch.surrogate.process import FIT_ROWS, Hyper, Posterior, fit, representatives
from hybridsearch.surrogate.targets import exponential

Floats = NDArray[np.float64]
Ended = tuple[Tokens, float, float]  # a child at the top: score at the rung, score at the top
LEAST = 6  # children at the top below which a process would be an anecdote
GROWTH = 2  # the hyperparameters are fitted anew when so many times more children are at the top
ROWS = 256  # most children at the top that it learns from
LAGS = 1.0  # standard deviations below the mean of those at the top from which a child lacks
SAME = 1e-9  # a deviation below it, in units of the mean or of 1, is rounding
WINDOW = 512  # children of a rung that a new one is compared with, the last
BLOCK = 64  # of them are predicted together: a process predicts every whole block once


class Forecast:
    """Of one rung. All depends on what was seen and its order alone, so that a resumed run, which
    sees it again at once, goes on alike.
    """

    def __init__(self) -> None:
        self._genomes: list[Tokens] = []  # of those that were seen, the last, as `_low`
        self._low: list[float] = []
        self._dropped = 0  # of those that were seen; whole blocks
        self._ended: list[Ended] = []
        self._fitted: tuple[int, Hyper] | None = None
        self._made: _Made | None = None

    def see(self, genome: Tokens, low: float, top: float | None) -> None:
        """A child that came to this rung with the score `low`; top: that at the top, if known."""
        if top is not None:
            self._ended.append((genome, low, top))
            self._made = None
        self._genomes.append(genome)
        self._low.append(low)
        if len(self._low) >= 2 * WINDOW + BLOCK:
            old = WINDOW // BLOCK * BLOCK
            del self._genomes[:old], self._low[:old]
            self._dropped += old

    @property
    def ready(self) -> bool:
        """Whether enough children are at the top to say anything."""
        return len(self._ended) >= LEAST

    def promises(
        self, genomes: Sequence[Tokens], low: Sequence[float], optimism: float
    ) -> tuple[list[float], list[float]]:
        """Mean plus `optimism` standard deviations of children at the rung, and of those seen
        before, on one scale.
        """
        made = self._model()
        both = made.predict(genomes, low), self._window(made)
        new, before = ((mean + optimism * np.sqrt(variance)).tolist() for mean, variance in both)
        return new, before

    def scores(self, genomes: Sequence[Tokens], low: Sequence[float]) -> list[float]:
        """The scores at the top that are expected of children at the rung."""
        made = self._model()
        mean, _ = made.predict(genomes, low)
        return [float(score) for score in np.interp(mean, made.targets, made.tops)]

    def _window(self, made: _Made) -> tuple[Floats, Floats]:
        """Mean and variance of the last WINDOW children.

        Blocks begin at multiples of BLOCK, wherever the window does: in another company a child's
        prediction may differ in its last bit.
        """
        end = self._dropped + len(self._low)
        start = max(0, end - WINDOW)
        first = start // BLOCK * BLOCK
        means, variances = [], []
        for at in range(first, end, BLOCK):
            block = made.blocks.get(at)
            if block is None:
                rows = slice(at - self._dropped, at - self._dropped + BLOCK)
                block = made.predict(self._genomes[rows], self._low[rows])
                if at + BLOCK <= end:
                    made.blocks[at] = block
            means.append(block[0])
            variances.append(block[1])
        return np.concatenate(means)[start - first :], np.concatenate(variances)[start - first :]

    def _model(self) -> _Made:
        if self._made is None:
            count = LEAST
            while GROWTH * count <= len(self._ended):
                count *= GROWTH
            if self._fitted is None or self._fitted[0] != count:
                self._fitted = count, _likeliest(self._ended[:count])
            self._made = _Made(self.lessons(self._ended), self._fitted[1])
        return self._made

    @staticmethod
    def lessons(ended: Sequence[Ended]) -> Sequence[Ended]:
        """The children at the top that the process learns from: the last.

        From the best alone it would not know what is bad: where none of them is near, a process
        expects their mean, and all that is odd would go on (benchmarks/forecasts.py).
        """
        return ended[-ROWS:]


def _likeliest(ended: Sequence[Ended]) -> Hyper:
    """The hyperparameters after these children at the top; few of very many stand for all."""
    genomes, low, top = _columns(ended)
    targets = exponential(top)
    rows = np.sort(representatives(targets, FIT_ROWS))
    few = [genomes[row] for row in rows.tolist()]
    return fit(_lacking(few, low[rows], *_scale(low)), targets[rows], trust=0.0)


def _columns(ended: Sequence[Ended]) -> tuple[Sequence[Tokens], Floats, Floats]:
    genomes, low, top = zip(*ended, strict=True)
    return genomes, np.array(low), np.array(top)


def _scale(low: Floats) -> tuple[float, float]:
    """Mean and standard deviation of scores at the rung, or 1 where they are all the same: in units
    of what rounding leaves then, a child that is hardly worse would be beyond all that is known.
    """
    centre, spread = float(low.mean()), float(low.std())
    return centre, spread if spread > SAME * max(1.0, abs(centre)) else 1.0


def _lacking(genomes: Sequence[Tokens], low: Floats, centre: float, spread: float) -> Features:
    """What children do, and what they lack at the rung."""
    lacks = np.minimum((low - centre) / spread + LAGS, 0.0)
    return describe(genomes).expecting(lacks[:, None].astype(np.float32))


class _Made:
    """The process after N children at the top, in the order in which they came there.

    targets, tops: [N], rising, what it learns instead of scores at the top, and these.
    blocks: mean and variance of the children of whole blocks, by the number of their first.
    """

    def __init__(self, ended: Sequence[Ended], hyper: Hyper) -> None:
        genomes, low, top = _columns(ended)
        self._scale = _scale(low)
        targets, order = exponential(top), np.argsort(top, kind="stable")
        self.targets, self.tops = targets[order], top[order]
        self.blocks: dict[int, tuple[Floats, Floats]] = {}
        seen = _lacking(genomes, low, *self._scale)
        self._process = Posterior(seen, targets, hyper, trust=0.0)

    def predict(self, genomes: Sequence[Tokens], low: Sequence[float]) -> tuple[Floats, Floats]:
        """Mean and variance of the targets of M children, [M] each."""
        return self._process.predict(_lacking(genomes, np.array(low), *self._scale))
