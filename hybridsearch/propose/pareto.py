"""The Pareto front of score against time."""

from __future__ import annotations

import math
from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float | None]]) -> list[int]:
    """The places of the points (score, cost) that no other dominates, cheapest first.

    A point dominates another when its score is no lower and its cost no higher, and one of the two
    is better; equal points do not dominate each other. Points with an unknown cost, or with a
    number that is not finite, are left out. score: higher is better; cost: seconds, lower is.
    """
    usable = [
        (cost, -score, k)
        for k, (score, cost) in enumerate(points)
        if cost is not None and math.isfinite(cost) and math.isfinite(score)
    ]
    front: list[int] = []
    best, reached = math.inf, math.inf  # minus the score, and the cost, of the last on the front
    for cost, loss, k in sorted(usable):
        if loss < best or (loss == best and cost == reached):
            front.append(k)
            best, reached = loss, cost
    return front
