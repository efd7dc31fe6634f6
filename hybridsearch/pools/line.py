"""Who goes first: jobs that wait for a worker."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from itertools import count
from math import inf
from typing import Generic, TypeVar

T = TypeVar("T")
In = TypeVar("In")


class Ranked(dict[str, In]):
    """Jobs of which some had better begin before others, which changes no result.

    ranks: by name, the lowest first; what has none is of rank 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ranks: dict[str, float] = {}


def urgency(steps: int, pace: float) -> float:
    """The rank of a training. Fewest steps first, since others wait for what they decide; of as
    many, the slowest first, so that no long one is the last to begin. pace: seconds per step,
    0 where it is not known.
    """
    return steps - pace / (1 + pace)


def rank_of(jobs: Mapping[str, In], name: str) -> float:
    return jobs.ranks.get(name, 0.0) if isinstance(jobs, Ranked) else 0.0


class Line(Generic[T]):
    """Those of the lowest rank are taken first, and of one rank in the order in which they came."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, item: T, rank: float = 0.0) -> None:
        heapq.heappush(self._heap, (rank, next(self._numbers), item))

    def put_back(self, item: T) -> None:
        """Before all others: it was taken already."""
        self.add(item, -inf)

    def take(self) -> T:
        return heapq.heappop(self._heap)[2]
