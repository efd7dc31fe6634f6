"""The question that users ask: does a search with the default settings find a better function?

    python benchmarks/answers.py --out FOLDER [--tasks digits,fashion_mnist,cifar10] [--seeds N]
                                 [--seconds S] [--transfer-seeds N] [--json FILE] [--quick]

Per task and search seed an ordinary run of `python -m hybridsearch` that searches for S seconds
(the retest not counted), with the retest on seeds 100 to 119: winner and best baseline are named on
validation, then the test split is opened, once, and the two are compared on seeds 120 to 139, which
named neither (runs of before that was so are given it). A winner that is a baseline is
rediscovered, not found. Then every task's winner, that of the run where validation data speak for
it most, is trained beside the best baseline of its run on the networks and data of the other tasks,
and on another network of its own. Every run and training is kept; the same command goes on where it
stopped. With --seeds 0 nothing is searched: those runs of every task are told of that were ever
finished.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from reporting import add_arguments, listed, print_table, run_folder, write_json
from rich.console import Console

from hybridsearch.analysis.runs import CONFIG, LOG, SUMMARY
from hybridsearch.comparison.summary import rng_for
from hybridsearch.config import Config, make_config, read_settings
from hybridsearch.errors import UserError
from hybridsearch.evidence.strategies import mean_difference
from hybridsearch.genome.function import resolve
from hybridsearch.observe import Observer
from hybridsearch.paper.grid import Column, train
from hybridsearch.progress import Display
from hybridsearch.session import resume, search
from hybridsearch.types import Json

FIRST, SEEDS = 100, 20  # of the retest
ENDLESS = 1_000_000  # functions: the time is the limit


@dataclass(frozen=True)
class Task:
    """source: its config. other: another network for the same data, by its settings."""

    source: str
    other: dict[str, Json]


TASKS = {
    "digits": Task("digits", {"name": "digits_mlp"}),
    "fashion_mnist": Task("fashion_mnist", {"name": "digits_mlp", "width": 128}),
    "cifar10": Task("cifar10_small", {"name": "resnet20", "width": 8}),
}
QUICK: dict[str, Json] = {
    "training": {"steps": 20, "warmup": 2},
    "retest": {"seeds": 2, "finalists": 2, "resamples": 200},
    "budget": 6,
    "pool": "inline",  # workers would take longer to start than to work
}


def config_of(task: Task, seed: int, seconds: float, quick: bool) -> Config:
    """The config of a run: that of the task, for so many seconds."""
    settings = read_settings(task.source) | {"seed": seed, "seconds": seconds}
    settings["budget"] = ENDLESS
    retest = {"first": FIRST, "seeds": SEEDS}
    for name, value in {"retest": retest, **(QUICK if quick else {})}.items():
        before = settings.get(name)
        settings[name] = {**before, **value} if isinstance(before, dict) else value
    return make_config(settings, task.source)


def run(config: Config, folder: Path, observer: Observer) -> dict[str, Json]:
    """The summary of a run, made now, continued, or read."""
    if (folder / SUMMARY).exists():
        found: dict[str, Json] = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        if "duel" in found or not (folder / LOG).exists():
            return found
    if (folder / CONFIG).exists():
        return resume(folder, observer)
    return search(config, folder, observer)


def finished(name: str, folder: Path) -> list[int]:
    """The seeds of a task's runs that came to their summaries, in order."""
    places = [path.parent.name for path in folder.glob(f"{name}-seed*/{SUMMARY}")]
    return sorted(int(place.rpartition("seed")[2]) for place in places)


def lead(summary: dict[str, Json]) -> float:
    """By how much validation data prefer the winner to the best baseline."""
    winner, baseline = summary["winner"], summary["best_baseline"]
    return float(winner["validation"]) - float(baseline["validation"])


def answer(summaries: Sequence[dict[str, Json]]) -> dict[str, Json]:
    """What goes into the JSON of one task: all runs, and the one that validation data like most."""
    best = max(summaries, key=lead)
    runs = [
        {
            "seed": s["seed"],
            "winner": s["winner"]["expression"],
            "best_baseline": s["best_baseline"]["label"],
            "difference": s["difference_to_best_baseline"],
            "on_further_seeds": bool(s.get("duel")),
            "verdict": s["verdict"],
            "functions": s["budgets"]["distinct"],
        }
        for s in summaries
    ]
    return {
        "winner": best["winner"]["expression"],
        "best_baseline": best["best_baseline"]["label"],
        "difference": best["difference_to_best_baseline"],
        "seeds": [s["seed"] for s in summaries],
        "found": sum(s["verdict"] == "better" for s in summaries),
        "runs": runs,
    }


def elsewhere(name: str, tasks: Sequence[str]) -> Iterator[tuple[str, Config]]:
    """Where the winner of a task is tried: another network of its data, and the other tasks."""
    own = read_settings(TASKS[name].source)
    network = TASKS[name].other
    yield f"{name}, {network['name']}", make_config({**own, "network": network})
    for other in tasks:
        if other != name:
            source = TASKS[other].source
            yield other, make_config(read_settings(source), source)


def transfer(
    name: str,
    tasks: Sequence[str],
    found: dict[str, Json],
    seeds: int,
    folder: Path,
    observer: Observer,
    quick: bool,
) -> dict[str, Json]:
    """Place -> test accuracy of the winner less that of the best baseline, over the same seeds."""
    result: dict[str, Json] = {}
    functions = [resolve(found["winner"]), resolve(found["best_baseline"])]
    for place, config in elsewhere(name, tasks):
        if quick:
            steps = config.training.model_copy(update=QUICK["training"])
            config = config.model_copy(update={"training": steps})
        column = Column(place, config.network.name, config, (config.training.lr,), folder)
        winner, baseline = train(column, functions, seeds, observer)
        rng = rng_for(f"transfer/{name}/{place}")
        gap = mean_difference(winner.test, baseline.test, rng=rng)
        result[place] = {
            "winner": float(np.mean(winner.test)),
            "best_baseline": float(np.mean(baseline.test)),
            "difference": {"mean": gap.mean, "low": gap.low, "high": gap.high},
        }
    return result


def points(difference: dict[str, float]) -> str:
    """A difference of accuracies in points."""
    mean, low, high = (100 * difference[key] for key in ("mean", "low", "high"))
    return f"{mean:+.2f} ({low:+.2f} to {high:+.2f})"


def show(name: str, found: dict[str, Json]) -> None:
    fresh = all(r["on_further_seeds"] for r in found["runs"])
    print_table(
        f"{name}: better in {found['found']} of {len(found['seeds'])} searches",
        ("seed", "functions", "winner", "best baseline", "test, points", "verdict"),
        [
            (
                str(r["seed"]),
                f"{r['functions']:,}",
                r["winner"],
                r["best_baseline"],
                points(r["difference"]),
                r["verdict"] + ("" if r["on_further_seeds"] else "*"),
            )
            for r in found["runs"]
        ],
        "winner less best baseline, both named on validation; 95% intervals over seeds and images"
        + ("" if fresh else "; * on the seeds that named them"),
    )
    if "transfer" in found:
        print_table(
            f"{name}: {found['winner']} less {found['best_baseline']} elsewhere",
            ("place", "winner", "best baseline", "test, points"),
            [
                (
                    place,
                    f"{row['winner']:.2%}",
                    f"{row['best_baseline']:.2%}",
                    points(row["difference"]),
                )
                for place, row in found["transfer"].items()
            ],
            "95% intervals over seeds",
        )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_arguments(parser)
    parser.add_argument("--tasks", default=",".join(TASKS), help="with commas between them")
    parser.add_argument("--seeds", type=int, default=5, help="searches per task; 0: those kept")
    parser.add_argument("--seconds", type=float, default=1800.0, help="of a search")
    parser.add_argument("--transfer-seeds", type=int, default=20, help="trainings elsewhere; 0: no")
    parser.add_argument("--out", type=Path, help="folder in which every run is kept")
    options = parser.parse_args(arguments)
    if options.quick:
        options.tasks, options.seeds, options.seconds, options.transfer_seeds = "digits", 2, 10, 2
    result: dict[str, Json] = {}
    with run_folder(parser, options.out) as folder, Display(Console()) as display:
        tasks = listed(options.tasks)
        for name in tasks:
            if name not in TASKS:
                raise UserError(f"--tasks: expected some of {', '.join(TASKS)}; got {name!r}")
        for name in tasks:
            summaries = []
            for seed in range(options.seeds) if options.seeds else finished(name, folder):
                config = config_of(TASKS[name], seed, options.seconds, options.quick)
                summary = run(config, folder / f"{name}-seed{seed}", display)
                if not summary["finalists"]:
                    raise UserError(f"{name}, seed {seed}: nothing was trained; raise --seconds")
                summaries.append(summary)
            if not summaries:
                raise UserError(f"--seeds 0: no finished run of {name} in {folder}")
            result[name] = answer(summaries)
        for name in tasks if options.transfer_seeds else ():
            result[name]["transfer"] = transfer(
                name,
                tasks,
                result[name],
                options.transfer_seeds,
                folder / "transfer",
                display,
                options.quick,
            )
    for name in tasks:
        show(name, result[name])
    write_json(options.json, result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
