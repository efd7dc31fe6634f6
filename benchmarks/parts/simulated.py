"""A simulated cluster: searches of the real engine on virtual workers and a clock that jumps.

Nothing is trained. What a function scores and how long its training takes come from recordings: the
`landscape` of a table, and the durations of that recording.
"""

from __future__ import annotations

import heapq
import json
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hybridsearch.config import Config, make_config
from hybridsearch.engine import Search
from hybridsearch.genome.function import resolve
from hybridsearch.observe import Silent
from hybridsearch.pools.line import Line, urgency
from hybridsearch.race import race
from hybridsearch.records import MemoryRecorder
from hybridsearch.session import make_proposer
from hybridsearch.tables.replay import table_config
from hybridsearch.threads import one_thread
from hybridsearch.types import Evaluation, Measure, Scale, Status, Task, accuracy_of, numbers_for
from parts.landscape import Landscape, landscape, uniform

DURATIONS = Path(__file__).resolve().parent / "durations.json"


@dataclass
class Cluster:
    """Workers that take tasks by their rank; a clock in seconds.

    driver: how far the driver's clock is, which runs while it thinks. busy: seconds of workers at
    work. Nobody waits for the driver but for tasks: who is free takes the next one that is there.
    """

    workers: int
    overhead: float  # seconds per task between two trainings of a worker
    driver: float = 0.0
    busy: float = 0.0
    idle: int = 0
    queue: Line[tuple[str, float]] = field(default_factory=Line)
    running: list[tuple[float, int, str]] = field(default_factory=list)  # by the time of their end
    done: deque[str] = field(default_factory=deque)
    started: int = 0

    def __post_init__(self) -> None:
        self.idle = self.workers

    def give(self, name: str, seconds: float, rank: float) -> None:
        """Give it a task now, which takes so long."""
        self.queue.add((name, seconds), rank)

    def think(self, seconds: float) -> None:
        """The driver is busy; workers go on meanwhile with what they have."""
        self._start(self.driver)
        self.driver += seconds
        while self.running and self.running[0][0] <= self.driver:
            self._end()
        self._start(self.driver)

    def wait(self) -> str | None:
        """The next task that is done, for which the driver waits; None where there is none."""
        self._start(self.driver)
        while not self.done:
            if not self.running:
                return None
            self._end()
        return self.done.popleft()

    def _start(self, now: float) -> None:
        while self.idle and self.queue:
            name, seconds = self.queue.take()
            self.idle -= 1
            self.started += 1
            self.busy += seconds
            heapq.heappush(self.running, (now + seconds + self.overhead, self.started, name))

    def _end(self) -> None:
        now, _, name = heapq.heappop(self.running)
        self.driver = max(self.driver, now)
        self.done.append(name)
        self.idle += 1
        self._start(now)

    @property
    def utilisation(self) -> float:
        """The share of all workers' time until now in which they trained."""
        return self.busy / (self.workers * self.driver) if self.driver else 0.0


class SimulatedEvaluator:
    """Answers from a landscape, when the cluster's clock says that a training would be over.

    minutes: of a full training of a function of median duration.
    """

    measure: Measure = accuracy_of(10)
    test_images = 0

    def __init__(self, land: Landscape, cluster: Cluster, steps: int, minutes: float) -> None:
        self.land, self.cluster, self.steps, self.seconds = land, cluster, steps, 60 * minutes
        self.scale: Scale = land.table.scale
        self._rung = {at: rung for rung, at in enumerate(land.table.steps)}
        self._factors = durations()
        self._trained: dict[tuple[str, int], int] = {}  # steps of the checkpoint by key and seed
        self.looked_up = 0.0  # seconds of this process in the landscape, which no driver spends

    def task(self, function: str, key: str, steps: int, seed: int) -> Task:
        return Task(function, key, steps, seed, "simulated")

    def replicates(self, function: str, key: str, steps: int, seeds: Sequence[int]) -> list[Task]:
        return [self.task(function, key, steps, seed) for seed in seeds]

    def evaluate(self, tasks: Sequence[Task], keep_below: int = 0) -> Iterator[Evaluation]:
        """As `Evaluator.evaluate`, in virtual time; what the driver does between two results takes
        as long as it takes here.
        """
        seen, names = 0, dict[str, Task]()
        thought = time.process_time()
        while True:
            fresh = list(tasks[seen:])
            seen += len(fresh)
            self.cluster.think(time.process_time() - thought)
            began = time.process_time()
            self.land.learn(fresh)
            self.looked_up += time.process_time() - began
            for task in fresh:
                names[task.hash] = task
                self.cluster.give(task.hash, *self._takes(task))
            name = self.cluster.wait()
            if name is None:
                return
            thought = time.process_time()
            yield self._answer(names.pop(name))

    def _takes(self, task: Task) -> tuple[float, float]:
        """Seconds of a training that goes on from the checkpoint of the rung below, and its rank:
        how slow a function is, is known once it was trained.
        """
        child = task.key, task.seed
        before = self._trained.get(child, 0)
        self._trained[child] = task.steps
        factor = self._factors[int(uniform("slow", task.key) * len(self._factors))]
        pace = self.seconds / self.steps * float(factor)
        return (task.steps - before) * pace, urgency(task.steps, pace if before else 0.0)

    def _answer(self, task: Task) -> Evaluation:
        loss = self.land.loss(task, self._rung[task.steps])
        if not np.isfinite(loss):
            return Evaluation(task.hash, Status.DIVERGED, message="diverged when it was recorded")
        return Evaluation(task.hash, Status.OK, loss, 0.5)

    def forget(self, tasks: Iterable[Task] | None = None) -> None: ...

    def calibrate(self) -> float:
        return float("inf")

    def note(self) -> str:
        return "a simulated cluster"

    def close(self) -> None: ...


@cache
def durations() -> NDArray[np.float64]:
    """Recorded trainings' seconds in units of their median: benchmarks/parts/durations.json."""
    return np.array(json.loads(DURATIONS.read_text(encoding="ascii"))["relative"])


TABLE, UNITS = "cifar10", 3
FUNCTIONS, MINUTES, OVERHEAD = 64, 10.0, 0.005  # per worker; of a full training; seconds per task


@dataclass(frozen=True)
class Setup:
    """A search on a simulated cluster. pipeline: batches under way beside one. endgame: functions
    at the end of the budget that are asked for at once.
    """

    strategy: str
    workers: int
    batch: int
    pipeline: int
    endgame: int
    seed: int


@dataclass(frozen=True)
class Row:
    """What became of it. hours: on the cluster's clock; thought: those that the driver was busy.

    Scores free of noise: incumbent, of the function with the best score; mean, of the incumbents
    after every function; candidates, of the best of those that the race begins with; winner, of
    whom race and retest name; met, of the best that was trained at all. steps: in full trainings
    per function. Race and retest are not in the times.
    """

    setup: Setup
    utilisation: float
    hours: float
    thought: float
    steps: float
    functions: int
    incumbent: float
    mean: float
    candidates: float
    winner: float
    met: float


def simulate(setup: Setup) -> Row:
    """What became of a search on a simulated cluster."""
    search, evaluator, thought = searched(setup)
    return _row(setup, search, evaluator, thought)


def searched(setup: Setup) -> tuple[Search, SimulatedEvaluator, float]:
    """A search of `FUNCTIONS` functions per worker over the space of up to three units, when it is
    over, and the seconds for which its driver was busy.
    """
    land = landscape(TABLE, UNITS)
    space = {"min_units": 1, "max_units": UNITS}
    config = make_config(
        {
            "strategy": setup.strategy,
            "budget": FUNCTIONS * setup.workers,
            "seed": setup.seed,
            "batch": setup.batch,
            "pipeline": setup.pipeline,
            "endgame": setup.endgame,
            "space": space,
            "race": {"one_in": None},  # as in the rows that are kept: 24 candidates, see racing.py
        }
    )
    on_table = table_config(land.table, config)
    config = on_table.model_copy(update={"space": config.space})
    evaluator = idle(setup, land)
    began = time.process_time()
    with one_thread():
        recorder = MemoryRecorder(evaluator)
        search = Search(config, make_proposer(config), recorder, Silent(), None)
        search.run()
    return search, evaluator, time.process_time() - began - evaluator.looked_up


def idle(setup: Setup, land: Landscape) -> SimulatedEvaluator:
    """With idle workers."""
    cluster = Cluster(setup.workers, OVERHEAD)
    return SimulatedEvaluator(land, cluster, land.table.steps[-1], MINUTES)


def _row(setup: Setup, search: Search, evaluator: SimulatedEvaluator, thought: float) -> Row:
    land, cluster = evaluator.land, evaluator.cluster
    trained = {key: entry for key, entry in search.known.items() if entry.order}
    keys = {entry.spec: key for key, entry in trained.items()}
    best, so_far, truths = -float("inf"), float("nan"), list[float]()
    for key, entry in sorted(trained.items(), key=lambda item: item[1].order):
        top = entry.rung == search.ladder.top and entry.status is Status.OK
        if top and entry.fitness is not None and entry.fitness > best:
            best, so_far = entry.fitness, land.truth(key)
        truths.append(so_far)
    candidates = search.known.candidates(search.config.race.candidates)
    return Row(
        setup,
        cluster.utilisation,
        cluster.driver / 3600,
        thought / 3600,
        search.steps_taken / search.ladder.rungs[-1] / len(trained),
        len(trained),
        so_far,
        float(np.nanmean(truths)),
        max(land.truth(keys[spec]) for spec in candidates),
        land.truth(keys[winner(search.config, candidates, idle(setup, land))]),
        max(map(land.truth, trained)),
    )


def winner(config: Config, candidates: Sequence[str], evaluator: SimulatedEvaluator) -> str:
    """Whom race and retest name, by validation data, among candidates (token texts)."""
    recorder = MemoryRecorder(evaluator)
    steps, retest = config.training.steps, config.retest
    seeds = numbers_for(config.seed, "retest", retest.first, retest.seeds)

    def mean(spec: str) -> float:
        tasks = evaluator.replicates(spec, resolve(spec).key, steps, seeds)
        results = recorder.evaluate(tasks)
        return float(np.mean([evaluator.scale.score(results[task.hash]) for task in tasks]))

    return max(race(config, candidates, recorder, Silent()).finalists, key=mean)
