"""Is it the function, or the learning rate? The recorded answers, each function at its own rate.

    python benchmarks/rates.py --out FOLDER [--answers FOLDER] [--tasks digits,...] [--runs N]
                               [--seeds N] [--json FILE] [--quick]

Every run of `answers.py` found its winner with all functions at one learning rate. Here its winner
and the nine baselines train at a third and at three times of it too, from the seeds of the run's
retest; validation names the rate of each and the best baseline, and the two are compared on test
data from further seeds, each at its rate (`python -m hybridsearch rates` does the same for a run of
one's own). Every training is kept; the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from answers import ENDLESS, TASKS, config_of, finished, points
from reporting import add_arguments, listed, print_table, run_folder, write_json
from rich.console import Console

from hybridsearch.analysis.runs import SUMMARY
from hybridsearch.errors import UserError
from hybridsearch.genome.function import resolve
from hybridsearch.progress import Display
from hybridsearch.rates import FACTORS, compare_rates
from hybridsearch.store.disk import read_json
from hybridsearch.types import Json

ANSWERS = Path(__file__).resolve().parent / "results" / "answers"


def answers(folder: Path, task: str) -> list[dict[str, Json]]:
    """The summaries of a task's runs, by seed."""
    places = [folder / f"{task}-seed{seed}" for seed in finished(task, folder)]
    return [read_json(place / SUMMARY) for place in places]


def show(task: str, rows: Sequence[dict[str, Json]]) -> None:
    better = sum(row["verdict"] == "better" for row in rows)
    print_table(
        f"{task}, each function at its own learning rate: better in {better} of {len(rows)}",
        ("seed", "winner", "at", "best baseline", "at", "test, points", "at the run's rate"),
        [
            (
                str(row["seed"]),
                row["winner"]["label"],
                f"{row['winner']['rate']:g}",
                row["best_baseline"]["label"],
                f"{row['best_baseline']['rate']:g}",
                f"{points(row['difference'])} {row['verdict']}",
                points(row["before"]),
            )
            for row in rows
        ],
        "winner less best baseline; 95% intervals over seeds and images",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add_arguments(parser)
    parser.add_argument("--tasks", default="digits", help="with commas between them")
    parser.add_argument("--answers", type=Path, default=ANSWERS, help="folder of the runs asked")
    parser.add_argument("--runs", type=int, help="runs per task, the first; default all")
    parser.add_argument("--seeds", type=int, help="of a function at a rate; default the retest's")
    parser.add_argument("--out", type=Path, help="folder in which every training is kept")
    options = parser.parse_args(arguments)
    result: dict[str, Json] = {}
    with run_folder(parser, options.out) as folder, Display(Console()) as display:
        for task in listed(options.tasks):
            if task not in TASKS:
                raise UserError(f"--tasks: expected some of {', '.join(TASKS)}; got {task!r}")
            summaries = answers(options.answers, task)[: 1 if options.quick else options.runs]
            if not summaries:
                raise UserError(f"--answers: no finished run of {task} in {options.answers}")
            rows = []
            for summary in summaries:
                config = config_of(TASKS[task], summary["seed"], ENDLESS, options.quick)
                changed: dict[str, Json] = {"cache": str(folder / "cache.sqlite")}
                if options.seeds:
                    changed["retest"] = config.retest.model_copy(update={"seeds": options.seeds})
                config = config.model_copy(update=changed)
                winner = resolve(summary["winner"]["expression"])
                place = folder / f"{task}-seed{summary['seed']}"
                found = compare_rates(config, place, winner, FACTORS, display)
                before = summary["difference_to_best_baseline"]
                rows.append({"seed": summary["seed"], "before": before, **found})
            result[task] = rows
    for task, rows in result.items():
        show(task, rows)
    write_json(options.json, result)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
