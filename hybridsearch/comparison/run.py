"""A comparison from its config to its folder: every strategy with every seed, then the numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import yaml

from hybridsearch.comparison.field import Field, field_of_table, field_of_traces
from hybridsearch.comparison.folder import write_comparison
from hybridsearch.comparison.measures import Measures, measure
from hybridsearch.comparison.play import Replay, replay, steps_of, train
from hybridsearch.comparison.summary import Summary, summarise
from hybridsearch.comparison.trace import Ledger, Trace, run_digest
from hybridsearch.config import Config
from hybridsearch.environment import environment
from hybridsearch.errors import UserError, nearest
from hybridsearch.evaluate.evaluator import pick_workers, unmanned
from hybridsearch.observe import Observer, Silent
from hybridsearch.past import settled
from hybridsearch.pools.failure import Failure
from hybridsearch.pools.make import make_pool
from hybridsearch.session import STRATEGIES, make_proposer, source_name
from hybridsearch.store.disk import hold, make_folder, write_json, write_text
from hybridsearch.store.folders import expect_nothing_lost, expect_own
from hybridsearch.tables.replay import TableEvaluator, table_config
from hybridsearch.tables.table import Table, load_table

TRACES, CONFIG, ENVIRONMENT = "runs.jsonl", "config.yaml", "environment.json"
LIMIT = 1800.0  # seconds that a run on a table may take: a thousand times what it does take


class Job(Protocol):
    """A run that a worker can make. title: who it is, for people."""

    @property
    def title(self) -> str: ...


J = TypeVar("J", bound=Job)


def compare(
    config: Config,
    strategies: Sequence[str],
    seeds: int,
    out: str | Path | None = None,
    observer: Observer | None = None,
) -> Summary:
    """Run every strategy with seeds config.seed, +1, ...; write the comparison's folder.

    On a table (config.table) runs are replayed side by side in workers; else they train, one after
    the other, each as an ordinary run in a folder of its own. What is there already is not run
    again, as long as its settings are the same. Raises: UserError with one line for anything the
    user can mend.
    """
    observer, folder = observer or Silent(), Path(out) if out else default_folder(config)
    check(strategies, seeds, config)
    table = load_table(config.table) if config.table else None
    field = field_of_table(table) if table else None
    context, chance = "", 0.0
    if table:
        config = table_config(table, config)
    else:
        training = unmanned(config)
        context, chance = training.context, training.scale.chance
    wanted = {
        run_digest(one, table.digest if table else "", context): one
        for one in (
            run_config(config, s, config.seed + k) for s in strategies for k in range(seeds)
        )
    }
    for one in wanted.values():
        if one.seed == config.seed:  # fails before anything is written
            make_proposer(one)
            if table:
                TableEvaluator(table, one)
    expect_own(folder, "comparison")
    expect_nothing_lost(folder, "comparison")
    make_folder(folder)
    asked = {"strategies": list(strategies), "seeds": seeds}
    with hold(folder), Ledger(folder / TRACES) as ledger:
        write_json(folder / ENVIRONMENT, {**asked, **environment()})
        write_text(folder / CONFIG, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
        missing = {run: one for run, one in wanted.items() if run not in ledger}
        done = config.budget * (len(wanted) - len(missing))
        if done:
            observer.note(f"{len(wanted) - len(missing)} of {len(wanted)} runs are there already")
        observer.stage("compare", config.budget * len(wanted))
        observer.advance(done)
        made = (
            played(replay, {run: _replay(run, one, table) for run, one in missing.items()}, config)
            if table
            else _trained(missing, folder, observer, done)
        )
        for trace in made:
            if not trace.functions:
                raise UserError(f"{trace.strategy}, seed {trace.seed}: nothing was evaluated")
            ledger.add(trace)
            done += config.budget
            observer.advance(done)
        traces = [ledger[run] for run in wanted]
    if field is None:
        field = field_of_traces(traces, chance, len(steps_of(config)) - 2)
    where = f"the recorded table {config.table}" if table else f"{config.data.name}, trained"
    return conclude(folder, traces, field, config, where)


def default_folder(config: Config) -> Path:
    """comparisons/DATA, or comparisons/table-NAME."""
    return Path("comparisons", source_name(config))


def check(strategies: Sequence[str], seeds: int, config: Config) -> None:
    """Raises: UserError for what cannot be compared."""
    for place, name in enumerate(strategies):
        if config.labelled(name).strategy not in STRATEGIES:
            raise UserError(f"--strategies: unknown strategy {name!r}{nearest(name, STRATEGIES)}")
        if name in strategies[:place]:
            raise UserError(f"--strategies: {name} is listed twice")
    if not strategies:
        raise UserError("--strategies: expected names with commas between them, got none")
    if seeds < 1:
        raise UserError(f"--seeds: expected 1 or more, got {seeds}")
    if config.seconds is not None:
        raise UserError("compare: --seconds gives every run another budget; leave it out")


def run_config(config: Config, strategy: str, seed: int) -> Config:
    """The config of one run of a comparison. strategy: a label (`Config.labelled`)."""
    return settled(config.labelled(strategy).model_copy(update={"seed": seed}))


def _replay(run: str, config: Config, table: Table) -> Replay:
    assert config.table is not None
    return Replay(run, config, config.table, table.digest)


def played(play: Callable[[J], Trace], jobs: Mapping[str, J], config: Config) -> Iterator[Trace]:
    """The traces of runs on a table, played side by side in workers, as they end.

    Raises: UserError naming the run that failed.
    """
    if not jobs:
        return
    kind = "inline" if config.pool == "inline" else "loky"  # a table takes no cluster
    pool = make_pool(kind, min(pick_workers(config, ["cpu"]), len(jobs)))
    try:
        for run, trace in pool.run(play, jobs, LIMIT):
            if isinstance(trace, Failure):
                raise UserError(f"{jobs[run].title}: the run {trace.message}")
            yield trace
    finally:
        pool.close()


class _Offset(Silent):
    """Adds what earlier runs have done to what the present one tells."""

    def __init__(self, outer: Observer, done: int) -> None:
        self._outer, self.done = outer, done

    def advance(self, done: int) -> None:
        self._outer.advance(self.done + done)

    def note(self, line: str) -> None:
        self._outer.note(line)


def _trained(
    missing: Mapping[str, Config], folder: Path, observer: Observer, done: int
) -> Iterator[Trace]:
    """The runs that train, one after the other, seed by seed; each has workers of its own."""
    ordered = sorted(missing.items(), key=lambda item: item[1].seed)
    for number, (run, one) in enumerate(ordered):
        observer.note(f"{one.label}, seed {one.seed}")
        place = folder / "runs" / f"{one.label}-seed{one.seed}-{run[:8]}"
        yield train(run, one, place, _Offset(observer, done + number * one.budget))


def conclude(
    folder: Path, traces: Sequence[Trace], field: Field, config: Config, where: str
) -> Summary:
    """Measure the runs, write the comparison's folder, and return its numbers.

    traces: strategy by strategy, seed by seed. where: what answered, in words.
    """
    steps = steps_of(config)
    runs: dict[str, list[Measures]] = {}
    for trace in traces:
        runs.setdefault(trace.strategy, []).append(measure(trace, field, steps, config.budget))
    summary = summarise(runs, field, config.budget)
    write_comparison(folder, traces, runs, summary, config, where)
    return summary
