"""One long search with a fault now and then: do memory, file handles and pace stay as they are?"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hybridsearch.analysis.runs import LOG

EVERY = 5.0  # seconds between looks
WARM = 0.1  # of the time, which is left out of slopes: modules and caches fill up
SETTINGS: dict[str, Any] = {
    "strategy": "hybrid",
    "budget": 10_000_000,
    "workers": 2,
    "space": {"min_units": 1, "max_units": 2},
    "data": {"train": 400, "validation": 200},
    "network": {"name": "digits_mlp", "width": 16},
    "training": {"steps": 40, "batch_size": 32, "warmup": 3},
    "fidelity": {"rungs": [0.25, 1.0]},
    "race": {"candidates": 0},
    "retest": {"seeds": 2, "finalists": 1, "resamples": 100},
}


@dataclass(frozen=True)
class Look:
    """seconds since the begin. spent: processor seconds of driver and workers, those that ended
    too. driver, workers: resident bytes, of all workers together. handles: open files of the
    driver. records: whole lines of the log.
    """

    seconds: float
    spent: float
    driver: int
    workers: int
    handles: int
    records: int


def watch(folder: Path, seconds: float, fault_every: float, seed: int) -> Iterator[Look]:
    """Search for so long, killing a worker every `fault_every` seconds, and look at it."""
    folder.mkdir(parents=True, exist_ok=True)
    run, draw = folder / "run", random.Random(seed)
    settings = {**SETTINGS, "seconds": seconds, "cache": str(folder / "cache.sqlite")}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    command = [sys.executable, "-m", "hybridsearch", "--config", str(folder / "config.yaml")]
    began = fault = time.monotonic()
    with (
        (folder / "output.txt").open("w") as output,
        subprocess.Popen([*command, "--out", str(run)], stdout=output, stderr=output) as driver,
    ):
        while driver.poll() is None and time.monotonic() - began < seconds:
            time.sleep(min(EVERY, seconds / 20))
            workers = _workers(driver.pid)
            if workers:
                yield _look(driver.pid, workers, run / LOG, time.monotonic() - began)
            if workers and time.monotonic() - fault > fault_every:
                os.kill(draw.choice(workers), signal.SIGKILL)
                fault = time.monotonic()
        driver.wait()
    if driver.returncode:
        raise RuntimeError((folder / "output.txt").read_text()[-500:])


def slopes(looks: list[Look]) -> dict[str, float]:
    """What the looks say, after the warm-up. memory_slope: megabytes per hour of driver and workers
    together. pace: records per second of the last tenth over those of the first one; by_spent: per
    processor second, which other work on the machine changes less.
    """
    begin, end = looks[0].seconds, looks[-1].seconds
    kept = [look for look in looks if look.seconds >= begin + WARM * (end - begin)]
    hours = np.array([look.seconds for look in kept]) / 3600

    def slope(values: list[float]) -> float:
        return float(np.polyfit(hours, np.array(values), 1)[0])

    first, last = kept[: len(kept) // 10 + 1], kept[-len(kept) // 10 :]
    return {
        "hours": (end - begin) / 3600,
        "memory_slope_mb_per_hour": slope([(x.driver + x.workers) / 1e6 for x in kept]),
        "driver_slope_mb_per_hour": slope([x.driver / 1e6 for x in kept]),
        "workers_slope_mb_per_hour": slope([x.workers / 1e6 for x in kept]),
        "driver_mb": kept[-1].driver / 1e6,
        "handles_slope_per_hour": slope([float(x.handles) for x in kept]),
        "pace_last_over_first": _pace(last, "seconds") / _pace(first, "seconds"),
        "pace_by_spent_last_over_first": _pace(last, "spent") / _pace(first, "spent"),
        "records": float(looks[-1].records),
    }


def _pace(looks: list[Look], clock: str) -> float:
    """Records per second of a clock."""
    first, last = looks[0], looks[-1]
    return (last.records - first.records) / max(getattr(last, clock) - getattr(first, clock), 1e-9)


def _workers(driver: int) -> list[int]:
    """The processes that a driver has begun to train in."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8").rpartition(")")[2].split()
            command = (path.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == driver and b"popen_loky" in command:
            found.append(int(path.parent.name))
    return sorted(found)


def _look(driver: int, workers: list[int], log: Path, seconds: float) -> Look:
    records = log.read_bytes().count(b"\n") if log.exists() else 0
    handles = len(list(Path(f"/proc/{driver}/fd").iterdir()))
    spent = _spent(driver, ended=True) + sum(map(_spent, workers))
    return Look(seconds, spent, _resident(driver), sum(map(_resident, workers)), handles, records)


def _spent(process: int, ended: bool = False) -> float:
    """Processor seconds of a process; ended: with those of its children that have ended."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    ticks = text.rpartition(")")[2].split()[11 : 15 if ended else 13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _resident(process: int) -> int:
    try:
        pages = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
