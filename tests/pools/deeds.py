"""Jobs for tests, importable by workers: light, since every new process imports them."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from hybridsearch.pools.passport import Passport
from hybridsearch.pools.wire import Good, Home

HERE = Passport("driver", "1", "abcd", "3.11", "2.13.0", "2.4", "a processor", "avx2", "gcc", "")


@dataclass(frozen=True)
class Deed:
    """A job. folder: of its file `name`, which it reads and writes."""

    name: str
    folder: Path | None = None


@dataclass(frozen=True)
class Deeds:
    """A trade. passport: of the workers. own_data: digest of the data that they have themselves.
    module: one that they import.
    """

    passport: Passport = HERE
    own_data: str = ""
    module: str = ""

    def look(self):
        return self.passport

    def code(self):
        return {"module": __import__(self.module).NAME} if self.module else {}

    def own(self, good: Good):
        if not self.own_data:
            raise OSError("no such file")
        return self.own_data

    def settle(self, home: Home):
        sys.path[:0] = [path for path in home.paths if path not in sys.path]
        os.environ["GOODS"] = home.goods.get("search", "none")

    def children(self, job):
        return (job.name,) if isinstance(job, Deed) and job.folder else ()

    def placed(self, job, folder):
        return replace(job, folder=folder)


def double(x):
    return 2 * x


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


def fatal_if_negative(x):
    return die(x) if x < 0 else x


def refuse(x):
    raise ValueError(f"no {x}")


def surroundings(_):
    return os.getpid(), os.environ["OMP_NUM_THREADS"], os.environ["GOODS"]


def place(seconds):
    """After a while, the worker in which this process was started."""
    time.sleep(seconds)
    return os.getppid()


def gpu_of(seconds):
    """After a while, the GPUs that this process sees, and who it is."""
    time.sleep(seconds)
    return os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid()


def grow(deed):
    """Adds a letter to the job's file; what was in it, and where."""
    path = Path(deed.folder, deed.name)
    text = path.read_text() if path.exists() else ""
    path.write_text(text + "x")
    return text
