"""How few trainings a search needs: every strategy, plain and screened, on recorded tables.

    python benchmarks/efficiency.py [--tables digits,cifar10] [--seeds N] [--seed K] [--budget N]
                                    [--out FOLDER] [--json FILE] [--quick]

Per table the comparison of `python -m hybridsearch compare` (`hybrid-experience` is the hybrid
whose model has not seen other tables), and two things more: the training steps until a function of
the target set was trained, and `portfolio`, in which the screened controller and the screened
population share a budget half and half and learn nothing of each other. Without exchange the two
are independent, so it is put together from their own runs, in turns of a batch. With `--out` every
run is kept, a line each, and the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
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

from hybridsearch.comparison.field import field_of_table
from hybridsearch.comparison.measures import Measures, measure
from hybridsearch.comparison.play import steps_of
from hybridsearch.comparison.run import TRACES, compare, run_config
from hybridsearch.comparison.summary import Summary, estimate, of_runs, rng_for, summarise
from hybridsearch.comparison.trace import Ledger, Trace, run_digest
from hybridsearch.comparison.words import ONE_SEED, share, spell, turned
from hybridsearch.config import Config
from hybridsearch.evidence.resampling import Interval
from hybridsearch.evidence.statistics import probability_better
from hybridsearch.evidence.strategies import censored_median, holm, paired_p
from hybridsearch.progress import Display
from hybridsearch.tables.replay import table_config
from hybridsearch.tables.table import load_table
from hybridsearch.types import Json

PLAIN = ("random", "regularized", "local", "evolution", "rl-screen", "hybrid-screen")
PARTS = ("rl", "evolution+screen")
SCREENED = ("random+screen", *PARTS, "hybrid-experience", "hybrid")
PORTFOLIO = "portfolio"


def interleave(one: Trace, other: Trace, asks: Callable[[int], int]) -> Trace:
    """Two runs as one, a batch of each in turn; what both found counts once, where it came first.

    Each goes on for as long as the budget of both together lasts. asks: how many functions a batch
    of either has that knows so many.
    """
    rows = [list(zip(t.functions, t.fitness, t.rungs, strict=True)) for t in (one, other)]
    merged: dict[Any, tuple[float, int]] = {}
    start = 0
    while start < max(map(len, rows)):
        end = start + asks(start)
        for part in rows:
            for function, fitness, rung in part[start:end]:
                merged.setdefault(function, (fitness, rung))
        start = end
    budget = max(len(one.functions), len(other.functions))
    kept = list(merged.items())[:budget]
    return Trace(
        f"{one.run}+{other.run}",
        PORTFOLIO,
        one.seed,
        tuple(function for function, _ in kept),
        tuple(fitness for _, (fitness, _) in kept),
        tuple(rung for _, (_, rung) in kept),
        one.ended,
    )


def steps_to_target(run: Measures) -> float:
    """Training steps of all functions up to the first of the target set; inf without one."""
    met = run.to_target
    return float(run.steps[int(met) - 1]) if met != float("inf") else met


def on_table(config: Config, seeds: int, folder: Path) -> tuple[Summary, dict[str, Json]]:
    """All runs on the table of a config: their summary, and what goes into the JSON."""
    assert config.table is not None
    names = (*PLAIN, *SCREENED)
    with Display(Console()) as display:
        compare(config, names, seeds, folder, display)
    table = load_table(config.table)
    config, field = table_config(table, config), field_of_table(table)
    traces: dict[str, list[Trace]] = {}
    with Ledger(folder / TRACES) as ledger:
        for name in names:
            ones = [run_config(config, name, config.seed + k) for k in range(seeds)]
            traces[name] = [ledger[run_digest(one, table.digest)] for one in ones]
    asks = config.labelled("hybrid").asks
    pairs = zip(*(traces[part] for part in PARTS), strict=True)
    traces[PORTFOLIO] = [interleave(one, other, asks) for one, other in pairs]
    steps = steps_of(config)
    runs = {n: [measure(t, field, steps, config.budget) for t in ts] for n, ts in traces.items()}
    summary = summarise(runs, field, config.budget)
    result = summary.to_json()
    for name, rows in runs.items():
        median = censored_median([steps_to_target(m) for m in rows], rng=rng_for(f"steps/{name}"))
        told = estimate(of_runs(median, seeds))
        result["strategies"][name]["training_steps_to_target"] = told
        result["strategies"][name]["area"] = estimate(summary.strategies[name].area)
        incumbent = summary.strategies[name].times["to_incumbent"]
        result["strategies"][name]["evaluations_to_target_as_incumbent"] = estimate(incumbent)
    result["hybrid_sooner"] = sooner(runs, config.budget)
    result["batch"] = {
        name: [config.labelled(name).asks(n) for n in (0, config.budget)] for name in names
    }
    result["rungs"] = list(config.fidelity.rungs)
    return summary, result


def sooner(runs: Mapping[str, Sequence[Measures]], budget: int) -> dict[str, Json]:
    """How the hybrid stands to every other strategy in functions and in steps until a target: the
    probability that it needs less, and the p of Wilcoxon's test after Holm over the strategies.
    """
    worst = max(float(run.steps[-1]) for ones in runs.values() for run in ones) + 1
    others = [name for name in runs if name != "hybrid"]
    found: dict[str, Json] = {name: {} for name in others}
    for what, need, most in (
        ("functions", lambda run: run.to_target, budget + 1.0),
        ("steps", steps_to_target, worst),
    ):
        needs = {n: np.minimum([need(run) for run in ones], most) for n, ones in runs.items()}
        p_values = holm([paired_p(needs["hybrid"], needs[name]) for name in others])
        for name, p in zip(others, p_values, strict=True):
            rng = rng_for(f"sooner/{what}/{name}")
            p_less = probability_better(-needs["hybrid"], -needs[name], rng=rng)
            p_less = of_runs(p_less, len(needs[name]))
            found[name][what] = {**estimate(p_less), "p_holm": p}
    return found


def show(name: str, summary: Summary, result: dict[str, Json]) -> None:
    """A row per strategy, and how the default of the hybrid stands to each other."""
    rows = []
    better = {}
    for p in summary.pairs:
        if "hybrid" in (p.a, p.b):
            other, chance = (p.b, p.better) if p.a == "hybrid" else (p.a, turned(p.better))
            better[other] = f"{share(chance)}, p {p.p:.2g}"
    for strategy, s in summary.strategies.items():
        steps = result["strategies"][strategy]["training_steps_to_target"]["value"]
        rows.append(
            (
                strategy,
                spell(s.early),
                spell(s.area),
                spell(s.times["to_target"]),
                "-" if steps is None else f"{steps:,.0f}",
                better.get(strategy, ""),
                _chance(result["hybrid_sooner"].get(strategy)),
            )
        )
    print_table(
        f"{name}: {summary.seeds} seeds, {summary.budget:,} distinct functions; target set "
        f"{summary.field.target_size} of {summary.field.size:,}",
        (
            "strategy",
            "regret 1-300",
            "area",
            "until target",
            "steps",
            "P(hybrid better)",
            "P(hybrid sooner)",
        ),
        rows,
        ("interquartile means and medians with 95% intervals" if summary.seeds > 1 else ONE_SEED)
        + "; p by Wilcoxon after Holm",
    )


def _chance(found: dict[str, Json] | None) -> str:
    if not found:
        return ""
    p = found["functions"]
    ends = (math.nan if p[end] is None else p[end] for end in ("value", "low", "high"))
    return f"{share(Interval(*ends))}, p {p['p_holm']:.2g}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_arguments(parser)
    parser.add_argument("--tables", default="digits", help="recorded tables, with commas between")
    add_runs(parser)
    options = parser.parse_args(arguments)
    if options.quick:
        options.seeds, options.budget = 2, 40
    found: dict[str, Json] = {"seeds": [options.seed, options.seed + options.seeds]}
    with run_folder(parser, options.out) as folder:
        for name in listed(options.tables):
            config = search_config(f"table_{name}", options)
            summary, found[name] = on_table(config, options.seeds, folder / name)
            show(name, summary, found[name])
    write_json(options.json, found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
