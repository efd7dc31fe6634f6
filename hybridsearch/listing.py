"""All runs under some folders: one row each, damaged ones with the reason.

Of a finished run its summary is read, never its log; of others the config, and the log from its end
until there is a function.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hybridsearch.analysis.remarks import is_beaten
from hybridsearch.analysis.runs import CONFIG, ENVIRONMENT, LOG, SUMMARY, run_config
from hybridsearch.analysis.tables import gap_words
from hybridsearch.errors import UserError, told
from hybridsearch.observe import duration
from hybridsearch.store.disk import held_by, read_json
from hybridsearch.store.log import last_record
from hybridsearch.types import Json, Measure

OTHERS = ("functions.jsonl", "runs.jsonl")  # of recordings and comparisons, which have a config too


@dataclass(frozen=True)
class Row:
    """One run. state: "finished", "running", "stopped" or "damaged", and then `reason` says why.

    done, budget: distinct functions of how many. beaten_by: the baseline that no function found was
    better than on validation. difference: of the winner's and the best
    baseline's test metric, mean, low, high. started: ISO 8601. seconds: of search, race and
    retest; of what is not finished, from its start to its last record, or to now if it is running.
    """

    folder: str
    state: str
    reason: str = ""
    strategy: str = ""
    data: str = ""
    seed: int | None = None
    done: int | None = None
    budget: int | None = None
    winner: str = ""
    verdict: str = ""
    beaten_by: str = ""
    difference: tuple[float, float, float] | None = None
    metric: Measure | None = None
    started: str = ""
    seconds: float | None = None


def runs_under(folders: Sequence[Path]) -> list[Path]:
    """The folders of runs, the given ones among them; not within other runs, nor behind links.

    Raises: UserError when one of them is no folder.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is no folder; expected one with runs in it")
        for place, inside, files in os.walk(folder):
            inside.sort()
            if CONFIG in files:
                inside.clear()
                if not set(files) & set(OTHERS):
                    found[Path(place)] = None
    return list(found)


def row_of(folder: Path) -> Row:
    """What there is to say of a run; damage is told in the row."""
    try:
        finished = (folder / SUMMARY).is_file()
        return _finished(folder) if finished else _unfinished(folder)
    except UserError as error:
        return Row(str(folder), "damaged", " ".join(str(error).split()))
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        return Row(str(folder), "damaged", told(error))


def _finished(folder: Path) -> Row:
    summary = read_json(folder / SUMMARY)
    gap = summary["difference_to_best_baseline"]
    winner, budgets = summary["winner"], summary["budgets"]
    verdict = str(summary["verdict"])
    if "true_rank" in summary:
        verdict = f"number {int(summary['true_rank']):,} of its table"
    return Row(
        str(folder),
        "finished",
        strategy=str(summary["strategy"]),
        data=str(summary["data"]),
        seed=int(summary["seed"]),
        done=int(budgets["distinct"]),
        winner=str(winner["label"] if winner else summary["incumbent"] or ""),
        verdict=verdict,
        beaten_by=str(summary["best_baseline"]["label"]) if is_beaten(summary) else "",
        difference=(float(gap["mean"]), float(gap["low"]), float(gap["high"])) if gap else None,
        metric=Measure(**summary["metric"]),
        started=_started(folder),
        seconds=float(budgets["seconds"]) + float(summary["retest_seconds"]),
    )


def _unfinished(folder: Path) -> Row:
    config = run_config(folder)
    running = held_by(folder) is not None
    log, done = folder / LOG, 0
    started, seconds = _started(folder), None
    if log.is_file():
        last = last_record(log, lambda p: p["kind"] == "outcome" and p["order"] > 0)
        done = int(last["order"]) if last else 0
    if started:
        end = datetime.now().timestamp() if running or not log.is_file() else log.stat().st_mtime
        seconds = max(0.0, end - datetime.fromisoformat(started).timestamp())
    return Row(
        str(folder),
        "running" if running else "stopped",
        strategy=config.label,
        data=config.data.name,
        seed=config.seed,
        done=done,
        budget=config.budget,
        started=started,
        seconds=seconds,
    )


def _started(folder: Path) -> str:
    """When the run began; "" where nothing says."""
    try:
        text = str(read_json(folder / ENVIRONMENT)["started"])
        datetime.fromisoformat(text)
    except (UserError, KeyError, ValueError):
        return ""
    return text


def rows(folders: Sequence[Path]) -> list[Row]:
    """The runs under folders, the latest first. Raises: UserError as `runs_under` does."""
    every = [row_of(folder) for folder in runs_under(folders)]
    return sorted(every, key=_when, reverse=True)


def _when(row: Row) -> float:
    return datetime.fromisoformat(row.started).timestamp() if row.started else 0.0


def as_json(found: Sequence[Row]) -> dict[str, Json]:
    return {"runs": [asdict(row) for row in found]}


def show(found: Sequence[Row], console: Console) -> None:
    """Print a table of runs, and beneath it what is wrong with the damaged ones."""
    if not found:
        console.print("No runs.", highlight=False)
        return
    table = Table()
    for name in ("run", "strategy", "data"):
        table.add_column(name, overflow="fold")
    table.add_column("seed", justify="right")
    for name in ("state", "best found", "verdict", "above best baseline"):
        table.add_column(name, overflow="fold")
    table.add_column("started", overflow="fold")
    table.add_column("took", justify="right")
    for row in found:
        table.add_row(*map(escape, _cells(row)))
    console.print(table)
    for row in found:
        if row.reason:
            console.print(f"{row.folder}: {row.reason}", highlight=False, markup=False)


def _cells(row: Row) -> list[str]:
    state = row.state
    if row.state in ("running", "stopped"):
        state = f"{row.state} at {row.done:,} of {row.budget:,}"
    gap = ""
    if row.difference and row.metric:
        ends = dict(zip(("mean", "low", "high"), row.difference, strict=True))
        gap = "{} ({})".format(*gap_words(ends, row.metric))
    when = ""
    if row.started:
        when = datetime.fromisoformat(row.started).astimezone().strftime("%Y-%m-%d %H:%M")
    seed = "" if row.seed is None else str(row.seed)
    took = "" if row.seconds is None else duration(row.seconds)
    verdict = row.verdict
    if row.beaten_by:
        advice = "not on validation" if verdict == "better" else f"keep {row.beaten_by}"
        verdict = f"{verdict}; {advice}"
    named = [row.folder, row.strategy, row.data, seed, state]
    return [*named, row.winner, verdict, gap, when, took]
