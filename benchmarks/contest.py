"""Contestants in real processes: the plain loop in one, the evaluator in one per core.

The plain loop gets what PyTorch gives a user: one process, all threads. The evaluator gets what a
search gives it: loky workers with one thread each that all train at the same time, started with
`pools.loky.ENVIRONMENT`. Both stay warm; while one side is measured the other waits.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from math import inf
from types import TracebackType
from typing import Any, Protocol

import torch
from children import Children, data_for, kernel_name
from plain_loop import PlainTraining
from ratios import rounds

from hybridsearch.config import Config
from hybridsearch.errors import UserError
from hybridsearch.evaluate.training import Diverged
from hybridsearch.pools.loky import ENVIRONMENT, LokyPool
from hybridsearch.threads import one_thread

WARM_UP = 3  # steps: the first ones allocate, and may compile
CHUNK = {"cpu": 0.1, "cuda": 3.0}  # seconds between looks at the clock; a GPU's may be a graph


@dataclass(frozen=True)
class Entry:
    """One contestant. plain: the plain loop; else the evaluator in `workers` processes at once."""

    name: str
    formula: str
    config: Config
    plain: bool = False
    workers: int = 1
    device: str = "cpu"


@dataclass(frozen=True)
class Lap:
    """steps in seconds, in one process. cpu: processor seconds that it got in them. kernel: what
    computed the activation. problem: why the entry cannot run, else "".
    """

    steps: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    pid: int = 0
    threads: int = 0
    kernel: str = ""
    problem: str = ""
    gpu: bool = False


class Racer(Protocol):
    def advance(self, steps: int) -> None: ...

    @property
    def kernel(self) -> str: ...


class PlainRacer:
    kernel = "plain"

    def __init__(self, entry: Entry) -> None:
        data = data_for(entry.config.data)
        self.training = PlainTraining(entry.config, data, entry.formula, 0, entry.device)

    def advance(self, steps: int) -> None:
        self.training.train(steps)


class EvaluatorRacer:
    """The evaluator's own training loop, as its workers run it."""

    def __init__(self, entry: Entry) -> None:
        self.children, self.formula = Children(entry.config, entry.device), entry.formula
        self.child = self.children.new(self.formula)

    def advance(self, steps: int) -> None:
        with one_thread():
            try:
                self.children.trainer.train(self.child, self.child.step + steps)
            except Diverged:  # a new child; its making counts, which is rare and unfavourable
                self.child = self.children.new(self.formula, self.child.seed + 1)

    @property
    def kernel(self) -> str:
        return kernel_name(self.child.network)


_racers: dict[Entry, tuple[Racer, int]] = {}  # of this process, with the steps of a chunk


def prepare(job: tuple[Entry, float]) -> Lap:
    """Make this process's racer of an entry and warm it up; busy until `until` (monotonic)."""
    entry, until = job
    lap = _prepare(entry)
    time.sleep(max(0.0, until - time.monotonic()))
    return lap


def _prepare(entry: Entry) -> Lap:
    try:
        if entry not in _racers:
            racer: Racer = PlainRacer(entry) if entry.plain else EvaluatorRacer(entry)
            racer.advance(WARM_UP)
            synchronise(entry.device)
            begin = time.perf_counter()
            racer.advance(1)
            synchronise(entry.device)
            step = time.perf_counter() - begin
            _racers[entry] = racer, max(1, round(CHUNK[entry.device.split(":")[0]] / step))
    except UserError as error:
        return Lap(pid=os.getpid(), problem=str(error))
    return Lap(pid=os.getpid(), threads=torch.get_num_threads(), kernel=_racers[entry][0].kernel)


def lap(job: tuple[Entry, float, float]) -> Lap:
    """Train from `start` (monotonic, shared by all processes) for at least `window` seconds."""
    entry, start, window = job
    racer, chunk = _racers[entry]
    time.sleep(max(0.0, start - time.monotonic()))
    synchronise(entry.device)
    begin, used, steps = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - begin < window:
        racer.advance(chunk)
        steps += chunk
    synchronise(entry.device)  # on a GPU the loop runs ahead of what is done
    seconds, used = time.perf_counter() - begin, time.process_time() - used
    threads = torch.get_num_threads()
    return Lap(steps, seconds, used, os.getpid(), threads, racer.kernel, gpu=entry.device != "cpu")


def synchronise(device: str) -> None:
    """Wait until a GPU has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def clock(device: str) -> float:
    """Seconds, for what one thread computes: of processor time, which other programs hardly
    change; on a GPU of time, when all is done.
    """
    synchronise(device)
    return time.perf_counter() if device.startswith("cuda") else time.process_time()


class Machine:
    """The processes that are measured: started when first used, warm until closed."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.pool = LokyPool(workers)
        self._plain: ProcessPoolExecutor | None = None

    def plain(self, function: Callable[[Any], Any], job: object) -> Any:
        """Run in the process with PyTorch's default threads."""
        if self._plain is None:
            spawn = multiprocessing.get_context("spawn")
            self._plain = ProcessPoolExecutor(1, mp_context=spawn)
        return self._plain.submit(function, job).result()

    def one(self, function: Callable[[Any], Any], job: object) -> Any:
        """Run in one worker of the pool."""
        return dict(self.pool.run(function, {"": job}, inf))[""]

    def all(self, function: Callable[[Any], Any], job: object, workers: int) -> list[Any]:
        """Run the same job `workers` times at once, one per process if each takes long enough."""
        jobs = {str(n): job for n in range(workers)}
        return [result for _, result in self.pool.run(function, jobs, inf)]

    def __enter__(self) -> Machine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pool.close()
        if self._plain is not None:
            self._plain.shutdown()


@dataclass(frozen=True)
class Result:
    """rates: steps per second of the whole entry (summed over its workers), one per round.

    alone: steps per second of processor time (on a GPU: of time) and process, one per round; other
    programs hardly change it, so it is for entries of one thread that are compared with each other.
    share: of the processor time that its workers could have had, how much they got; what is well
    below 1 for the evaluator went to other programs.
    """

    rates: tuple[float, ...]
    alone: tuple[float, ...]
    share: float
    threads: int
    kernel: str


def race(
    machine: Machine,
    entries: Sequence[Entry],
    count: int,
    window: float,
    tick: Callable[[], None] = lambda: None,
) -> tuple[dict[str, Result], dict[str, str]]:
    """`count` interleaved rounds of all entries, `window` seconds each: (results, problems) by
    name; an entry with a problem (a kernel that this machine lacks, say) does not run.
    """
    problems: dict[str, str] = {}
    for entry in entries:
        problem = _prepare_everywhere(machine, entry)
        tick()
        if problem:
            problems[entry.name] = problem
    able = [e for e in entries if e.name not in problems]
    laps: dict[str, list[list[Lap]]] = {e.name: [] for e in able}
    for _, entry in rounds(able, count):
        laps[entry.name].append(_run(machine, entry, window))
        tick()
    results = {
        name: Result(
            tuple(sum(one.steps / one.seconds for one in turn) for turn in turns),
            tuple(sum(map(_alone, turn)) / len(turn) for turn in turns),
            _share(turns),
            turns[0][0].threads,
            turns[0][0].kernel,
        )
        for name, turns in laps.items()
    }
    return results, problems


def _alone(one: Lap) -> float:
    return one.steps / (one.seconds if one.gpu else one.cpu)


def _share(turns: list[list[Lap]]) -> float:
    laps = [one for turn in turns for one in turn]
    return sum(one.cpu for one in laps) / sum(one.seconds * one.threads for one in laps)


def _prepare_everywhere(machine: Machine, entry: Entry) -> str:
    """Every process that may run the entry gets its racer; returns the problem, if there is one."""
    if entry.plain:
        return str(machine.plain(prepare, (entry, 0.0)).problem)
    ready: set[int] = set()
    while len(ready) < machine.workers:
        until = time.monotonic() + 0.2
        for done in machine.all(prepare, (entry, until), machine.workers):
            if done.problem:
                return str(done.problem)
            ready.add(done.pid)
    return ""


def _run(machine: Machine, entry: Entry, window: float) -> list[Lap]:
    start = time.monotonic() + 0.05  # by then every process has its job
    if entry.plain:
        return [machine.plain(lap, (entry, start, window))]
    while True:
        found = machine.all(lap, (entry, start, window), entry.workers)
        if len({one.pid for one in found}) == entry.workers:
            return found
        start = time.monotonic() + 0.05


def default_environment() -> None:
    """Take out of this process's environment what would not be PyTorch's default in the plain
    loop's process; before any process is started.
    """
    for name in ENVIRONMENT:
        os.environ.pop(name, None)
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # a profiler's start and stop are no news
