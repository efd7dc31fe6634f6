"""What a model learns instead of scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata


def exponential(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """The exponential order statistics of scores [N], more is better: mean 0 and variance 1.

    Ranks make the scale of a loss or an accuracy indifferent; -log(1 - rank) spreads the best out
    and lays the worst, whose order is of no use, together. Equal scores are equal here.
    """
    if not len(scores):
        return scores
    share = (rankdata(scores) - 0.5) / len(scores)
    spread = -np.log1p(-share)
    deviation = float(spread.std())
    result: NDArray[np.float64] = (spread - spread.mean()) / (deviation if deviation > 0 else 1.0)
    return result
