"""The whole course of a child for a recorded table: its scores at every rung, on both splits.

A search trains a child to a rung, scores it on validation images and stops. A table wants all
rungs of every child, and the test scores beside them, so one training serves them all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from hybridsearch.config import Config
from hybridsearch.errors import told
from hybridsearch.evaluate.accelerator import accelerator_for
from hybridsearch.evaluate.draws import kept
from hybridsearch.evaluate.input import Resident
from hybridsearch.evaluate.stack_training import StackTrainer
from hybridsearch.evaluate.training import Diverged, OutOfTime, Trainer
from hybridsearch.evaluate.worker import test_split, trainer_for
from hybridsearch.genome.function import resolve
from hybridsearch.threads import one_thread
from hybridsearch.types import Status, Task

# Validation loss (nats) and accuracy (0..1), test loss and accuracy; None where not scored.
Scores = tuple[float, float, float | None, float | None]


@dataclass(frozen=True)
class FollowJob:
    """tasks: one alone, or the replicates of one stack that are asked for. rungs: steps, rising.
    test_below: whether test images are scored below the top rung too.
    """

    config: Config
    tasks: tuple[Task, ...]
    rungs: tuple[int, ...]
    test_below: bool
    device: str
    limit: float  # seconds
    data: str = ""  # digests of the data and of the user's code, as `trainer_for` wants them
    code: str = ""


@dataclass(frozen=True)
class Trajectory:
    """How one child went.

    scores: of the rungs that it reached, from the first. seconds: of training, scoring left out;
    of a stack, its share.
    """

    status: Status
    scores: tuple[Scores, ...] = ()
    seconds: float = 0.0
    message: str = ""


def follow(job: FollowJob) -> tuple[Trajectory, ...]:
    """Train what a job asks for through all rungs: a trajectory per task. Failures are values."""
    try:
        with one_thread(), accelerator_for(torch.device(job.device)).session(), kept():
            course = _stack if job.tasks[0].stack else _alone
            return tuple(course(job))
    except OutOfTime as error:
        return (Trajectory(Status.TIMEOUT, message=str(error)),) * len(job.tasks)
    except Exception as error:
        return (Trajectory(Status.ERROR, message=told(error)),) * len(job.tasks)


def _alone(job: FollowJob) -> list[Trajectory]:
    (task,), trainer = job.tasks, _trainer(job)
    child = trainer.new_child(resolve(task.function), task.seed, task.kernel)
    clock, scores = _Clock(job.limit, lambda: child.step), list[Scores]()
    try:
        for steps in job.rungs:
            with clock:
                trainer.train(child, steps, clock.alive())
            row = [trainer.score(child, split)[:2] for split in _splits(job, steps)]
            scores.append(_scores(row))
    except Diverged as error:
        return [Trajectory(Status.DIVERGED, tuple(scores), clock.seconds, str(error))]
    return [Trajectory(Status.OK, tuple(scores), clock.seconds)]


def _stack(job: FollowJob) -> list[Trajectory]:
    task, trainer = job.tasks[0], StackTrainer(_trainer(job))
    stack = trainer.new_stack(resolve(task.function), task.stack, task.kernel)
    clock = _Clock(job.limit, lambda: stack.step)
    reached: dict[int, list[Scores]] = {place: [] for place in range(len(task.stack))}
    ended: dict[int, str] = {}
    for steps in job.rungs:
        with clock:
            trainer.train(stack, steps, clock.alive())
        ended |= {place: why for place, why in stack.diverged.items() if place not in ended}
        of_splits = [trainer.score(stack, split) for split in _splits(job, steps)]
        for place, rows in reached.items():
            if place in ended:
                continue
            row = [(scores[place].loss, scores[place].metric) for scores in of_splits]
            if np.isfinite(row).all():
                rows.append(_scores(row))
            else:
                ended[place] = f"loss is {row[0][0]} in evaluation after step {stack.step}"
    seconds = clock.seconds / len(task.stack)
    found = []
    for one in job.tasks:
        place = task.stack.index(one.seed)
        status = Status.DIVERGED if place in ended else Status.OK
        found.append(Trajectory(status, tuple(reached[place]), seconds, ended.get(place, "")))
    return found


def _trainer(job: FollowJob) -> Trainer:
    return trainer_for(job.config, job.device, job.tasks[0].context, job.data, job.code)


def _splits(job: FollowJob, steps: int) -> list[Resident]:
    """The splits that are scored after some steps: validation, and test where it is asked for."""
    splits = [_trainer(job).validation]
    if job.test_below or steps == job.rungs[-1]:
        splits.append(test_split(job.config, job.device, job.tasks[0].context))
    return splits


def _scores(row: list[tuple[float, float]]) -> Scores:
    """The scores of a rung, from those of one split or two."""
    test = row[1] if len(row) > 1 else (None, None)
    return (*row[0], *test)


class _Clock:
    """Counts the seconds spent inside it; `alive` raises OutOfTime when they are over a limit."""

    def __init__(self, limit: float, step: Callable[[], int]) -> None:
        self.limit, self.step, self.seconds, self._since = limit, step, 0.0, 0.0

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._since

    def alive(self) -> Iterator[None]:
        while True:
            if self.seconds + time.perf_counter() - self._since > self.limit:
                raise OutOfTime(f"stopped at step {self.step()} after {self.limit:.0f} s")
            yield
