"""Searches on a recorded table whose settings differ, each kept, so that a program goes on."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from hybridsearch.comparison.field import field_of_table
from hybridsearch.comparison.measures import Measures, measure
from hybridsearch.comparison.play import Replay, replay, steps_of
from hybridsearch.comparison.run import TRACES, played, run_config
from hybridsearch.comparison.trace import Ledger, run_digest
from hybridsearch.config import Config
from hybridsearch.store.disk import hold
from hybridsearch.tables.replay import table_config
from hybridsearch.tables.table import load_table

K = TypeVar("K", bound=Hashable)


def measured(
    config: Config, ways: Mapping[K, Callable[[Config], Config]], seeds: int, folder: Path
) -> dict[K, list[Measures]]:
    """The measures of every way to search the table of a config, a run per seed from config.seed.

    ways: from the config of the table to that of the way.
    """
    assert config.table is not None
    table = load_table(config.table)
    config, field = table_config(table, config), field_of_table(table)
    wanted: dict[K, list[Replay]] = {}
    for name, way in ways.items():
        one = way(config)
        runs = [run_config(one, one.label, config.seed + k) for k in range(seeds)]
        wanted[name] = [
            Replay(run_digest(run, table.digest), run, config.table, table.digest) for run in runs
        ]
    folder.mkdir(parents=True, exist_ok=True)
    with hold(folder), Ledger(folder / TRACES) as ledger:
        missing = {j.run: j for jobs in wanted.values() for j in jobs if j.run not in ledger}
        made = played(replay, missing, config)
        for trace in track(made, "Searching", len(missing), console=Console()):
            ledger.add(trace)
        return {
            name: [
                measure(ledger[job.run], field, steps_of(job.config), config.budget) for job in jobs
            ]
            for name, jobs in wanted.items()
        }
