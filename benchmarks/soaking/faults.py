"""Workers that die or hang: every other job must be done once and rightly, the culprit be named."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hybridsearch.pools import loky as pools
from hybridsearch.pools.failure import Failure
from hybridsearch.pools.loky import LokyPool

WORKERS, BESIDE = 2, 5  # jobs beside a culprit
LIMIT = 0.5  # seconds of a job
PROMPT = 0.2  # seconds of grace after that, here
KINDS = ("kill", "segfault", "exit", "hang", "once")


@dataclass(frozen=True)
class Deed:
    """A job. kind: of fault, "" for none; "once" is killed at its first try only. mark: a file that
    tells of every try.
    """

    kind: str
    number: int
    mark: Path


def work(deed: Deed) -> int:
    """The square of the job's number, unless it is a culprit."""
    with deed.mark.open("a", encoding="ascii") as file:
        file.write(".")
    if deed.kind == "once" and deed.mark.stat().st_size > 1:
        return deed.number**2
    if deed.kind in ("kill", "once"):
        os.kill(os.getpid(), signal.SIGKILL)
    elif deed.kind == "segfault":
        ctypes.string_at(0)
    elif deed.kind == "exit":
        os._exit(3)
    elif deed.kind == "hang":
        time.sleep(60)
    time.sleep(0.005)
    return deed.number**2


@dataclass
class Round:
    """One call with one culprit. faults: workers that it has ended. wrong: in words, or ""."""

    kind: str
    faults: int
    wrong: str


def rounds(count: int, seed: int) -> Iterator[Round]:
    """Calls until `count` workers were ended by their jobs."""
    draw = random.Random(seed)
    pools.GRACE = PROMPT
    pool = LokyPool(WORKERS)
    faults = 0
    try:
        while faults < count:
            kind = draw.choice(KINDS)
            with tempfile.TemporaryDirectory() as folder:
                made = _round(pool, kind, draw.randrange(BESIDE + 1), Path(folder))
            faults += made.faults
            yield made
    finally:
        pool.close()


def _round(pool: LokyPool, kind: str, place: int, folder: Path) -> Round:
    jobs = {str(k): Deed(kind if k == place else "", k, folder / str(k)) for k in range(BESIDE + 1)}
    results = list(pool.run(work, jobs, LIMIT))
    tries = jobs[str(place)].mark.stat().st_size
    found = dict(results)
    wrong = []
    if sorted(name for name, _ in results) != sorted(jobs):
        wrong.append(f"results of {sorted(name for name, _ in results)}")
    for name, deed in jobs.items():
        if not deed.kind or deed.kind == "once":
            if found.get(name) != deed.number**2:
                wrong.append(f"job {name} gave {found.get(name)}")
        elif not isinstance(found.get(name), Failure):
            wrong.append(f"culprit gave {found.get(name)}")
        elif found[name].timeout != (deed.kind == "hang"):  # type: ignore[union-attr]
            wrong.append(f"{deed.kind} was told as {found[name]}")
    if tries != 2:
        wrong.append(f"the culprit was tried {tries} times")
    return Round(kind, tries - (kind == "once"), "; ".join(wrong))
