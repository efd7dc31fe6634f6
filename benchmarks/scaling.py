"""Searches on many workers: what a task costs on a real cluster, and how a thousand would be used.

    python benchmarks/scaling.py [--workers 1,4,16,64,256,1024] [--strategies regularized]
                                 [--seeds N] [--modes ...] [--processes N] [--only-simulated]
                                 [--measured FILE] [--rows FILE] [--json FILE] [--quick]

Real, on this machine over loopback (extras dask and ray; what is not installed is left out): the
wall clock of an empty task at 3 Dask workers, and whether a search on loky, Dask and Ray writes the
same records.

Simulated: the real engine on virtual workers, over functions of up to three units, 64 per worker,
whose scores come from a landscape calibrated on the table cifar10 and whose trainings take as long
as recorded ones did, relative to their median. No such cluster was there. Per number of workers:
the share of all workers' time that is spent in training, and the regret at equal budget,

    waiting          batches of 32, the default, none under way beside one
    waiting for all  batches of one function per worker, none under way beside one
    sequential       batches of 1, none under way: who learns most between two functions
    pipelined        batches of 1, 3 functions under way per worker; of the last 8 per worker, all
    crowded          batches of 1, 16 functions under way per worker

where regret is what a function truly lacks of the best that any run of the same budget met: the
answer of the run, whom race and retest name by validation data; its incumbent, which has the best
noisy score of the search; the best of the candidates that the race begins with. With --rows every
run is kept, the same command goes on, and all that were ever kept are in the tables (with --seeds 0
nothing else). With --measured the figures of real clusters are those of an earlier --json.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from parts.simulated import FUNCTIONS, MINUTES, Row, Setup, simulate
from repeated import RESAMPLES, mean_of, side_by_side, spelled
from reporting import add_arguments, listed, print_table, run_folder, write_json

from hybridsearch.comparison.summary import rng_for
from hybridsearch.evidence.resampling import Interval, tails
from hybridsearch.evidence.statistics import CONFIDENCE
from hybridsearch.types import Json

CROWDS = {"pipelined": 3, "crowded": 16}  # functions under way per worker
ENDGAME = 8  # of the last so many per worker all are under way, where they are pipelined
MODES = ("waiting", "waiting for all", "sequential", "pipelined", "crowded")
NEEDS = {"loky": "joblib", "dask": "distributed", "ray": "ray"}
ANSWER = "of the answer"
# What a record says of regret, and of which of a row's scores.
REGRETS = {
    "regret_of_answer": "winner",
    "regret": "incumbent",
    "regret_on_the_way": "mean",
    "regret_of_candidates": "candidates",
}


def setup(mode: str, strategy: str, workers: int, seed: int) -> Setup:
    """The batch, how many more are under way, and how many at the end, of one of `MODES`."""
    batch = {"waiting": 32, "waiting for all": workers}.get(mode, 1)
    pipeline = max(0, CROWDS.get(mode, 0) * workers - 1)
    endgame = ENDGAME * workers if mode == "pipelined" else 0
    return Setup(strategy, workers, batch, pipeline, endgame, seed)


def rows_of(setups: Iterable[Setup], kept: Path | None, processes: int) -> dict[Setup, Row]:
    """Simulate what is not kept. kept: a file with a line per row, to which new ones are added, and
    of which every row is returned.
    """
    found = {}
    if kept and kept.exists():
        for line in kept.read_text(encoding="ascii").splitlines():
            values = json.loads(line)
            row = Row(**{**values, "setup": Setup(**values["setup"])})
            found[row.setup] = row
    wanted = list(dict.fromkeys(setups))
    jobs = {str(k): one for k, one in enumerate(wanted) if one not in found}
    for done, (_, row) in enumerate(side_by_side(simulate, jobs, processes), 1):
        found[row.setup] = row
        if kept:
            with kept.open("a", encoding="ascii") as file:
                file.write(json.dumps(asdict(row)) + "\n")
        print(f"{done} of {len(jobs)}: {row.setup}, {row.utilisation:.3f} used", flush=True)
    return found


def summarise(rows: Mapping[Setup, Row]) -> list[dict[str, Json]]:
    """Per strategy, workers and mode: means over seeds with intervals."""
    best = best_met(rows)
    groups: dict[tuple[str, int, str], list[Row]] = defaultdict(list)
    for one, row in rows.items():
        for mode in MODES:
            if setup(mode, one.strategy, one.workers, one.seed) == one:
                groups[one.strategy, one.workers, mode].append(row)
    result = []
    for (strategy, workers, mode), some in groups.items():
        record: dict[str, Json] = {
            "strategy": strategy,
            "workers": workers,
            "mode": mode,
            "batch": some[0].setup.batch,
            "pipeline": some[0].setup.pipeline,
            "endgame": some[0].setup.endgame,
            "seeds": len(some),
            "functions": some[0].functions,
        }
        for name, values in {
            "utilisation": [row.utilisation for row in some],
            "hours": [row.hours for row in some],
            "driver_hours": [row.thought for row in some],
            "steps": [row.steps for row in some],
            **{k: [best[workers] - getattr(r, of) for r in some] for k, of in REGRETS.items()},
        }.items():
            record[name] = asdict(mean_of(values, f"{strategy} {workers} {mode} {name}"))
        result.append(record)
    return result


def best_met(rows: Mapping[Setup, Row]) -> dict[int, float]:
    """Per number of workers, and so at equal budget, the best that any run trained."""
    best: dict[int, float] = {}
    for one, row in rows.items():
        best[one.workers] = max(row.met, best.get(one.workers, row.met))
    return best


def losses(rows: Mapping[Setup, Row], of: str) -> list[dict[str, Json]]:
    """By what share the regret of a pipelined search is above that of a sequential one, of the same
    functions and seeds; `of`: one of the row's scores. Intervals: seeds resampled.
    """
    best = best_met(rows)
    pairs: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for one, row in rows.items():
        base = rows.get(setup("sequential", one.strategy, one.workers, one.seed))
        if base and one == setup("pipelined", one.strategy, one.workers, one.seed):
            pairs[one.strategy, one.workers].append(
                (best[one.workers] - getattr(row, of), best[one.workers] - getattr(base, of))
            )
    result = []
    for (strategy, workers), some in pairs.items():
        table, rng = np.array(some), rng_for(f"{strategy} {workers} {of}")
        drawn = table[rng.integers(len(table), size=(RESAMPLES, len(table)))].mean(axis=1)
        low, high = np.quantile(drawn[:, 0] / drawn[:, 1] - 1, tails(CONFIDENCE))
        mean = float(table[:, 0].mean() / table[:, 1].mean() - 1)
        interval = asdict(Interval(mean, float(low), float(high)))
        result.append({"strategy": strategy, "workers": workers, "seeds": len(some), **interval})
    return result


def real(quick: bool) -> dict[str, Json]:
    """What is measured on real clusters, as far as they are installed."""
    from parts.cluster import overhead, records

    result: dict[str, Json] = {"overhead_ms_per_task": None}
    pools = [name for name, package in NEEDS.items() if find_spec(package)]
    logs = {name: records(name) for name in pools}
    result["pools"] = pools
    result["identical_across_pools"] = len(pools) > 1 and all(
        log == logs["loky"] for log in logs.values()
    )
    print(f"records of {', '.join(pools)}: identical: {result['identical_across_pools']}")
    for name, alone in {"overhead_ms_per_task": False, "overhead_ms_one_by_one": True}.items():
        if "dask" not in pools:
            continue
        found = overhead(jobs=60 if quick else 400, rounds=2 if quick else 9, alone=alone)
        result[name] = float(np.median(found.milliseconds))
        result[f"{name}_rounds"] = found.milliseconds
        rounds = ", ".join(f"{ms:.1f}" for ms in found.milliseconds)
        how = "one by one" if alone else "several sent together, as short ones are"
        print(f"an empty task at {found.workers} Dask workers, {how}: {rounds} ms")
    return result


def measured_before(path: Path) -> dict[str, Json]:
    """What an earlier run of this program measured on real clusters."""
    earlier = json.loads(path.read_text(encoding="utf-8"))
    return {k: earlier[k] for k in earlier if k.startswith("overhead") or "pools" in k}


def show(records: Sequence[dict[str, Json]], lost: Mapping[str, list[dict[str, Json]]]) -> None:
    for strategy in dict.fromkeys(r["strategy"] for r in records):
        print_table(
            f"Simulated, {strategy}: {FUNCTIONS} functions per worker, "
            f"{MINUTES:.0f} min the median full training",
            ("workers", "search", "seeds", "used", "hours", *(f"regret {of}" for of in lost)),
            [
                (
                    f"{r['workers']:,}",
                    r["mode"],
                    r["seeds"],
                    f"{r['utilisation']['mean']:.3f}",
                    f"{r['hours']['mean']:.1f}",
                    *(spelled(r[name], 4) for name in REGRETS),
                )
                for r in records
                if r["strategy"] == strategy
            ],
            "means over seeds, 95% intervals",
        )
    print_table(
        "Regret of the pipelined search above that of the sequential one, as a share",
        ("strategy, workers", "seeds", *lost),
        [
            (f"{a['strategy']}, {a['workers']:,}", a["seeds"], *(spelled(x, 2) for x in (a, *rest)))
            for a, *rest in zip(*lost.values(), strict=True)
        ],
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--workers", default="1,4,16,64,256,1024")
    parser.add_argument("--strategies", default="regularized")
    parser.add_argument("--seeds", type=int, default=30, help="runs of each")
    parser.add_argument("--modes", default=",".join(MODES), help="those of them to simulate")
    parser.add_argument("--processes", type=int, default=2, help="simulations at a time")
    parser.add_argument("--only-simulated", action="store_true", help="leave real clusters out")
    parser.add_argument("--measured", type=Path, help="JSON that tells of real clusters instead")
    parser.add_argument("--rows", type=Path, help="file in which every run is kept")
    options = parser.parse_args(arguments)
    workers = [int(n) for n in listed(options.workers)]
    seeds = range(options.seeds)
    if options.quick:
        workers, seeds = [1, 4], range(2)
    with run_folder(parser, options.rows):
        if options.measured:
            measured = measured_before(options.measured)
        else:
            measured = {} if options.only_simulated else real(options.quick)
        rows = rows_of(
            (
                setup(mode, strategy, n, seed)
                for n in workers
                for seed in seeds
                for strategy in listed(options.strategies)
                for mode in listed(options.modes)
            ),
            options.rows,
            options.processes,
        )
    records = summarise(rows)
    words = (ANSWER, "at the end", "on the way", "of candidates")
    lost = {word: losses(rows, of) for word, of in zip(words, REGRETS.values(), strict=True)}
    show(records, lost)
    first = (listed(options.strategies)[0], 1024)
    used = {(r["strategy"], r["workers"]): r for r in records if r["mode"] == "pipelined"}
    above = {(x["strategy"], x["workers"]): x for x in lost[ANSWER]}
    write_json(
        options.json,
        {
            **measured,
            "utilisation_1024": used[first]["utilisation"]["mean"] if first in used else None,
            "efficiency_loss_1024": above[first]["mean"] if first in above else None,
            "simulated": records,
            "efficiency_loss": lost,
        },
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
