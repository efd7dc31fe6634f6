"""Who watches a run: the progress display, a notebook, nobody. Nothing here changes its course."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Snapshot:
    """How far a search is; counts since the run began, sessions before a resume included.

    distinct: functions evaluated, each counted once, trained (at least one training was run) or
    wholly from the cache. training_steps: optimiser steps of the run's course, cached ones too.
    incumbent: the best fully trained function, "" while there is none; fitness: its score; scored:
    what that is, as the setting `fitness` has it. limit: the seconds after which the search ends.
    """

    budget: int
    proposals: int = 0
    distinct: int = 0
    trained: int = 0
    cache_hits: int = 0
    rejected: int = 0
    training_steps: int = 0
    seconds: float = 0.0
    batches: int = 0
    incumbent: str = ""
    fitness: float | None = None
    scored: str = ""
    limit: float | None = None


def duration(seconds: float) -> str:
    """In the unit that people would say: 90 s, 17 min, 3.2 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class Observer(Protocol):
    """Somebody who is told how a run goes."""

    def stage(self, name: str, total: int) -> None:
        """A part begins: "search" (total in functions), "retest", "test" or another name, which is
        shown as it is (in trainings).
        """

    def advance(self, done: int) -> None:
        """So many of the stage's total are done."""

    def training(self, rung: int, done: int, total: int) -> None:
        """Within a batch of the search: trainings done on a rung (counted from 1); total 0 where it
        is not known.
        """

    def snapshot(self, now: Snapshot) -> None:
        """After every batch of the search."""

    def note(self, line: str) -> None:
        """Something that the user should know."""


class Silent:
    """An observer that looks away."""

    def stage(self, name: str, total: int) -> None: ...

    def advance(self, done: int) -> None: ...

    def training(self, rung: int, done: int, total: int) -> None: ...

    def snapshot(self, now: Snapshot) -> None: ...

    def note(self, line: str) -> None: ...


class Both:
    """Two observers, told the same, the first one first."""

    def __init__(self, first: Observer, second: Observer) -> None:
        self.first, self.second = first, second

    def stage(self, name: str, total: int) -> None:
        self.first.stage(name, total)
        self.second.stage(name, total)

    def advance(self, done: int) -> None:
        self.first.advance(done)
        self.second.advance(done)

    def training(self, rung: int, done: int, total: int) -> None:
        self.first.training(rung, done, total)
        self.second.training(rung, done, total)

    def snapshot(self, now: Snapshot) -> None:
        self.first.snapshot(now)
        self.second.snapshot(now)

    def note(self, line: str) -> None:
        self.first.note(line)
        self.second.note(line)
