"""What a search survives: kills anywhere, workers that die, many drivers on one cache, bad input.

    python benchmarks/soak.py [--out FOLDER] [--seed K] [--hours H] [--planted FILE]
                              [--json FILE] [--quick]

Drivers are forked from this process, which has torch loaded, so that a run of a tiny network takes
a second; they are killed with SIGKILL, at every touch of the disk (before it, in the midst of a
write, after it) and at random moments, in chains of up to ten kills of one run. What the last
resume leaves must equal what a run gives that nobody disturbed: records, restored tensors,
finalists.
With --hours one search more goes on for so long, and loses a worker every minute.
With --planted the counts of what `planted.py` wrote stand in the JSON too.
With --out what was done is kept, a line each, and the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from reporting import add_arguments, print_table, run_folder, write_json
from rich.console import Console
from rich.progress import track
from soaking import crowd, faults, fuzz, kills, memory
from soaking.drivers import warm

from hybridsearch.store.disk import cut_torn_tail, read_lines

Row = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much of everything. boundaries: share of the touches of the disk. inputs: bad ones."""

    boundaries: float = 1.0
    kills: int = 1000
    faults: int = 1000
    crowds: int = 30
    inputs: int = 1_000_000
    hours: float = 0.0  # of the long search; none by default


QUICK = Sizes(boundaries=0.0015, kills=2, faults=2, crowds=1, inputs=1000)
LANES = 2  # processes that work through the kills side by side
FAULT_EVERY = 60.0  # seconds between kills of a worker in the long search
KILLED = 3  # drivers of a crowd that are killed


def in_lanes(
    part: str, folder: Path, make: Callable[[int, Path, list[Row]], Iterator[Row]]
) -> list[Row]:
    """What `make` yields in each of LANES processes, kept in a file each; it is told what is there.
    Where the file ends with the word that the lane is through, nothing is made.
    """
    running = {}
    for lane in range(LANES):
        path, place = folder / f"{part}-{lane}.jsonl", folder / f"{part}-{lane}"
        if not _through(path):
            there = _rows(path) if path.exists() else []
            running[_forked(partial(make, lane, place, there), path)] = lane
    for process, lane in running.items():
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        if status:
            raise RuntimeError(f"{part}, lane {lane}: ended with status {status}")
    return [row for lane in range(LANES) for row in _rows(folder / f"{part}-{lane}.jsonl")]


def _forked(make: Callable[[], Iterator[Row]], path: Path) -> int:
    process = os.fork()
    if process:
        return process
    try:
        with path.open("a", encoding="utf-8") as file:
            for row in make():
                file.write(json.dumps(row) + "\n")
                file.flush()
            file.write('{"through": true}\n')
        os._exit(0)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)


def _through(path: Path) -> bool:
    if not path.exists():
        return False
    cut_torn_tail(path)
    return any("through" in row for row in read_lines(path, ()))


def _rows(path: Path) -> list[Row]:
    return [row for row in read_lines(path, ()) if "through" not in row]


def kept(part: str, folder: Path, make: Callable[[], Iterable[Row]], what: str) -> list[Row]:
    """What `make` yields, kept in a file."""
    path = folder / f"{part}.jsonl"
    if not _through(path):
        with path.open("w", encoding="utf-8") as file:
            for row in track(make(), what, console=Console(stderr=True)):
                file.write(json.dumps(row) + "\n")
                file.flush()
            file.write('{"through": true}\n')
    return _rows(path)


def soak(sizes: Sizes, folder: Path, seed: int) -> Row:
    """All of it; the keys of soak.json."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [f"{part}-{lane}" for part in ("boundaries", "moments") for lane in range(LANES)]
    if not all(_through(folder / f"{part}.jsonl") for part in (*parts, "crowds", "faults", "fuzz")):
        shutil.rmtree(folder / "first", ignore_errors=True)
        warm(folder / "first")
    each = sizes.kills // LANES

    def boundaries(lane: int, place: Path, there: list[Row]) -> Iterator[Row]:
        skip = {row["name"] for row in there}
        yield from map(
            asdict, kills.at_boundaries(place, sizes.boundaries, seed, lane, LANES, skip)
        )

    def moments(lane: int, place: Path, there: list[Row]) -> Iterator[Row]:
        left = each - sum(row["kills"] for row in there)
        yield from map(asdict, kills.at_random(place, left, seed + 1000 * lane + len(there)))

    stories = in_lanes("boundaries", folder, boundaries)
    stories += in_lanes("moments", folder, moments)
    crowds = kept(
        "crowds",
        folder,
        lambda: (
            asdict(crowd.crowd(folder / "crowd", seed + k, KILLED * (k % 2)))
            for k in range(sizes.crowds)
        ),
        "crowds of drivers",
    )
    rounds = kept(
        "faults",
        folder,
        lambda: map(asdict, faults.rounds(sizes.faults, seed)),
        "faults of workers",
    )
    inputs = kept("fuzz", folder, lambda: _fuzz(sizes.inputs, folder, seed), "bad input")
    return _summed(stories, crowds, rounds, inputs) | _long(sizes.hours, folder, seed)


def _long(hours: float, folder: Path, seed: int) -> Row:
    """The long search, made anew where it was not finished."""
    if not hours:
        return {}
    path, place = folder / "memory.jsonl", folder / "memory"
    if not _through(path):
        shutil.rmtree(place, ignore_errors=True)
    looks = memory.watch(place, 3600 * hours, FAULT_EVERY, seed)
    rows = kept("memory", folder, lambda: map(asdict, looks), "one long search")
    return memory.slopes([memory.Look(**row) for row in rows])


def _fuzz(count: int, folder: Path, seed: int) -> Iterator[Row]:
    for target in fuzz.targets(folder / "first" / "rl"):
        found = fuzz.fuzz(target, max(1, round(count * target.share)), folder, seed)
        yield {"target": target.name, **asdict(found)}
    for name, seconds, wrong in fuzz.bombs(folder):
        failures = [wrong] if wrong else []
        yield {"target": name, "inputs": 1, "refused": 1 - bool(wrong), "failures": failures} | {
            "slowest": seconds
        }


def _summed(stories: list[Row], crowds: list[Row], rounds: list[Row], inputs: list[Row]) -> Row:
    return {
        "kills": sum(s["kills"] for s in stories),
        "runs": len(stories),
        "runs_identical": sum(s["identical"] for s in stories),
        "evaluations_lost": sum(s["lost"] for s in stories),
        "evaluations_repeated": sum(s["repeated"] for s in stories),
        "worker_faults": sum(r["faults"] for r in rounds),
        "worker_rounds": len(rounds),
        "worker_rounds_wrong": sum(bool(r["wrong"]) for r in rounds),
        "cache_drivers": max((c["drivers"] for c in crowds), default=0),
        "cache_seconds": sum(c["seconds"] for c in crowds),
        "cache_trainings": sum(c["trainings"] for c in crowds),
        "expired_claims": sum(c["expired"] for c in crowds),
        "duplicate_trainings": sum(c["duplicates"] for c in crowds),
        "cache_errors": sum(bool(c["wrong"]) for c in crowds),
        "fuzz_inputs": sum(i["inputs"] for i in inputs),
        "fuzz_failures": sum(len(i["failures"]) for i in inputs),
        "fuzz_slowest_seconds": max((i["slowest"] for i in inputs), default=0.0),
        "wrong": [s["name"] + ": " + s["why"] for s in stories if s["why"]]
        + [r["kind"] + ": " + r["wrong"] for r in rounds if r["wrong"]]
        + [c["wrong"] for c in crowds if c["wrong"]]
        + [f"{i['target']}: {text}" for i in inputs for text in i["failures"][:3]],
    }


def _planted(parser: argparse.ArgumentParser, path: Path) -> Row:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {key: int(found[key]) for key in ("planted_bugs", "planted_bugs_noticed")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return parser.error(f"--planted {path}: not a JSON file of planted.py ({error!r})")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--out", type=Path, help="folder in which what was done is kept")
    parser.add_argument("--seed", type=int, default=0, help="of all moments and inputs")
    parser.add_argument("--hours", type=float, default=0.0, help="of one long search; 2 is usual")
    parser.add_argument("--planted", type=Path, help="JSON file of planted.py")
    options = parser.parse_args(argv)
    planted = _planted(parser, options.planted) if options.planted else {}
    sizes = replace(QUICK if options.quick else Sizes(), hours=options.hours)
    with run_folder(parser, options.out) as folder:
        found = soak(sizes, folder, options.seed) | planted
    rows = [
        [
            "kills of a driver",
            f"{found['kills']:,} of {found['runs']:,} runs",
            f"{found['runs'] - found['runs_identical']} runs differ, "
            f"{found['evaluations_lost']} records lost, "
            f"{found['evaluations_repeated']} trainings repeated",
        ],
        [
            "faults of workers",
            f"{found['worker_faults']:,} in {found['worker_rounds']:,} calls",
            f"{found['worker_rounds_wrong']} calls wrong",
        ],
        [
            "drivers on one cache",
            f"{found['cache_drivers']}, {found['cache_trainings']:,} trainings",
            f"{found['duplicate_trainings']} twice, {found['expired_claims']} claims expired, "
            f"{found['cache_errors']} errors",
        ],
        [
            "bad input",
            f"{found['fuzz_inputs']:,}, slowest {found['fuzz_slowest_seconds']:.1f} s",
            f"{found['fuzz_failures']} neither a value nor one line",
        ],
    ]
    if options.hours:
        rows.append(
            [
                "one long search",
                f"{found['hours']:.2f} h, {found['records']:,.0f} records",
                f"{found['memory_slope_mb_per_hour']:+.1f} MB/h, "
                f"{found['handles_slope_per_hour']:+.2f} handles/h, pace of the last tenth "
                f"{found['pace_last_over_first']:.2f} of the first",
            ]
        )
    print_table("What a search survives", ["what", "how often", "what went wrong"], rows)
    for line in found["wrong"][:20]:
        print(line)
    write_json(options.json, found)
    if found["wrong"]:
        parser.exit(1)


if __name__ == "__main__":
    main()
