"""Is more space worth it? Searches of one, two and three core units, for equal seconds.

    python benchmarks/units.py --out FOLDER [--units 1,2,3] [--seeds N] [--seconds S]
                               [--strategy NAME] [--json FILE] [--quick]

Per seed and number of units an ordinary run on digits, in turns, so that a busy hour of the machine
meets all. The retest's fresh seeds are the same for all sizes of a search seed, and for the best
function of one unit that the recorded table knows. Compared is what the winners, named on
validation, score on test, on further seeds, which named nobody (but where a winner is the best
baseline itself, which a retest trains no further). Every run is kept; the same command goes on
where it stopped.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from answers import ENDLESS, QUICK, points, run
from reporting import add_arguments, listed, print_table, run_folder, write_json
from rich.console import Console

from hybridsearch.analysis.runs import on_fresh_seeds
from hybridsearch.comparison.summary import rng_for
from hybridsearch.config import Config, make_config, read_settings
from hybridsearch.evidence.strategies import mean_difference
from hybridsearch.genome.function import resolve
from hybridsearch.observe import Observer
from hybridsearch.progress import Display
from hybridsearch.recorder import Recorder
from hybridsearch.retest import retest
from hybridsearch.session import make_evaluator
from hybridsearch.store.cache import Cache
from hybridsearch.store.disk import write_json as keep
from hybridsearch.store.log import RunLog
from hybridsearch.tables.table import load_table
from hybridsearch.types import Json

SOURCE = "digits"  # the config and the table
FINALISTS = 3  # of a retest, instead of 10: the race has chosen them, and 30 searches take long


def config_of(units: int, seed: int, seconds: float, strategy: str, quick: bool) -> Config:
    settings = read_settings(SOURCE) | {"seed": seed, "seconds": seconds, "strategy": strategy}
    settings |= {"budget": ENDLESS, "space": {"min_units": units, "max_units": units}}
    settings["retest"] = {"finalists": FINALISTS}
    settings |= QUICK if quick else {}
    return make_config(settings, SOURCE)


def optimum() -> str:
    """The best function of one unit, as the replicates of the table have it on validation data:
    the test images, on which searches are compared with it, have no part in that.
    """
    table = load_table(SOURCE)
    able = list(table.genomes)
    scores = np.nanmean(table.scores("validation")[able, :, -1], axis=1)
    return table.specs[able[int(scores.argmax())]]


def retested(config: Config, spec: str, folder: Path, observer: Observer) -> dict[str, Json]:
    """What a function scores on the seeds of a config's retest, as in a summary."""
    path = folder / f"optimum-seed{config.seed}.json"
    if not path.exists():
        config, evaluator = make_evaluator(config, folder / "optimum")
        with (
            closing(evaluator),
            closing(Cache(folder / "cache.sqlite")) as cache,
            closing(RunLog(path.with_suffix(".jsonl"))) as log,
        ):
            answer = retest(config, [spec], Recorder(log, cache, evaluator), observer)
            assert answer is not None
            duel = answer.duel.to_json() if answer.duel else None
            keep(path, {"winner": answer.winner.to_json(), "duel": duel})
    found: dict[str, Json] = json.loads(path.read_text(encoding="utf-8"))
    return found


def tested(found: dict[str, Json]) -> float:
    """The mean of a winner on test data, from seeds that did not name it where there are any."""
    return float(on_fresh_seeds(found)["winner"]["mean"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--units", default="1,2,3", help="with commas between them")
    parser.add_argument("--seeds", type=int, default=10, help="searches of each")
    parser.add_argument("--seconds", type=float, default=60.0, help="of a search")
    parser.add_argument("--strategy", default="hybrid")
    parser.add_argument("--out", type=Path, help="folder in which every run is kept")
    options = parser.parse_args(arguments)
    if options.quick:
        options.units, options.seeds, options.seconds = "1,2", 2, 5
    sizes = [int(text) for text in listed(options.units)]
    found: dict[int, list[dict[str, Json]]] = {units: [] for units in sizes}
    best: list[dict[str, Json]] = []
    spec = optimum()
    with run_folder(parser, options.out) as folder, Display(Console()) as display:
        for seed in range(options.seeds):
            for units in sizes:
                config = config_of(units, seed, options.seconds, options.strategy, options.quick)
                name = f"{options.strategy}-units{units}-seed{seed}"
                found[units].append(run(config, folder / name, display))
            best.append(retested(config, spec, folder, display))

    reference = np.array([tested(row) for row in best])
    result: dict[str, Json] = {"optimum": resolve(spec).name, "optimum_test": reference.tolist()}
    rows = []
    for units, summaries in found.items():
        test = np.array([tested(s) for s in summaries])
        loss = np.array([s["winner"]["validation"] for s in summaries])
        against = np.array([row["winner"]["validation"] for row in best])
        gaps = {
            name: mean_difference(ours, theirs, rng=rng_for(f"units/{units}/{name}"))
            for name, ours, theirs in (("test", test, reference), ("validation", loss, against))
        }
        told = {k: {"mean": g.mean, "low": g.low, "high": g.high} for k, g in gaps.items()}
        functions = [s["budgets"]["distinct"] for s in summaries]
        result[f"units_{units}"] = {
            "winners": [s["winner"]["expression"] for s in summaries],
            "functions": functions,
            "test": test.tolist(),
            "less_optimum": told,
        }
        gap = gaps["validation"]
        rows.append(
            [
                str(units),
                f"{np.median(functions):.0f}",
                f"{100 * test.mean():.2f}%",
                points(told["test"]),
                f"{gap.mean:+.4f} ({gap.low:+.4f} to {gap.high:+.4f})",
            ]
        )
    print_table(
        f"{options.strategy}, {options.seconds:g} s, {options.seeds} searches of each; the best of "
        f"one unit is {result['optimum']}, {reference.mean():.2%}",
        ["units", "functions", "test", "less that, points", "validation, less that"],
        rows,
        "means over searches of the winner's mean over the retest's seeds, with 95% intervals",
    )
    write_json(options.json, result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
