"""One run of a comparison: a lean search on a table, or an ordinary run that trains."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from threadpoolctl import threadpool_limits

from hybridsearch.analysis.runs import CONFIG, load_run
from hybridsearch.comparison.trace import Trace
from hybridsearch.config import Config
from hybridsearch.engine import Search
from hybridsearch.fidelity import rung_steps
from hybridsearch.observe import Observer, Silent, Snapshot
from hybridsearch.records import MemoryRecorder
from hybridsearch.session import make_proposer, resume, search
from hybridsearch.tables.replay import TableEvaluator
from hybridsearch.tables.table import Table, load_table
from hybridsearch.threads import one_thread


@dataclass(frozen=True)
class Replay:
    """A run to be made on a table. run: its digest. table: file or name; digest: the table's."""

    run: str
    config: Config
    table: str
    digest: str

    @property
    def title(self) -> str:
        return f"{self.config.label}, seed {self.config.seed}"


def replay(job: Replay) -> Trace:
    """Search on a table, in a worker: no log, no cache, no checkpoint."""
    table = table_of(job.table, job.digest)
    evaluator = TableEvaluator(table, job.config)
    with one_thread(), threadpool_limits(1):
        searched = Search(
            job.config, make_proposer(job.config), MemoryRecorder(evaluator), Silent(), None
        )
        ended = searched.run()
    # What is known is in the order of evaluation.
    evaluated = [(key, entry) for key, entry in searched.known.items() if entry.order]
    return Trace(
        job.run,
        job.config.label,
        job.config.seed,
        tuple(table.index[key] for key, _ in evaluated),
        tuple(float(entry.score) for _, entry in evaluated),
        tuple(entry.rung for _, entry in evaluated),
        ended,
    )


@lru_cache(maxsize=2)
def table_of(name: str, digest: str) -> Table:
    """Loaded once per worker and content."""
    return load_table(name)


def train(run: str, config: Config, folder: Path, observer: Observer) -> Trace:
    """Search with real training, and retest, in a folder of its own; goes on where it stopped."""
    observer = _Within(observer)
    if (folder / CONFIG).exists():
        summary = resume(folder, observer)
    else:
        summary = search(config, folder, observer)
    evaluated = sorted(load_run(folder).distinct, key=lambda o: int(o["order"]))
    return Trace(
        run,
        config.label,
        config.seed,
        tuple(o["key"] for o in evaluated),
        tuple(float(o["fitness"]) for o in evaluated),
        tuple(o["rung"] for o in evaluated),
        summary["ended"],
        {f["key"]: f["validation"] for f in (*summary["finalists"], *summary["baselines"])},
        {o["key"]: o["function"] for o in evaluated},
    )


class _Within(Silent):
    """Tells the observer of a comparison how far the search of one run is."""

    def __init__(self, outer: Observer) -> None:
        self._outer = outer

    def snapshot(self, now: Snapshot) -> None:
        self._outer.advance(now.distinct)

    def note(self, line: str) -> None:
        self._outer.note(line)


def steps_of(config: Config) -> tuple[int, ...]:
    """The training steps of a function by the last rung it reached, -1 (none) at the end."""
    return (*rung_steps(config.fidelity, config.training.steps), 0)
