"""Worker processes of this machine, by joblib's loky.

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
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic

from joblib.externals.loky import process_executor
from joblib.externals.loky.process_executor import BrokenProcessPool, ProcessPoolExecutor

from hybridsearch.errors import UserError
from hybridsearch.pools.base import In, LocalPool, Out, added
from hybridsearch.pools.failure import Failure
from hybridsearch.pools.line import Line, rank_of


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
DEPTH = 4  # jobs out per worker, so that what is more urgent than the others need not wait long
IDLE = 600  # seconds after which an unused worker goes away


def _begin() -> None:
    """In a worker: Ctrl-C is the driver's affair, which then ends the workers; and where the driver
    is killed they end by themselves, since nobody else would end them.

    Where psutil is installed, loky ends a worker that has grown by 300 MB since its first job, as
    leaking: on a GPU every worker does, when CUDA's libraries are loaded, and each new one takes
    ten seconds to start. There is no setting for it.
    """
    process_executor._USE_PSUTIL = False
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


@dataclass
class _Work(Generic[In, Out]):
    """The jobs of a run and what became of them.

    waiting: those that are not done, of the first `seen`; folder: of their marks.
    """

    function: Callable[[In], Out]
    jobs: Mapping[str, In]
    waiting: dict[str, In]
    folder: Path
    limit: float
    seen: int = 0
    marks: dict[str, Path] = field(default_factory=dict)

    def fresh(self) -> dict[str, In]:
        """Jobs that were added since the last call."""
        names = added(self.jobs, self.seen)
        self.seen += len(names)
        return {name: self.jobs[name] for name in names}

    def mark(self, name: str) -> Path:
        return self.marks.setdefault(name, self.folder / str(len(self.marks)))

    def call(self, name: str) -> _Call[In, Out]:
        return _Call(self.function, self.waiting[name], self.mark(name), self.limit)

    def begun(self) -> list[str]:
        """Jobs that began and did not end."""
        return [name for name in self.waiting if name in self.marks and self.marks[name].exists()]


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A temporary folder for marks."""
    with tempfile.TemporaryDirectory(prefix="hybridsearch-", ignore_cleanup_errors=True) as name:
        yield Path(name)


class LokyPool(LocalPool):
    """Worker processes of one thread each, started once and kept between calls."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._executor: Any = None
        self._retired = False

    def _start(self) -> Any:
        """The running executor; a new one when there is none or it broke."""
        if self._retired:
            raise RuntimeError("this pool takes no more jobs")
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
        waiting: dict[str, In] = {}
        seen = barren = 0
        while waiting or len(jobs) > seen:
            before = seen - len(waiting)  # jobs that were done
            with _folder() as folder:
                work = _Work(function, jobs, waiting, folder, limit, seen)
                yield from self._collect(work)
                seen, suspects = work.seen, work.begun()
            for name in suspects:
                yield from self._alone(function, name, waiting.pop(name), limit)
            barren = 0 if seen - len(waiting) > before else barren + 1
            if barren == MAX_BARREN:
                raise UserError(
                    f"workers died {barren} times before they began a job; is memory exhausted?"
                )

    def _collect(self, work: _Work[In, Out]) -> Iterator[tuple[str, Out]]:
        """Yield what gets done and take it out of what waits; a dead worker ends this early."""
        executor = self._start()
        done: SimpleQueue[Any] = SimpleQueue()
        futures: dict[Any, str] = {}
        work.waiting |= work.fresh()
        line: Line[str] = Line()
        submitted: Iterable[str] = tuple(work.waiting)
        try:
            while True:
                for name in submitted:
                    line.add(name, rank_of(work.jobs, name))
                while line and len(futures) < DEPTH * self.workers:
                    name = line.take()
                    future = executor.submit(work.call(name))
                    futures[future] = name
                    future.add_done_callback(done.put)
                if not futures:
                    return
                future = done.get()
                if isinstance(future.exception(), BrokenProcessPool):
                    return
                result, name = future.result(), futures.pop(future)
                del work.waiting[name]
                yield name, result
                submitted = fresh = work.fresh()
                work.waiting |= fresh
        except BrokenProcessPool:
            return
        finally:
            for future in futures:
                future.cancel()

    def _alone(
        self, function: Callable[[In], Out], name: str, job: In, limit: float
    ) -> Iterator[tuple[str, Out | Failure]]:
        """Try a suspect again, with no other job beside it that could be blamed or lost."""
        with _folder() as folder:
            work = _Work(function, {name: job}, {}, folder, limit)
            yield from self._collect(work)
            if work.waiting:
                late = time.monotonic() - _begun(work.mark(name)) > limit
                why = f"overran its limit of {limit:.0f} s" if late else "killed its worker"
                yield name, Failure(f"{why} twice", late)

    def retire(self) -> None:
        """Close for good, from another thread than runs jobs: they are not tried again."""
        self._retired = True
        self.close()

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
