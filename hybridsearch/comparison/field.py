"""What the runs of a comparison are judged by: the truth about every function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hybridsearch.comparison.trace import Trace
from hybridsearch.errors import UserError
from hybridsearch.tables.recording import space_functions
from hybridsearch.tables.table import Table, target_size

Array = NDArray[np.float64]
Function = int | str  # a row of a table, or a key
GOOD = 100  # a good function is among the best in so many


@dataclass(frozen=True)
class Field:
    """F functions, each with what it is truly worth.

    truth: [F] mean score, on the scale of the fitness. error: standard error of the best one's
    truth, 0 where it is not known. row: from what a trace calls a function to its place in
    `truth`. specs: [F] genomes, or keys where they are not known. whole: these are all the
    functions that a search can evaluate. source: in words, where the truth is from.
    """

    truth: Array
    error: float
    row: Mapping[Function, int]
    specs: Sequence[str]
    whole: bool
    source: str

    @property
    def size(self) -> int:
        return len(self.truth)

    @property
    def best(self) -> float:
        return float(self.truth.max())

    @cached_property
    def rank(self) -> NDArray[np.intp]:
        """[F]: 0 for the best, the first among equals before the others."""
        rank = np.empty(self.size, np.intp)
        rank[np.argsort(-self.truth, kind="stable")] = np.arange(self.size)
        return rank

    def top(self, share: int) -> int:
        """How many functions one in `share` are, rounded up."""
        return -(-self.size // share)

    @cached_property
    def target_size(self) -> int:
        """How many a search should find, by `tables.table.target_size`."""
        return target_size(self.truth, self.error)

    @property
    def random_expectation(self) -> float | None:
        """Functions until one of the target set is met, on average, when they are drawn uniformly
        without repeats: (N+1)/(m+1). None where it is not known which functions there are.
        """
        return (self.size + 1) / (self.target_size + 1) if self.whole else None


def field_of_table(table: Table) -> Field:
    """The functions of the table's space; the baselines that no search can propose are left out.

    Raises: UserError when the table lacks some of the space's functions.
    """
    keys = [f.key for f in space_functions(table.config)]
    missing = sum(key not in table.index for key in keys)
    if missing:
        raise UserError(
            f"the table lacks {missing:,} of the {len(keys):,} functions of its space; record them "
            "first"
        )
    rows = sorted(table.index[key] for key in keys)
    truth = table.truth[rows]
    best = rows[int(np.argmax(truth))]
    return Field(
        truth,
        table.truth_error(best),
        {row: place for place, row in enumerate(rows)},
        [table.specs[row] for row in rows],
        True,
        "the mean test score of the replicates that no search sees",
    )


def field_of_traces(traces: Sequence[Trace], chance: float, top: int) -> Field:
    """What the runs themselves have found out, where nothing else is known.

    A function is worth its mean validation score on fresh seeds where a run retested it, else the
    mean score of its full trainings; what was never fully trained counts as chance.
    top: number of the top rung. Raises: UserError when nothing was fully trained.
    """
    seen: dict[str, list[float]] = {}
    fresh: dict[str, list[float]] = {}
    for trace in traces:
        for key, fitness, rung in zip(trace.functions, trace.fitness, trace.rungs, strict=True):
            seen.setdefault(str(key), []).extend([fitness] if rung == top else [])
        for key, score in trace.retested.items():
            fresh.setdefault(key, []).append(score)
    if not any(seen.values()):
        raise UserError("no function was trained to the end in any run; nothing can be compared")
    scores = {key: fresh.get(key) or seen[key] or [chance] for key in seen}
    truth = np.array([np.mean(row) for row in scores.values()])
    retested = sum(key in fresh for key in seen)
    specs = {key: spec for trace in traces for key, spec in trace.specs.items()}
    return Field(
        truth,
        0.0,
        {key: place for place, key in enumerate(scores)},
        [specs.get(key, key) for key in scores],
        False,
        f"the mean validation score on fresh seeds of the {retested:,} functions that were "
        "retested, and of the others the score that their searches saw, which flatters the best",
    )
