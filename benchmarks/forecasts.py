"""Whom early stopping lets go on when a search is long, by what its forecast learns from.

    python benchmarks/forecasts.py [--tables digits,cifar10] [--seeds N] [--json FILE] [--quick]

All functions of a recorded table come to the rungs in random order. The forecast may learn from 64
children at the top instead of 256, so that a table is four times too long for it, as a search of
some twenty thousand functions is for 256. Of the second half of the functions: which share of the
best thirtieth, by their true scores, reaches the top, what those that reach it are worth, and how
the scores that are told rank all of them. Learning from all at the top is what 64 are measured by.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from unittest.mock import patch

import numpy as np
from repeated import mean_of, spelled
from reporting import add_arguments, listed, print_table, write_json
from scipy.stats import spearmanr

from hybridsearch.config import make_config
from hybridsearch.forecast import Ended, Forecast
from hybridsearch.ladder import Ascent, Climb, Ladder
from hybridsearch.tables.replay import TableEvaluator, table_config
from hybridsearch.tables.table import Table, load_table
from hybridsearch.types import Json

ROWS, BATCH, BEST = 64, 16, 1 / 30
Lessons = Callable[[Sequence[Ended]], Sequence[Ended]]


def _top(ended: Ended) -> float:
    return ended[2]


def best(ended: Sequence[Ended]) -> Sequence[Ended]:
    """The best ROWS, in the order in which they came."""
    least = sorted(map(_top, ended))[-ROWS:][0]
    return [one for one in ended if _top(one) >= least][:ROWS]


def spaced(ended: Sequence[Ended]) -> Sequence[Ended]:
    """ROWS evenly spaced by rank."""
    if len(ended) <= ROWS:
        return ended
    order = sorted(range(len(ended)), key=lambda row: _top(ended[row]))
    rows = np.linspace(0, len(ended) - 1, ROWS).round().astype(int)
    return [ended[row] for row in sorted(order[k] for k in rows.tolist())]


HOW: dict[str, Lessons] = {
    "the best 64": best,
    "64 evenly spaced by rank": spaced,
    "the last 64 (so it is, with 256)": lambda ended: ended[-ROWS:],
    "all": lambda ended: ended,
}


def replay(table: Table, seed: int, lessons: Lessons) -> dict[str, float]:
    """What became of the second half of a table's functions, in an order drawn from the seed."""
    config = table_config(table, make_config({"strategy": "random", "seed": seed}))
    evaluator = TableEvaluator(table, config)
    ladder, rows = Ladder(config, evaluator), list(table.genomes)
    np.random.default_rng(seed).shuffle(rows)
    reached, told = list[bool](), list[float]()
    with patch.object(Forecast, "lessons", staticmethod(lessons)):
        for number, start in enumerate(range(0, len(rows), BATCH), 1):
            part = rows[start : start + BATCH]
            ascent = Ascent(Climb(table.keys[row], table.specs[row]) for row in part)
            while ascent.alive:
                results = evaluator.evaluate(ladder.tasks(ascent))
                ladder.go_on(ascent, {found.task: found for found in results}, number)
            ladder.learn(ascent.children)
            reached += [child.rung == ladder.top for child in ascent.children]
            told += [float(score or 0.0) for score in ladder.fitness(ascent.children)]
    late, truth = slice(len(rows) // 2, None), table.truth[rows]
    went, worth = np.array(reached)[late], truth[late]
    return {
        "at_the_top": float(sum(reached)),
        "of_the_best": float(went[worth >= np.quantile(truth, 1 - BEST)].mean()),
        "worth": float(worth[went].mean()),
        "worth_of_stopped": float(worth[~went].mean()),
        "rank_correlation": float(spearmanr(np.array(told)[late], worth)[0]),
    }


def summarise(rows: Sequence[Mapping[str, float]], name: str) -> dict[str, Json]:
    """Means over seeds, with 95% intervals where there are several."""
    return {key: asdict(mean_of([row[key] for row in rows], f"{name} {key}")) for key in rows[0]}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--tables", default="digits,cifar10", help="with commas between")
    parser.add_argument("--seeds", type=int, default=30, help="orders of the functions")
    options = parser.parse_args(arguments)
    seeds = range(2 if options.quick else options.seeds)
    result: dict[str, Json] = {"seeds": len(seeds), "rows": ROWS}
    for name in listed(options.tables):
        table = load_table(name)
        result[name] = {
            how: summarise([replay(table, seed, lessons) for seed in seeds], f"{name} {how}")
            for how, lessons in HOW.items()
        }
        print_table(
            f"{name}: the second half of {len(table.genomes):,} functions in random order",
            ("the forecast learns from", "of the best thirtieth go on", "worth", "of the stopped"),
            [
                (how, *(spelled(row[k], 2) for k in ("of_the_best", "worth", "worth_of_stopped")))
                for how, row in result[name].items()
            ],
            f"worth: mean true score, minus the loss; {len(seeds)} orders, 95% intervals",
        )
    write_json(options.json, result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
