"""A simulated cluster: searches of the real engine on virtual workers and a clock that jumps.

Nothing is trained. What a function scores and how long its training takes come from recordings:
a landscape that a process over a recorded table spreads over larger spaces, and the durations of
that recording.
"""

from __future__ import annotations

import heapq
import json
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from hybridsearch.genome.text import from_token_text
from hybridsearch.surrogate.experience import Experience, Past
from hybridsearch.surrogate.targets import exponential
from hybridsearch.tables.table import NOISE, Table, load_table
from hybridsearch.types import Evaluation, Measure, Scale, Status, Task, accuracy_of

DURATIONS = Path(__file__).resolve().parent / "durations.json"


def _uniform(*parts: object) -> float:
    """A number in (0, 1) that these parts alone decide."""
    digest = blake2b(" ".join(map(str, parts)).encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") + 0.5) / 2.0**64


class Landscape:
    """A score for every function of any space.

    A process over a table's functions says what rank a function has among them; what it misses on
    functions that it was not shown is added as noise of the same size, drawn once per function. The
    recorded function of that rank lends its losses at all rungs, with their replicates. Beyond the
    table's best the scores go on as the best tenth rises with its rank's logarithm.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        genomes = table.genomes  # made anew whenever it is asked for
        rows = np.array(sorted(genomes))
        scores = table.scores("validation")[rows, :, -1]
        means = np.nanmean(scores, axis=1)
        past = Past([genomes[row] for row in rows], means)
        self._experience = Experience([past])
        targets = exponential(means)
        share = (np.argsort(np.argsort(means)) + 0.5) / len(means)
        spread = -np.log1p(-share)
        self._means = dict(zip(rows.tolist(), means.tolist(), strict=True))
        self._centre, self._deviation = float(spread.mean()), float(spread.std())
        seen = self._experience.describe(past.genomes).expected[:, 0].astype(np.float64)
        self.missed = float((targets - seen).std())
        order = np.argsort(means, kind="stable")
        self._rows, self._truth = rows[order], means[order]
        top = slice(-len(order) // 10, None)
        self._slope = float(np.polyfit(spread[order][top], self._truth[top], 1)[0])
        self._last = float(spread.max())
        self._known: dict[str, tuple[int, float]] = {}
        self._loss = np.asarray(table.validation_loss, np.float64)

    def learn(self, tasks: Iterable[Task]) -> None:
        """Look up the functions of tasks."""
        for task in tasks:
            if task.key not in self._known:
                # One at a time: in another company the last bit may differ, and so the place.
                genome = from_token_text(task.function)
                expected = float(self._experience.describe([genome]).expected[0, 0])
                target = expected + self.missed * NormalDist().inv_cdf(_uniform("missed", task.key))
                spread = max(0.0, target * self._deviation + self._centre)
                self._known[task.key] = self._place(spread)

    def _place(self, spread: float) -> tuple[int, float]:
        """The row that lends its losses, and what is added to its scores."""
        count = len(self._rows)
        place = min(count - 1, int((1 - np.exp(-spread)) * count))
        beyond = self._slope * max(0.0, spread - self._last)
        return int(self._rows[place]), beyond

    def truth(self, key: str) -> float:
        """The score of a function at the top, free of noise."""
        row, beyond = self._known[key]
        return self._means[row] + beyond

    def loss(self, task: Task, rung: int) -> float:
        row, beyond = self._known[task.key]
        replicate = int(_uniform(task.seed, task.key) * NOISE)
        return float(self._loss[row, replicate, rung]) - beyond


@cache
def landscape(name: str) -> Landscape:
    """Made once per process."""
    return Landscape(load_table(name))


@dataclass
class Cluster:
    """Workers that take the tasks of the oldest batch first; a clock in seconds.

    driver: how far the driver's clock is, which runs while it thinks. busy: seconds of workers at
    work. Nobody waits for the driver but for tasks: who is free takes the next one that is there.
    """

    workers: int
    overhead: float  # seconds per task between two trainings of a worker
    driver: float = 0.0
    busy: float = 0.0
    idle: int = 0
    queue: list[tuple[int, int, str, float]] = field(default_factory=list)  # by age, then order
    running: list[tuple[float, int, str]] = field(default_factory=list)  # by the time of their end
    done: deque[str] = field(default_factory=deque)
    started: int = 0
    given: int = 0

    def __post_init__(self) -> None:
        self.idle = self.workers

    def give(self, name: str, seconds: float, age: int) -> None:
        """Give it a task now. age: lower is older."""
        self.given += 1
        heapq.heappush(self.queue, (age, self.given, name, seconds))

    def think(self, seconds: float) -> None:
        """The driver is busy; workers go on meanwhile with what they have."""
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
            _, _, name, seconds = heapq.heappop(self.queue)
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

    oldest_first = True
    measure: Measure = accuracy_of(10)
    test_images = 0

    def __init__(self, land: Landscape, cluster: Cluster, steps: int, minutes: float) -> None:
        self.land, self.cluster, self.steps, self.seconds = land, cluster, steps, 60 * minutes
        self.scale: Scale = land.table.scale
        self._rung = {at: rung for rung, at in enumerate(land.table.steps)}
        self._factors = durations()
        self._trained: dict[str, int] = {}  # steps of the checkpoint of a key
        self._ages: dict[str, int] = {}

    def task(self, function: str, key: str, steps: int, seed: int) -> Task:
        return Task(function, key, steps, seed, "simulated")

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
            self.land.learn(fresh)
            for task in fresh:
                names[task.hash] = task
                age = self._ages.setdefault(task.key, len(self._ages))
                self.cluster.give(task.hash, self._takes(task), age * self.oldest_first)
            name = self.cluster.wait()
            if name is None:
                return
            thought = time.process_time()
            yield self._answer(names.pop(name))

    def _takes(self, task: Task) -> float:
        """Seconds of a training that goes on from the checkpoint of the rung below."""
        before = self._trained.get(task.key, 0)
        self._trained[task.key] = task.steps
        factor = self._factors[int(_uniform("slow", task.key) * len(self._factors))]
        return (task.steps - before) / self.steps * self.seconds * float(factor)

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
