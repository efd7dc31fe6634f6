"""Strategies of ours beside searches of other libraries, on one recorded table in one run.

    python benchmarks/peers.py [--config table_digits] [--seeds N] [--seed K] [--budget N]
                               [--strategies rl,random,...] [--peers optuna_tpe,...]
                               [--out FOLDER] [--json FILE] [--quick]

Needs the extra `peers`. Everyone has the same table, noise, budget of distinct functions and seeds;
what preflight rejects and what is known already is free for all. Our strategies run as the config
says; the others (`rivals.py`) are told one by one and train every function in full. `--json` has
the keys of comparison.json; `--out` also keeps every run, a line each, figures and tables, and the
same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from reporting import (
    add_arguments,
    add_runs,
    print_table,
    run_folder,
    search_config,
    write_json,
)
from rich.console import Console
from rich.progress import track
from rivals import PACKAGES, RIVALS, Spent

from hybridsearch.comparison.field import field_of_table
from hybridsearch.comparison.play import Replay, replay, steps_of, table_of
from hybridsearch.comparison.run import TRACES, check, conclude, played, run_config
from hybridsearch.comparison.summary import Summary
from hybridsearch.comparison.trace import Ledger, Trace, run_digest
from hybridsearch.comparison.words import spell, verdict
from hybridsearch.config import Config
from hybridsearch.digests import dump
from hybridsearch.errors import UserError
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.index import representative
from hybridsearch.genome.preflight import inspect
from hybridsearch.genome.units import Tokens
from hybridsearch.ladder import Ascent, Climb, Ladder
from hybridsearch.store.disk import hold
from hybridsearch.tables.replay import TableEvaluator, table_config
from hybridsearch.tables.table import Table, load_table
from hybridsearch.threads import one_thread

VERSION = 1  # raised by every change after which the same rival gives another trace
OURS = "random,regularized,evolution,local,rl,hybrid"
MOST = 20  # proposals per function of the budget, after which a rival that only repeats is stopped


@dataclass(frozen=True)
class Play:
    """A run of a rival on a table. run: its digest. table: file or name; digest: the table's."""

    run: str
    rival: str
    config: Config
    table: str
    digest: str

    @property
    def title(self) -> str:
        return f"{self.rival}, seed {self.config.seed}"


class Asked:
    """The table as a function from genomes to rewards, and the trace of what was asked.

    Every new function is trained in full. Raises `Spent` when the budget of distinct functions is
    used up, or proposals bring nothing new any more.
    """

    def __init__(self, table: Table, config: Config) -> None:
        full = config.model_copy(
            update={"fidelity": config.fidelity.model_copy(update={"rungs": (1.0,)})}
        )
        self.ladder = Ladder(full, TableEvaluator(table, full))
        self.budget, self.asked = config.budget, 0
        self.known: dict[str, float] = {}  # key -> reward
        self.trained: list[tuple[str, float]] = []  # key, fitness; in order

    def __call__(self, genomes: Sequence[Tokens]) -> list[float]:
        return [self._one(genome) for genome in genomes]

    def _one(self, genome: Tokens) -> float:
        self.asked += 1
        if self.asked > MOST * self.budget:
            raise Spent
        (found,) = inspect([genome])
        if found.key not in self.known:
            self.known[found.key] = 0.0 if found.rejected else self._train(found.form, found.key)
        return self.known[found.key]

    def _train(self, form: Tokens, key: str) -> float:
        if len(self.trained) == self.budget:
            raise Spent
        spec = str(Genome(representative(form, key)))
        ascent = Ascent([Climb(key, spec)])  # to the one rung that there is
        done = self.ladder.evaluator.evaluate(self.ladder.tasks(ascent))
        self.ladder.go_on(ascent, {e.task: e for e in done}, len(self.trained))
        self.ladder.learn(ascent.children)
        (fitness,) = self.ladder.fitness(ascent.children)
        assert fitness is not None  # a table never fails
        self.trained.append((key, fitness))
        return self.ladder.scale.reward(fitness)


def play(job: Play) -> Trace:
    """Let a rival search a table, in a worker."""
    table = table_of(job.table, job.digest)
    asked = Asked(table, job.config)
    with one_thread():
        try:
            RIVALS[job.rival](job.config.space.space(), job.config.seed, asked)
            ended = "it has nothing left to propose"
        except Spent:
            whole = len(asked.trained) == job.config.budget
            ended = "the budget is used up" if whole else "it only repeats itself"
    top = len(steps_of(job.config)) - 2
    return Trace(
        job.run,
        job.rival,
        job.config.seed,
        tuple(table.index[key] for key, _ in asked.trained),
        tuple(fitness for _, fitness in asked.trained),
        (top,) * len(asked.trained),
        ended,
    )


def rival_digest(rival: str, config: Config, table: Table) -> str:
    """Identifies a rival's run: 32 hex digits."""
    package = PACKAGES[rival.partition("_")[0]]
    try:
        which = version(package)
    except PackageNotFoundError as error:
        raise UserError(
            f"{rival} needs {package}: pip install -c constraints.txt -e '.[peers]', or leave it "
            "out of --peers"
        ) from error
    parts = [VERSION, rival, which, config.seed, config.budget, table.digest]
    return hashlib.blake2b(dump(parts).encode(), digest_size=16).hexdigest()


def compare(config: Config, names: Sequence[str], seeds: int, folder: Path) -> Summary:
    """Run what is missing in `folder`, write its figures and tables, and return the numbers."""
    if ours := [name for name in names if name not in RIVALS]:
        check(ours, seeds, config)
    assert config.table is not None
    table = load_table(config.table)
    config, field = table_config(table, config), field_of_table(table)
    TableEvaluator(table, config)  # fails before anything is run
    wanted: dict[str, Replay | Play] = {}
    for seed in range(config.seed, config.seed + seeds):
        for name in names:
            if name in RIVALS:
                one = config.model_copy(update={"seed": seed})
                run = rival_digest(name, one, table)
                wanted[run] = Play(run, name, one, config.table, table.digest)
            else:
                one = run_config(config, name, seed)
                run = run_digest(one, table.digest)
                wanted[run] = Replay(run, one, config.table, table.digest)
    folder.mkdir(parents=True, exist_ok=True)
    with hold(folder), Ledger(folder / TRACES) as ledger:
        missing = {run: job for run, job in wanted.items() if run not in ledger}
        steps = track(played(_run, missing, config), "Searching", len(missing), console=Console())
        for trace in steps:
            ledger.add(trace)
        traces = [ledger[run] for run in wanted]
    traces.sort(key=lambda t: (names.index(t.strategy), t.seed))
    return conclude(folder, traces, field, config, f"the recorded table {config.table}")


def _run(job: Replay | Play) -> Trace:
    return play(job) if isinstance(job, Play) else replay(job)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_arguments(parser)
    parser.add_argument("--config", default="table_digits", help="of a search on a table")
    add_runs(parser)
    parser.add_argument("--strategies", default=OURS, help="ours, with commas between them")
    parser.add_argument("--peers", default=",".join(RIVALS), help="others, with commas between")
    options = parser.parse_args()
    names = [n for n in f"{options.strategies},{options.peers}".split(",") if n]
    if options.quick:
        options.seeds, options.budget = 2, 60
    with run_folder(parser, options.out) as folder:
        config = search_config(options.config, options)
        if not config.table:
            raise UserError(f"--config {options.config}: names no table to search on")
        summary = compare(config, names, options.seeds, folder)
    show(summary)
    write_json(options.json, summary.to_json())
    return 0


def show(summary: Summary) -> None:
    """Print a row per search, and how often ours are better than the others."""
    print_table(
        f"{summary.seeds} seeds, {summary.budget:,} distinct functions; target set "
        f"{summary.field.target_size} of {summary.field.size:,}",
        ["search", "mean regret 1-300", "regret at 300", "until target", "until top 1%"],
        [
            [
                name,
                spell(s.early),
                spell(s.at.get(300)),
                spell(s.times["to_target"]),
                spell(s.times["to_good"]),
            ]
            for name, s in summary.strategies.items()
        ],
        "interquartile means and medians, 95% intervals",
    )
    better: dict[tuple[str, str], str] = {}
    for pair in summary.pairs:
        mark = "" if "no difference" in verdict(pair) else "*"
        better[pair.a, pair.b] = f"{pair.better.mean:.2f}{mark}"
        better[pair.b, pair.a] = f"{1 - pair.better.mean:.2f}{mark}"
    others = [name for name in summary.strategies if name in RIVALS]
    print_table(
        "P(ours is better) on the mean regret",
        ["ours", *others],
        [
            [name, *(better[name, other] for other in others)]
            for name in summary.strategies
            if name not in RIVALS
        ],
        "* shown: Holm's p below 0.05",
    )


if __name__ == "__main__":
    raise SystemExit(main())
