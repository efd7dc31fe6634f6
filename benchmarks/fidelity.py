"""What early stopping saves, and what it costs: the same searches with and without it.

    python benchmarks/fidelity.py [--tables digits,cifar10] [--strategies hybrid,...] [--seeds N]
                                  [--seed K] [--budget N] [--out FOLDER] [--json FILE] [--quick]
    python benchmarks/fidelity.py --train CONFIG --out FOLDER [--strategies hybrid] [--seeds N] ...

Three ways to spend training steps on the same budget of functions: `full` trains every function to
the end, `rungs` is the default (stopped by forecast), `scores` has the same rungs and stops by the
score alone. On tables the truth about the last incumbent is the table's. With --train children are
trained as CONFIG says, and the truth is what the incumbent scores on the retest's fresh seeds.
`difference_high` is the upper end of the 95% interval of what `rungs` loses to `full`, to be
compared with `replicate_standard_error`, that of one training of a function of the best tenth. With
--out every run is kept, and the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from replays import measured
from reporting import (
    add_arguments,
    add_runs,
    listed,
    print_table,
    run_folder,
    search_config,
    write_json,
)
from rich.console import Console
from rich.progress import track

from hybridsearch.analysis.runs import SUMMARY
from hybridsearch.comparison.play import steps_of, train
from hybridsearch.comparison.run import check, run_config
from hybridsearch.comparison.summary import rng_for
from hybridsearch.comparison.trace import Trace, run_digest
from hybridsearch.comparison.words import number, spell
from hybridsearch.config import Config, FidelityConfig
from hybridsearch.errors import UserError
from hybridsearch.evidence.resampling import Interval
from hybridsearch.evidence.strategies import mean_difference
from hybridsearch.observe import Silent
from hybridsearch.tables.table import Table, load_table
from hybridsearch.types import Json

DEFAULT = FidelityConfig()
WAYS = {
    "full": {"rungs": (1.0,)},
    "rungs": {},
    "scores": {"forecast": False},
}
BEST = 10  # a replicate's noise is told of the best one in so many


@dataclass(frozen=True)
class Spent:
    """Runs of one strategy in one way. loss: [seeds], what the last incumbent lacks of the best (on
    a table), or minus its score; steps: [seeds], all training steps.
    """

    loss: NDArray[np.float64]
    steps: NDArray[np.float64]


def way(config: Config, name: str) -> Config:
    """The config with early stopping as a way says, the rest of it as by default."""
    return config.model_copy(update={"fidelity": DEFAULT.model_copy(update=WAYS[name])})


def replicate_error(table: Table) -> float:
    """The standard error of one replicate's validation score, over the best functions by truth."""
    best = np.argsort(-table.truth, kind="stable")[: len(table.truth) // BEST]
    scores = table.scores("validation")[best, :, -1]
    return float(np.sqrt(np.nanmean(np.nanvar(scores, axis=1, ddof=1))))


def on_table(
    config: Config, strategies: Sequence[str], seeds: int, folder: Path
) -> tuple[dict[str, dict[str, Spent]], float]:
    """strategy -> way -> what was spent, on the table of a config; and a replicate's error."""
    assert config.table is not None

    def searched(config: Config, strategy: str, name: str) -> Config:
        return way(config, name).labelled(strategy)

    ways = {
        (strategy, name): partial(searched, strategy=strategy, name=name)
        for strategy in strategies
        for name in WAYS
    }
    found: dict[str, dict[str, Spent]] = {}
    for (strategy, name), runs in measured(config, ways, seeds, folder).items():
        found.setdefault(strategy, {})[name] = Spent(
            np.array([run.regret[-1] for run in runs]),
            np.array([run.steps[-1] for run in runs], np.float64),
        )
    return found, replicate_error(load_table(config.table))


def trained(
    config: Config, strategies: Sequence[str], seeds: int, folder: Path
) -> tuple[dict[str, dict[str, Spent]], float]:
    """The same where children train: searches one after the other, each with a retest of its last
    incumbent, whom no race replaces.
    """
    config = config.model_copy(update={"race": config.race.model_copy(update={"candidates": 0})})
    runs = [
        (strategy, name, run_config(way(config, name), strategy, config.seed + k))
        for k in range(seeds)
        for strategy in strategies
        for name in WAYS
    ]
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    noise = []
    for strategy, name, one in track(runs, "Searching", console=Console()):
        digest = run_digest(one, "")
        place = folder / f"{one.label}-{name}-seed{one.seed}-{digest[:8]}"
        trace: Trace = train(digest, one, place, Silent())
        summary = json.loads((place / SUMMARY).read_text(encoding="utf-8"))
        if not summary["finalists"]:
            raise UserError(f"{place}: nothing was trained to the end; raise --budget")
        scores = summary["finalists"][0]["validation_scores"]
        noise.append(np.var(scores, ddof=1))
        steps = np.array(steps_of(one))[list(trace.rungs)].sum()
        found.setdefault(strategy, {}).setdefault(name, []).append(
            (-float(np.mean(scores)), float(steps))
        )
    spent = {
        strategy: {name: Spent(*np.array(rows).T) for name, rows in by_way.items()}
        for strategy, by_way in found.items()
    }
    return spent, float(np.sqrt(np.mean(noise)))


def result(spent: Mapping[str, Spent], gap: Interval, error: float) -> dict[str, Json]:
    """What goes into the JSON of one strategy. gap: what `rungs` loses to `full`."""
    made: dict[str, Json] = {"replicate_standard_error": error}
    for kind, of in spent.items():
        made[f"regret_{kind}"] = float(of.loss.mean())
        made[f"steps_{kind}"] = float(of.steps.mean())
    made |= {"steps_ratio": made["steps_rungs"] / made["steps_full"], "difference": gap.mean}
    made |= {"difference_low": gap.low, "difference_high": gap.high}
    return made


def losses(name: str, spent: Mapping[str, Spent]) -> dict[str, Interval]:
    """What every way loses to `full`, mean over seeds with its interval: drawn once, so that the
    table and the JSON say the same. name: of the task and the strategy.
    """
    full = spent["full"].loss
    return {
        way: mean_difference(of.loss, full, rng=rng_for(f"fidelity/{name}"))
        for way, of in spent.items()
        if way != "full"
    }


def rows(
    spent: Mapping[str, Mapping[str, Spent]], gaps: Mapping[str, Mapping[str, Interval]]
) -> Iterator[tuple[str, ...]]:
    """The table, a row each strategy and way. gaps: their `losses`."""
    for strategy, by_way in spent.items():
        full = by_way["full"]
        for name, of in by_way.items():
            share = of.steps.mean() / full.steps.mean()
            gap = "" if name == "full" else spell(gaps[strategy][name])
            yield strategy, name, f"{share:.3f}", number(float(of.loss.mean())), gap


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_arguments(parser)
    parser.add_argument("--tables", default="digits", help="recorded tables, with commas between")
    parser.add_argument("--train", metavar="CONFIG", help="train children as this config says")
    parser.add_argument("--strategies", default="hybrid", help="with commas between them")
    add_runs(parser)
    parser.set_defaults(budget=300)
    options = parser.parse_args(arguments)
    if options.quick:
        options.seeds, options.budget = 3, 40
    strategies, play = listed(options.strategies), trained if options.train else on_table
    sources = {name: f"table_{name}" for name in listed(options.tables)}
    if options.train:
        sources = {options.train: options.train}
    found: dict[str, Json] = {"seeds": [options.seed, options.seed + options.seeds]}
    found |= {"budget": options.budget, "rungs": list(DEFAULT.rungs), "keep": DEFAULT.keep}
    with run_folder(parser, options.out) as folder:
        for name, source in sources.items():
            config = search_config(source, options)
            check(strategies, options.seeds, config)
            spent, error = play(config, strategies, options.seeds, folder / name)
            gaps = {s: losses(f"{name}/{s}", ways) for s, ways in spent.items()}
            found[name] = {s: result(w, gaps[s]["rungs"], error) for s, w in spent.items()}
            print_table(
                f"{name}: {options.seeds} seeds, {options.budget} functions, "
                + ("minus the score" if options.train else "true regret")
                + f" of the last incumbent; one training has a standard error of {error:.4f}",
                ("strategy", "way", "share of steps", "loss", "more than full"),
                list(rows(spent, gaps)),
                "means; differences with 95% intervals over seeds",
            )
    write_json(options.json, found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
