"""How many functions should begin the race after a long search: what the answer lacks.

    python benchmarks/racing.py [--workers 64] [--seeds N] [--races N] [--json FILE] [--quick]

Searches by `regularized`, one function after the other, 64 per worker, on the landscape of
`scaling.py`: functions of up to three units whose scores and noise are those of the table cifar10.
After each, races of several sizes and the retest name an answer, `--races` times with other seeds.
Told is the regret, what a function truly lacks of the best that the search trained: of the best
candidate, and of the answer, with the trainings of the race beside those of the search.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from parts.simulated import FUNCTIONS, Setup, idle, searched, winner
from repeated import mean_of, side_by_side, spelled
from reporting import add_arguments, print_table, write_json

from hybridsearch.race import trainings
from hybridsearch.types import Json

# Functions of the search for every candidate; None: 24 candidates, however long it was.
ONE_IN = (None, 160, 80, 40, 20)


@dataclass(frozen=True)
class Job:
    """A search, and how many races of every size follow it."""

    setup: Setup
    count: int


def races(job: Job) -> tuple[list[dict[str, float]], float]:
    """Per size of the race, what the best candidate and, on average, the answer lack, and how many
    trainings the race has; and how many full trainings the search was.
    """
    setup = job.setup
    search, evaluator, _ = searched(setup)
    land, known = evaluator.land, search.known
    keys = {entry.spec: key for key, entry in known.items() if entry.order}
    best = max(map(land.truth, keys.values()))
    rows = []
    for one_in in ONE_IN:
        config = search.config
        config = config.model_copy(
            update={"race": config.race.model_copy(update={"one_in": one_in})}
        )
        finalists = config.retest.finalists
        size = config.race.entering(known.distinct, finalists)
        candidates = known.entrants(size, finalists)
        answers = []
        for k in range(job.count):
            other = config.model_copy(update={"seed": 1000 * setup.seed + k})
            named = winner(other, candidates, idle(setup, land))
            answers.append(best - land.truth(keys[named]))
        rows.append(
            {
                "candidates": len(candidates),
                "trainings": trainings(config, len(candidates)),
                "regret_of_candidates": best - max(land.truth(keys[c]) for c in candidates),
                "regret_of_answer": float(np.mean(answers)),
            }
        )
    return rows, search.steps_taken / search.ladder.rungs[-1]


def summarise(found: Sequence[list[dict[str, float]]]) -> list[dict[str, Json]]:
    """Means over searches; the answers' regret with intervals, and less that with 24 candidates."""
    result = []
    for place, one_in in enumerate(ONE_IN):
        rows = [races[place] for races in found]
        values = np.array([row["regret_of_answer"] for row in rows])
        less = values - np.array([races[0]["regret_of_answer"] for races in found])
        name = f"racing {one_in}"
        result.append(
            {
                "one_in": one_in,
                **{k: float(np.mean([row[k] for row in rows])) for k in rows[0]},
                **{
                    key: asdict(mean_of(v, f"{name} {key}"))
                    for key, v in {"regret_of_answer": values, "less_24": less}.items()
                },
            }
        )
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--workers", type=int, default=64, help="64 functions for each")
    parser.add_argument("--seeds", type=int, default=30, help="searches")
    parser.add_argument("--races", type=int, default=8, help="of every size, after each search")
    parser.add_argument("--processes", type=int, default=2, help="searches at a time")
    options = parser.parse_args(arguments)
    workers, seeds, count = options.workers, range(options.seeds), options.races
    if options.quick:
        workers, seeds, count = 8, range(2), 2
    jobs = {str(k): Job(Setup("regularized", workers, 1, 0, 0, k), count) for k in seeds}
    made: dict[str, tuple[list[dict[str, float]], float]] = {}
    for name, result in side_by_side(races, jobs, options.processes):
        made[name] = result
        told = ", ".join(f"{row['regret_of_answer']:.4f}" for row in result[0])
        print(f"{len(made)} of {len(jobs)}: {told}", flush=True)
    found, spent = zip(*(made[name] for name in jobs), strict=True)
    summary = summarise(found)
    print_table(
        f"Races after searches of {FUNCTIONS * workers:,} functions, "
        f"{np.mean(spent):,.0f} full trainings each",
        ("one candidate in", "candidates", "trainings", "best of them", "the answer", "less 24"),
        [
            (
                row["one_in"] or "(24)",
                f"{row['candidates']:.0f}",
                f"{row['trainings']:,.0f}",
                row["regret_of_candidates"],
                spelled(row["regret_of_answer"], 4),
                spelled(row["less_24"], 4),
            )
            for row in summary
        ],
        f"regret in nats; {len(seeds)} searches, 95% intervals",
    )
    write_json(
        options.json,
        {
            "functions": FUNCTIONS * workers,
            "searches": len(seeds),
            "races": count,
            "full_trainings": float(np.mean(spent)),
            "rows": summary,
        },
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
