"""A run watched from another process: its log is read as it grows, and nothing else is touched."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from shlex import quote

from rich.console import Console
from rich.markup import escape

from hybridsearch.analysis.runs import ENVIRONMENT, LOG, SUMMARY, read_summary, run_config
from hybridsearch.analysis.tables import show_summary
from hybridsearch.errors import UserError
from hybridsearch.follow import Follow
from hybridsearch.observe import Snapshot, duration
from hybridsearch.progress import WORDS, Display, describe, scored
from hybridsearch.store.disk import LOCK, held_by, read_json
from hybridsearch.store.log import Follower
from hybridsearch.types import Json

EVERY = 1.0  # seconds between looks
GONE = 2  # looks in a row without a holder and without news, after which the driver is gone
FIRST = 60.0  # seconds from a run's start to its lock, if nothing was resumed since


class Watched:
    """A run's folder, its log followed. Raises: UserError when it holds no run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.course = Follow(run_config(folder))
        self._log = Follower(folder / LOG)
        self.finished, self.holder, self.news = False, held_by(folder), False

    def look(self) -> None:
        """Read what is new. Raises: UserError when the log is damaged."""
        # First whether it is finished: then all that comes after is in the log already.
        self.finished = (self.folder / SUMMARY).is_file()
        self.holder = held_by(self.folder)
        records = self._log.read()
        self.news = bool(records)
        try:
            self.course.see(records)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{self.folder / LOG}: a record of another form: {error}") from error

    @property
    def state(self) -> str:
        """In words: finished, running or stopped."""
        stage = self.course.stage()
        if self.finished:
            return "finished"
        where = f"{stage.done:,} of {stage.total:,}"
        if stage.name != "search":
            where = f"{WORDS[stage.name].lower()}: {where}"
        if self.holder is not None:
            return f"running (process {self.holder}), {where}"
        return f"stopped at {where}"

    def left(self) -> float | None:
        """About how many seconds the search still takes; None where nothing tells.

        The pace is that of this session, and what a resumed one began with is not in the log.
        """
        stage, config = self.course.stage(), self.course.config
        begun = self._begun()
        if self.holder is None or begun is None or stage.name != "search" or self.course.ended:
            return None
        spent = time.time() - begun
        limit = None if config.seconds is None else max(0.0, config.seconds - spent)
        if not stage.done:
            return limit
        rest = spent / stage.done * (stage.total - stage.done)
        return rest if limit is None else min(rest, limit)

    def snapshot(self) -> Snapshot:
        """What the search would tell, with its seconds where there was one session only."""
        begun = self._begun()
        seconds = 0.0 if begun is None else time.time() - begun
        return replace(self.course.snapshot(), seconds=seconds)

    def _begun(self) -> float | None:
        """When the only session of a run began; None where there were several."""
        try:
            locked = (self.folder / LOCK).stat().st_mtime
            started = str(read_json(self.folder / ENVIRONMENT)["started"])
            apart = locked - datetime.fromisoformat(started).timestamp()
        except (OSError, UserError, KeyError, ValueError):
            return None
        return locked if abs(apart) < FIRST else None

    def recent(self) -> tuple[str, ...]:
        """The last functions, the latest first."""
        lines = []
        for outcome in reversed(self.course.recent):
            fitness = outcome["fitness"]
            score = "not scored" if fitness is None else scored(fitness, self.course.config.fitness)
            how = f"rung {outcome['rung'] + 1}" if outcome["status"] == "ok" else outcome["status"]
            by = f"{how}, by {outcome['proposer']}"
            lines.append(f"#{outcome['id']}  {score}  {outcome['formula']}  ({by})")
        return tuple(lines)

    def summary(self) -> dict[str, Json]:
        """As `Run.summary`, but read anew, and with where it is."""
        return {**read_summary(self.folder, self.course.config), "folder": str(self.folder)}


def watch(folder: Path, console: Console, once: bool = False, every: float = EVERY) -> int:
    """Follow a run until it is finished or its driver is gone; returns the exit status: 0, or 1
    when it is gone.

    once: only say how it is. every: seconds between looks. Raises: UserError when the folder holds
    no run, or what it holds is damaged.
    """
    run = Watched(folder)
    run.look()
    if once or not console.is_terminal:
        _say(run, console)
    if once:
        return 0
    if not run.finished:
        _follow(run, console, every)
    if run.finished:
        _verdict(run, console)
        return 0
    console.print(
        f"No process of this machine runs it any more; it {run.state}. "
        f"Continue: python -m hybridsearch resume {escape(quote(str(folder)))}",
        highlight=False,
        soft_wrap=True,
    )
    return 1


def _follow(run: Watched, console: Console, every: float) -> None:
    """Show a run until it is finished or nobody runs it."""
    gone, stage = 0, ""
    with Display(console) as display:
        while not run.finished and gone < GONE:
            stage = _tell(run, display, stage)
            time.sleep(every)
            run.look()
            gone = gone + 1 if run.holder is None and not run.news else 0
        _tell(run, display, stage)


def _tell(run: Watched, display: Display, before: str) -> str:
    """Show how it is; returns the stage."""
    stage, course = run.course.stage(), run.course
    if stage.name != before:
        display.stage(stage.name, stage.total)
    display.snapshot(run.snapshot())
    display.below = run.recent() if stage.name == "search" else ()
    if stage.name == "search" and course.on_rung:
        display.training(course.rung, course.on_rung, 0)
    display.advance(stage.done)
    return stage.name


def _say(run: Watched, console: Console) -> None:
    """The state as lines."""
    course = run.course
    rows = [("state", run.state), *describe(course.snapshot())]
    if course.ended:
        rows.append(("search ended", course.ended))
    elif course.on_rung and run.holder is not None:
        rows.append(("now", f"rung {course.rung}, {course.on_rung} trained in this batch"))
    if (left := run.left()) is not None:
        rows.append(("time left", f"about {duration(left)} of search"))
    wide = max(len(what) for what, _ in rows)
    lines = [f"{what:<{wide}}  {value}" for what, value in rows]
    lines += [f"{'recent' if not k else '':<{wide}}  {r}" for k, r in enumerate(run.recent())]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _verdict(run: Watched, console: Console) -> None:
    summary = run.summary()
    try:
        show_summary(summary, console)
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{run.folder / SUMMARY}: expected a summary, {error} is missing"
        ) from error
