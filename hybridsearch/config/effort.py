"""Settings of how much is trained: early stopping, race, retest, recording."""

from __future__ import annotations

import itertools
from typing import Literal

from pydantic import Field, field_validator

from hybridsearch.config.section import Section


def _rising(value: tuple[float, ...]) -> tuple[float, ...]:
    """Checks shares of training.steps: above 0, rising, the last one 1."""
    if not value or value[-1] != 1 or any(a >= b for a, b in itertools.pairwise(value)):
        raise ValueError(f"rungs must rise and end at 1, got {list(value)}")
    if value[0] <= 0:
        raise ValueError(f"rungs must be above 0, got {list(value)}")
    return value


class FidelityConfig(Section):
    """Low-fidelity early stopping: a child goes on while it is among the best of its rung."""

    rungs: tuple[float, ...] = Field(
        (0.0625, 0.25, 1.0),
        description="Shares of training.steps at which children are compared, rising to 1; "
        "just 1 trains every child fully.",
    )
    keep: float = Field(
        0.22,
        gt=0,
        le=1,
        description="Share of the children of a rung that is promoted to the next.",
    )
    first: int = Field(
        6,
        ge=0,
        description="Children that are trained fully before one is stopped: until then there is "
        "nothing to compare with.",
    )
    forecast: bool = Field(
        True,
        description="Compare children by what a model of function and score promises of them at "
        "the top; false: by their scores alone.",
    )
    optimism: float = Field(
        1.0, ge=0, description="Standard deviations that such a promise adds to the mean."
    )

    _rises = field_validator("rungs")(_rising)


class RecordConfig(Section):
    """What `hybridsearch record` trains: every function of the space, and the nine baselines."""

    rungs: tuple[float, ...] = Field(
        (0.0625, 0.125, 0.25, 0.5, 1.0),
        description="Shares of training.steps at which children are scored, rising to 1.",
    )
    test: Literal["every", "top"] = Field(
        "every",
        description="Where test examples are scored: at every rung, or at the top alone, which "
        "saves time where they are many.",
    )
    replicates: int = Field(5, ge=1, description="Trainings of every function.")
    half: int = Field(
        0, ge=0, description="Trainings of the better half in all; 0: no more than of every one."
    )
    best: int = Field(
        0, ge=0, description="Trainings of the best few in all; 0: no more than of the others."
    )
    top: int = Field(300, ge=1, description="How many are the best few.")

    _rises = field_validator("rungs")(_rising)


class RaceConfig(Section):
    """The race between search and retest, in which candidates show with more seeds who is best."""

    candidates: int = Field(
        24,
        ge=0,
        description="Functions that enter: the best half by the score of the search, the others "
        "those that it stopped early and now expects most of; up to retest.finalists: no race, the "
        "finalists are the best by that score.",
    )
    one_in: int | None = Field(
        80,
        ge=1,
        description="In a long search one in so many of the functions that it evaluated enters, "
        "where that is more: among many noisy scores chance decides which few are the best. A "
        "fifth of the search is then raced, with the other defaults; null: no more enter.",
    )
    seeds: int = Field(
        2, ge=1, description="Trainings of each, after which the better half trains again."
    )

    def entering(self, functions: int, finalists: int) -> int:
        """How many functions of a search that evaluated so many enter, at most."""
        if self.candidates <= finalists or self.one_in is None:
            return self.candidates
        return max(self.candidates, functions // self.one_in)


class RetestConfig(Section):
    """The honest retest of the finalists and the nine baselines on fresh seeds."""

    finalists: int = Field(5, ge=1, description="Best functions of the search that are retrained.")
    seeds: int = Field(10, ge=2, description="Fresh training seeds per function.")
    first: int = Field(0, ge=0, description="Number of the first of these seeds.")
    duel: bool = Field(
        True,
        description="Train winner and best baseline from as many further seeds, which have named "
        "neither, and measure their difference there; off: on the seeds that named them, which "
        "favours the winner.",
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Level of the reported intervals.")
    resamples: int = Field(
        5000, ge=100, description="Bootstrap resamples of seeds and test examples."
    )

    @property
    def further(self) -> int:
        """Number of the first of the seeds that have named nobody."""
        return self.first + self.seeds
