"""What a person sees while a run goes on: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from hybridsearch.genome.function import resolve
from hybridsearch.observe import Snapshot, duration
from hybridsearch.types import fitness_words

TELLING, SHARE = 20, 0.1  # done of a stage, one of them, before what is left is guessed
PLAIN_EVERY = 10.0  # seconds between lines where there is no terminal
WORDS = {
    "search": "Searching",
    "race": "Training the best again, to see who is a finalist",
    "retest": "Retraining finalists and baselines on fresh seeds",
    "test": "Opening the test split",
    "duel": "Training winner and best baseline from seeds that named neither",
    "compare": "Comparing strategies",
}


def describe(now: Snapshot) -> list[tuple[str, str]]:
    """The counts of a search as (what, value) pairs."""
    best = resolve(now.incumbent).label if now.incumbent else "none yet"
    score = "" if now.fitness is None else f"  ({scored(now.fitness, now.scored)} on validation)"
    return [
        ("proposals", f"{now.proposals:,}"),
        ("distinct", f"{now.distinct:,} of {now.budget:,}"),
        ("trained", f"{now.trained:,}"),
        ("cache hits", f"{now.cache_hits:,}"),
        ("rejected", f"{now.rejected:,}"),
        ("best so far", best + score),
    ]


def scored(fitness: float, what: str) -> str:
    """A fitness in words that people know. what: the setting `fitness`."""
    if what == "loss":
        return f"loss {fitness_words(-fitness)}"
    words = fitness_words(fitness)
    return f"accuracy {words}" if what == "accuracy" else words


class Display:
    """An observer that shows a run. Use it as a context manager.

    first: a line to begin with, when it is certain that something begins.
    """

    def __init__(self, console: Console, first: str = "") -> None:
        self.console, self._first = console, first
        self._now = Snapshot(budget=1)
        self._name, self._total, self._done = "search", 1, 0
        self._rung = ""
        self.below: tuple[str, ...] = ()  # lines under the counts of a search, plain text
        self._begun: tuple[float, int] | None = None  # time and work done at a stage's first sign
        self._said = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rung]}", style="dim"),
            TextColumn("{task.fields[left]}"),
            console=console,
        )
        self._task = self._bar.add_task("", total=None, rung="", left="")
        self._live: Live | None = None
        if console.is_terminal:
            self._live = Live(get_renderable=self._render, console=console, refresh_per_second=8)

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def stage(self, name: str, total: int) -> None:
        if self._first:
            self.note(self._first)
            self._first = ""
        self._name, self._total, self._done, self._rung = name, total, 0, ""
        self._begun = None
        words = WORDS.get(name, name)
        self._bar.reset(self._task, total=total, description=words, rung="")
        if not self._live:
            self.console.print(f"{words}: {total:,} {self._unit()}")

    def advance(self, done: int) -> None:
        self._done = done
        self._begun = self._begun or (time.monotonic(), done)  # what was there took no time
        self._bar.update(self._task, completed=done)
        self._line()

    def training(self, rung: int, done: int, total: int) -> None:
        self._rung = f"rung {rung}: {done}/{total}" if total else f"rung {rung}: {done}"
        self._bar.update(self._task, rung=self._rung)
        self._line()

    def snapshot(self, now: Snapshot) -> None:
        self._now = now

    def note(self, line: str) -> None:
        (self._live.console if self._live else self.console).print(
            line, highlight=False, markup=False, soft_wrap=True
        )

    def _unit(self) -> str:
        return "functions" if self._name in ("search", "compare") else "trainings"

    def _render(self) -> Group:
        self._bar.update(self._task, left=self._left())
        if self._name == "compare":  # many searches, none of which is shown
            return Group(self._bar)
        table = Table.grid(padding=(0, 2))
        for what, value in describe(self._now):
            table.add_row(what, value)
        lines = [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in self.below]
        return Group(table, *lines, self._bar)

    def _left(self) -> str:
        """About how long the stage still takes; "" while the first pieces of work tell little."""
        if not self._begun:
            return ""
        begun, before = self._begun
        done = self._done - before
        if not done or done < min(TELLING, SHARE * (self._total - before)):
            return ""
        left = (time.monotonic() - begun) / done * (self._total - self._done)
        if self._name == "search" and self._now.limit is not None:
            left = min(left, max(0.0, self._now.limit - self._now.seconds))
        return f"about {duration(left)} left"

    def _line(self) -> None:
        """A plain line now and then, so that a log file shows life."""
        if self._live or time.monotonic() - self._said < PLAIN_EVERY:
            return
        self._said = time.monotonic()
        parts = [f"{self._done:,}/{self._total:,} {self._unit()}"]
        if self._name == "search":
            parts += [
                f"{what} {value}" for what, value in describe(self._now) if what != "distinct"
            ]
            parts.append(self._rung)
        parts.append(self._left())
        line = "  ".join(part for part in parts if part)
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)
