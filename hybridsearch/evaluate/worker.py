"""What happens inside a worker process: one task, trained and scored, failures as values.

A worker loads the data once and keeps them for all tasks of one context.
"""

from __future__ import annotations

import contextlib
import math
import platform
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from hybridsearch.bits import pack
from hybridsearch.config import Config
from hybridsearch.evaluate.accelerator import accelerator_for
from hybridsearch.evaluate.data import load_search_data, load_test_data
from hybridsearch.evaluate.input import Resident
from hybridsearch.evaluate.training import (
    Child,
    Diverged,
    OutOfTime,
    Trainer,
    load_child,
    save_child,
)
from hybridsearch.genome.function import resolve
from hybridsearch.threads import one_thread
from hybridsearch.types import Evaluation, Status, Task


@dataclass(frozen=True)
class Job:
    """A task and how to run it: where children are kept, whether to keep this one, its limit."""

    config: Config
    task: Task
    children: Path | None
    keep: bool
    device: str
    limit: float  # seconds; inf: none


@lru_cache(maxsize=2)
def trainer_for(config: Config, device: str) -> Trainer:
    """The trainer of a context, made once per process. `config`: of `training_config`."""
    return Trainer(config, load_search_data(config.data), torch.device(device))


@lru_cache(maxsize=2)
def test_split(config: Config, device: str) -> Resident:
    """The test images; asked for only by tasks made after the winner was named."""
    return Resident.load(load_test_data(config.data), torch.device(device))


def child_path(children: Path, task: Task) -> Path:
    """The checkpoint of the child that a task trains, whatever the number of steps."""
    return children / f"{task.key}-{task.seed}-{task.context[:8]}.safetensors"


def run(job: Job) -> Evaluation:
    """Train (or go on training) the child of a task and score it. Failures are values: this is
    the edge of the process, and what goes wrong here must not end the search.
    """
    started = time.perf_counter()
    try:
        with one_thread(), accelerator_for(torch.device(job.device)).session():
            result = _train_and_score(job, started)
    except Exception as error:
        result = failed(job.task, error)
    return stamped(result, started)


def failed(task: Task, error: Exception) -> Evaluation:
    """The evaluation of a task whose training raised."""
    if isinstance(error, Diverged):
        return Evaluation(task.hash, Status.DIVERGED, message=str(error))
    if isinstance(error, OutOfTime):
        return Evaluation(task.hash, Status.TIMEOUT, message=str(error))
    return Evaluation(task.hash, Status.ERROR, message=one_line(error))


def stamped(result: Evaluation, started: float) -> Evaluation:
    """An evaluation with its volatile part: seconds since `started`, and this host."""
    seconds = time.perf_counter() - started
    volatile = {"seconds": seconds, "host": platform.node(), "cached": False}
    return Evaluation.from_json(result.payload(), volatile)


def _train_and_score(job: Job, started: float) -> Evaluation:
    """`train_and_score` without a rest."""
    course = train_and_score(job, started)
    with accelerator_for(torch.device(job.device)).aside():
        while True:
            try:
                next(course)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]


def train_and_score(job: Job, started: float) -> Generator[None, None, Evaluation]:
    """Train (or go on training) the child of a task and score it; gives way after every step.

    Raises: Diverged, OutOfTime, and what the network raises.
    """
    task, trainer = job.task, trainer_for(job.config, job.device)
    child = trainer.new_child(resolve(task.function), task.seed, task.kernel)
    path = child_path(job.children, task) if job.children else None
    if path is not None:
        load_child(child, path, task.steps)
    yield from trainer.course(child, task.steps, _clock(child, started, job.limit))
    if job.keep and path is not None:
        save_child(child, path)
    if task.split == "validation":
        loss, accuracy, _ = trainer.score(child, trainer.validation)
        correct = None
    else:
        loss, accuracy, right = trainer.score(child, test_split(job.config, job.device))
        correct = pack(right)
    if not math.isfinite(loss):
        raise Diverged(f"loss is {loss} after step {child.step}")
    return Evaluation(task.hash, Status.OK, loss, accuracy, tuple(child.curve), correct)


def _clock(child: Child, started: float, limit: float) -> Iterator[None]:
    """Advanced once per step; raises OutOfTime when the limit is over."""
    while True:
        spent = time.perf_counter() - started
        if spent > limit:
            raise OutOfTime(f"stopped at step {child.step} after {limit:.0f} s")
        yield


def measure(job: tuple[Config, str]) -> float | str:
    """Seconds per training step of ReLU, the median of a few, to calibrate the time limit; or in
    one line why it cannot be trained.
    """
    times = []
    try:
        with one_thread(), accelerator_for(torch.device(job[1])).session():
            trainer = trainer_for(*job)
            child = trainer.new_child(resolve("ReLU"), 0)
            for step in range(1, 9):
                begin = time.perf_counter()
                with contextlib.suppress(Diverged):  # a step takes as long, whatever comes of it
                    trainer.train(child, step)
                times.append(time.perf_counter() - begin)
    except Exception as error:
        return one_line(error)
    return sorted(times)[len(times) // 2]


def one_line(error: Exception) -> str:
    """An exception as one line."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
