"""The course of a run, read off its records: plain values, nothing drawn."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from hybridsearch.analysis.runs import Run
from hybridsearch.genome.primitives import BINARY, UNARY
from hybridsearch.types import Json

Floats = NDArray[np.float64]
WINDOWS = 24  # parts of a run over which shares are taken
LEAST = 8  # proposals of a window


@dataclass(frozen=True)
class Windowed:
    """Shares over the course of a run. at: [windows] proposals so far, the middle of each. values:
    name -> [windows].
    """

    at: Floats
    values: dict[str, Floats]


def best_so_far(run: Run) -> tuple[Floats, Floats]:
    """Distinct functions evaluated, and the best fitness of a fully trained one by then; nan before
    there is one.
    """
    full = {o["order"] for o in run.fully_trained}
    fitness = [o["fitness"] if o["order"] in full else -math.inf for o in run.distinct]
    best = np.maximum.accumulate(np.array(fitness, dtype=np.float64)) if fitness else np.zeros(0)
    return np.arange(1.0, len(best) + 1), np.where(np.isfinite(best), best, np.nan)


def token_shares(outcomes: Sequence[dict[str, Json]]) -> Windowed | None:
    """Per window the share of proposals that have a function in them at all; None where there are
    too few proposals to say anything. It estimates how probable the policy made it.
    """
    parts = _windows(len(outcomes))
    if len(parts) < 2:
        return None
    names = [*UNARY, *BINARY]
    has = np.array([[name in o["genome"].split() for name in names] for o in outcomes])
    means = np.array([has[low:high].mean(0) for low, high in parts])
    return Windowed(_middles(parts), {name: means[:, k] for k, name in enumerate(names)})


def diversity(run: Run) -> Windowed | None:
    """Per window of proposals: the share of them that was new to the run, and the effective number
    of functions (the exponential of the entropy of all tokens in them).
    """
    outcomes = run.outcomes
    parts = _windows(len(outcomes))
    if len(parts) < 2:
        return None
    new = [float(np.mean([not o["known"] for o in outcomes[a:b]])) for a, b in parts]
    kinds = [_effective(o["genome"] for o in outcomes[a:b]) for a, b in parts]
    return Windowed(
        _middles(parts), {"new functions": np.array(new), "effective tokens": np.array(kinds)}
    )


def _effective(genomes: Iterable[str]) -> float:
    counts = Counter(t for genome in genomes for t in genome.split() if t in UNARY or t in BINARY)
    shares = np.array(list(counts.values()), dtype=np.float64)
    shares /= shares.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _windows(count: int) -> list[tuple[int, int]]:
    """The parts of `count` proposals: at most WINDOWS, of at least LEAST each."""
    number = min(WINDOWS, count // LEAST)
    edges = np.linspace(0, count, number + 1).round().astype(int).tolist() if number else []
    return list(pairwise(edges))


def _middles(parts: Sequence[tuple[int, int]]) -> Floats:
    return np.array([(low + high) / 2 for low, high in parts])
