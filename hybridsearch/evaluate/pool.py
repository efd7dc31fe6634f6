"""Where jobs run: joblib's loky worker processes, or this process.

loky fails every job in flight when one worker dies, and knows no limit per job. Here a worker
that overruns its limit ends itself (a watchdog in C, so that even a stuck kernel is ended), and
the jobs that were running when a worker died are tried again one by one; the one that kills its
worker twice is named a failure, all others are finished.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from joblib.externals.loky.process_executor import BrokenProcessPool, ProcessPoolExecutor

from hybridsearch.errors import UserError

In = TypeVar("In")
Out = TypeVar("Out")


def _tunables(ours: str) -> str:
    """glibc's settings of this process's environment, and ours."""
    return ":".join(filter(None, [os.environ.get("GLIBC_TUNABLES", ""), ours]))


# One thread per process (more collapse on a busy machine), and glibc keeps its pages between
# steps: both must be in the environment before the worker starts.
ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(64 << 20),
    # Memory in pages of 2 MB where the system lends them: a training step walks through hundreds
    # of megabytes, and with pages of 4 kB it is 5 to 10% slower.
    "GLIBC_TUNABLES": _tunables("glibc.malloc.hugetlb=1"),
}
GRACE = 5.0  # seconds between the limit that a job may notice itself and the end of its process
MAX_BARREN = 3  # times that workers may die with no job begun before the run gives up
LOOK = 1.0  # seconds between looks of a worker whether its driver is still there
IDLE = 600  # seconds after which an unused worker goes away


def _begin() -> None:
    """In a worker: Ctrl-C is the driver's affair, which then ends the workers; and where the driver
    is killed they end by themselves, since nobody else would end them.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(driver: int) -> None:
    while os.getppid() == driver:
        time.sleep(LOOK)
    os._exit(1)


@cache
def _settle() -> None:
    """In a worker, after its first job: leave modules and data that are there out of garbage
    collection. loky collects every second, and with torch loaded that takes a tenth of one.
    """
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class Failure:
    """A job that its machine did not finish, twice; `timeout` says that it overran its limit."""

    message: str
    timeout: bool


class Pool(Protocol):
    """Runs `function` on every job and yields (name, result) as they are done."""

    def run(
        self, function: Callable[[In], Out], jobs: Mapping[str, In], limit: float
    ) -> Iterator[tuple[str, Out | Failure]]: ...

    def close(self) -> None: ...


class InlinePool:
    """Runs jobs one after the other in this process: for tests and debuggers, no hard limit."""

    workers = 1

    def run(
        self, function: Callable[[In], Out], jobs: Mapping[str, In], limit: float
    ) -> Iterator[tuple[str, Out | Failure]]:
        for name, job in jobs.items():
            yield name, function(job)

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True)
class _Call(Generic[In, Out]):
    """One job as it goes to a worker; `mark` is a file that says that it has begun, and when."""

    function: Callable[[In], Out]
    job: In
    mark: Path
    limit: float

    def __call__(self) -> Out:
        self.mark.write_text(str(time.monotonic()))
        try:
            return self._run()
        finally:
            _settle()

    def _run(self) -> Out:
        if self.limit == float("inf"):
            return self.function(self.job)
        with Path(os.devnull).open("w") as nowhere:
            faulthandler.dump_traceback_later(self.limit + GRACE, exit=True, file=nowhere)
            try:
                return self.function(self.job)
            finally:
                faulthandler.cancel_dump_traceback_later()


def _begun(mark: Path) -> float:
    """When a job began, by its mark; inf where it did not get so far."""
    try:
        return float(mark.read_text())
    except (OSError, ValueError):
        return float("inf")


class LokyPool:
    """Worker processes of one thread each, started once and kept between calls."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._executor: Any = None

    def _start(self) -> Any:
        """The running executor; a new one when there is none or it broke."""
        if self._executor is not None and self._executor._flags.broken is not None:
            self.close()
        if self._executor is None:
            self._executor = ProcessPoolExecutor(
                self.workers, timeout=IDLE, env=ENVIRONMENT, initializer=_begin
            )
        return self._executor

    def run(
        self, function: Callable[[In], Out], jobs: Mapping[str, In], limit: float
    ) -> Iterator[tuple[str, Out | Failure]]:
        """Yield every job's result once, in the order in which they are done.

        limit: seconds after which a job's process is ended (plus GRACE). An exception that
        `function` raises is raised here: workers return failures as values.
        """
        waiting = dict(jobs)
        barren = 0
        while waiting:
            before = len(waiting)
            with tempfile.TemporaryDirectory(
                prefix="hybridsearch-", ignore_cleanup_errors=True
            ) as folder:
                marks = {name: Path(folder, str(n)) for n, name in enumerate(waiting)}
                yield from self._collect(function, waiting, marks, limit)
                suspects = [name for name in waiting if marks[name].exists()]
            for name in suspects:
                yield from self._alone(function, name, waiting.pop(name), limit)
            barren = 0 if len(waiting) < before else barren + 1
            if barren == MAX_BARREN:
                raise UserError(
                    f"workers died {barren} times before they began a job; is memory exhausted?"
                )

    def _collect(
        self,
        function: Callable[[In], Out],
        waiting: dict[str, In],
        marks: Mapping[str, Path],
        limit: float,
    ) -> Iterator[tuple[str, Out]]:
        """Yield what gets done and take it out of `waiting`; a dead worker ends this early."""
        executor = self._start()
        futures = {}
        try:
            for name, job in waiting.items():
                futures[executor.submit(_Call(function, job, marks[name], limit))] = name
            for future in as_completed(futures):
                if not isinstance(future.exception(), BrokenProcessPool):
                    result = future.result()
                    name = futures[future]
                    del waiting[name]
                    yield name, result
        except BrokenProcessPool:
            return
        finally:
            for future in futures:
                future.cancel()

    def _alone(
        self, function: Callable[[In], Out], name: str, job: In, limit: float
    ) -> Iterator[tuple[str, Out | Failure]]:
        """Try a suspect again, with no other job beside it that could be blamed or lost."""
        with tempfile.TemporaryDirectory(
            prefix="hybridsearch-", ignore_cleanup_errors=True
        ) as folder:
            alone, mark = {name: job}, Path(folder, "mark")
            yield from self._collect(function, alone, {name: mark}, limit)
            if alone:
                late = time.monotonic() - _begun(mark) > limit
                why = f"overran its limit of {limit:.0f} s" if late else "killed its worker"
                yield name, Failure(f"{why} twice", late)

    def close(self) -> None:
        """End the workers, whatever they are doing."""
        executor, self._executor = self._executor, None
        if executor is None:
            return
        processes = list((executor._processes or {}).values())
        # Not loky's kill_workers: after a Ctrl-C in the middle of its work it may leave workers
        # behind, for which the driver would wait for ever at its exit, and its thread stumbles
        # over jobs that were cancelled. Of dead workers it takes notice by itself.
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)  # loky's processes have no kill()
            process.join(GRACE)
        with contextlib.suppress(Exception):
            executor.shutdown(wait=False)


def make_pool(kind: str, workers: int) -> Pool:
    """The pool of a config: "loky" or "inline"."""
    return InlinePool() if kind == "inline" else LokyPool(workers)
