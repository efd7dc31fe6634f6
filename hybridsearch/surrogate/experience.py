"""What earlier tasks teach about a new one: functions that were good there are likely good here.

Source: transfer by a prior mean, as in Wistuba, Schilling and Schmidt-Thieme 2016 ("Two-Stage
Transfer Surrogate Model"), where a model of every earlier task gives the new one's expectation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybridsearch.genome.units import Tokens
from hybridsearch.surrogate.features import Features, describe
from hybridsearch.surrogate.process import Floats, Posterior, fit, representatives
from hybridsearch.surrogate.targets import exponential

ROWS = 512  # functions of a table that stand for all; 1,500 did alike and cost three times as much


@dataclass(frozen=True)
class Past:
    """A task of which many functions are known. genomes: G. scores: [G], more is better."""

    genomes: Sequence[Tokens]
    scores: Floats


class Experience:
    """Expectations from pasts, none or many, each from a process of its own."""

    def __init__(self, pasts: Sequence[Past] = ()) -> None:
        self._processes = [_process(past) for past in pasts]

    def __len__(self) -> int:
        return len(self._processes)

    def describe(self, genomes: Sequence[Tokens]) -> Features:
        """The features of genomes, with what every past expects of them."""
        features = describe(genomes)
        expected = np.empty((len(features), len(self)), np.float32)
        if len(features):
            for column, process in enumerate(self._processes):
                expected[:, column] = process.predict(features)[0]
        return features.expecting(expected)


def _process(past: Past) -> Posterior:
    """The process after ROWS of the functions."""
    rows = representatives(past.scores, ROWS)
    features = describe([past.genomes[row] for row in rows])
    targets = exponential(past.scores)[rows]
    return Posterior(features, targets, fit(features, targets))
