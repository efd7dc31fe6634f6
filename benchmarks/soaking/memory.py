"""One long search with a fault now and then: do memory, file handles and pace stay as they are?"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy import stats

from hybridsearch.analysis.runs import LOG
from hybridsearch.config import make_config
from hybridsearch.evaluate.evaluator import training_config
from hybridsearch.evaluate.worker import trainer_for
from hybridsearch.evidence.statistics import CONFIDENCE
from hybridsearch.genome.function import resolve
from hybridsearch.threads import one_thread

EVERY = 5.0  # seconds between looks
LINE = 5  # tenths from which a trend is told
WARM = 0.1  # of the time, which is left out of slopes: modules and caches fill up
SETTINGS: dict[str, Any] = {
    "strategy": "hybrid",
    "budget": 10_000_000,
    "workers": 2,
    "space": {"min_units": 2, "max_units": 2},  # one unit would be used up
    "data": {"train": 400, "validation": 200},
    "network": {"name": "digits_mlp", "width": 16},
    "training": {"steps": 40, "batch_size": 32, "warmup": 3},
    "fidelity": {"rungs": [0.25, 1.0]},
    "race": {"candidates": 0},
    "retest": {"seeds": 2, "finalists": 1, "resamples": 100},
}
# What a stopwatch trains: machines that others share change their speed by half within an hour, and
# small tensors feel it more than plain Python does.
YARDSTICK = ("mul tanh x sigmoid x | add sin u1 id x", "max atan x abs x | rbf cos x neg u1")


@dataclass(frozen=True)
class Look:
    """seconds since the begin. spent, trained: processor seconds of the driver and of the workers,
    those that ended too. driver, workers: resident bytes, of all workers together. handles: open
    files of the driver. records: whole lines of the log. yardstick: processor seconds that a fixed
    piece of training takes at the time.
    """

    seconds: float
    spent: float
    trained: float
    driver: int
    workers: int
    handles: int
    records: int
    yardstick: float

    @property
    def processor(self) -> float:
        return self.spent + self.trained


def watch(folder: Path, limit: float, fault_every: float, seed: int) -> Iterator[Look]:
    """Search for `limit` seconds, killing a worker every `fault_every` seconds, and look at it."""
    folder.mkdir(parents=True, exist_ok=True)
    yardstick = stopwatch()
    run, draw = folder / "run", random.Random(seed)
    settings = {**SETTINGS, "seconds": limit, "cache": str(folder / "cache.sqlite")}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    command = [sys.executable, "-m", "hybridsearch", "--config", str(folder / "config.yaml")]
    began = fault = time.monotonic()
    with (
        (folder / "output.txt").open("w") as output,
        subprocess.Popen([*command, "--out", str(run)], stdout=output, stderr=output) as driver,
    ):
        while driver.poll() is None and time.monotonic() - began < limit:
            time.sleep(min(EVERY, limit / 20))
            workers = _workers(driver.pid)
            if workers:
                took = yardstick()
                yield _look(driver.pid, workers, run / LOG, time.monotonic() - began, took)
            if workers and time.monotonic() - fault > fault_every:
                os.kill(draw.choice(workers), signal.SIGKILL)
                fault = time.monotonic()
        driver.wait()
    if driver.returncode:
        raise RuntimeError((folder / "output.txt").read_text()[-500:])


def slopes(looks: list[Look]) -> dict[str, Any]:
    """What the looks say, after the warm-up. memory_slope: megabytes per hour of driver and workers
    together. pace: records per second of the last tenth over those of the first one; by_spent: per
    processor second, which other work on the machine changes less; by_yardstick: per yardstick's
    worth of processor seconds, which the machine's own speed changes less; tenths: the least and
    the most of that in a tenth, over the mean of all ten. trend: by how much that grows per hour,
    as a share, with the interval of a line through the logarithms of the tenths.
    """
    begin, end = looks[0].seconds, looks[-1].seconds
    kept = [look for look in looks if look.seconds >= begin + WARM * (end - begin)]
    hours = np.array([look.seconds for look in kept]) / 3600

    def slope(values: list[float]) -> float:
        return float(np.polyfit(hours, np.array(values), 1)[0])

    first, last = kept[: len(kept) // 10 + 1], kept[-len(kept) // 10 :]
    parts = np.array_split(np.arange(len(kept)), min(10, max(1, len(kept) // 2)))
    tenths = [_steady_pace([kept[k] for k in part]) for part in parts]
    mean = max(float(np.mean(tenths)), 1e-9)
    return {
        "hours": (end - begin) / 3600,
        "memory_slope_mb_per_hour": slope([(x.driver + x.workers) / 1e6 for x in kept]),
        "driver_slope_mb_per_hour": slope([x.driver / 1e6 for x in kept]),
        "workers_slope_mb_per_hour": slope([x.workers / 1e6 for x in kept]),
        "driver_mb": kept[-1].driver / 1e6,
        "handles_slope_per_hour": slope([float(x.handles) for x in kept]),
        "pace_last_over_first": _pace(last, "seconds") / _pace(first, "seconds"),
        "pace_by_spent_last_over_first": _pace(last, "processor") / _pace(first, "processor"),
        "pace_by_yardstick_last_over_first": _steady_pace(last) / _steady_pace(first),
        "pace_by_yardstick_of_tenths": [min(tenths) / mean, max(tenths) / mean],
        "pace_by_yardstick_trend_per_hour": _trend([hours[part].mean() for part in parts], tenths),
        "yardstick_last_over_first": _yardstick(last) / _yardstick(first),
        "records": float(looks[-1].records),
    }


def _trend(hours: list[float], paces: list[float]) -> dict[str, float] | None:
    if len(hours) < LINE or min(paces) <= 0:
        return None
    line = stats.linregress(hours, np.log(paces))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(hours) - 2)) * line.stderr
    bounds = {"mean": line.slope, "low": line.slope - reach, "high": line.slope + reach}
    return {name: float(np.expm1(value)) for name, value in bounds.items()}


def _pace(looks: list[Look], clock: str) -> float:
    """Records per second of a clock."""
    first, last = looks[0], looks[-1]
    return (last.records - first.records) / max(getattr(last, clock) - getattr(first, clock), 1e-9)


def _steady_pace(looks: list[Look]) -> float:
    """Records per processor second of a machine on which the yardstick takes one."""
    return _pace(looks, "processor") * _yardstick(looks)


def _yardstick(looks: list[Look]) -> float:
    return float(np.median([look.yardstick for look in looks]))


def stopwatch() -> Callable[[], float]:
    """What measures processor seconds of training the YARDSTICK here for 20 steps."""
    config = training_config(make_config(SETTINGS), "fp32")
    with one_thread():
        trainer = trainer_for(config, "cpu")
    functions = [resolve(text) for text in YARDSTICK]

    def measure() -> float:
        with one_thread():
            began = time.process_time()
            for function in functions:
                child = trainer.new_child(function, 0)
                for _ in trainer.course(child, 20):
                    pass
            return time.process_time() - began

    measure()
    return measure


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


def _look(driver: int, workers: list[int], log: Path, seconds: float, yardstick: float) -> Look:
    records = log.read_bytes().count(b"\n") if log.exists() else 0
    handles = len(list(Path(f"/proc/{driver}/fd").iterdir()))
    spent, ended = _spent(driver)
    trained = ended + sum(_spent(worker)[0] for worker in workers)
    resident = sum(map(_resident, workers))
    own = _resident(driver)
    return Look(seconds, spent, trained, own, resident, handles, records, yardstick)


def _spent(process: int) -> tuple[float, float]:
    """Processor seconds of a process, and of its children that have ended."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except OSError:
        return 0.0, 0.0
    own, system, ended, their_system = map(int, text.rpartition(")")[2].split()[11:15])
    hertz = os.sysconf("SC_CLK_TCK")
    return (own + system) / hertz, (ended + their_system) / hertz


def _resident(process: int) -> int:
    try:
        pages = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
