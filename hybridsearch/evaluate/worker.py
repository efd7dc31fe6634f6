"""What happens inside a worker process: one job, trained and scored, failures as values.

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
from hashlib import blake2b
from pathlib import Path

import torch

from hybridsearch.config import Config
from hybridsearch.errors import UserError, told
from hybridsearch.evaluate.accelerator import accelerator_for
from hybridsearch.evaluate.data import Split, load_search_data, load_test_data
from hybridsearch.evaluate.draws import kept
from hybridsearch.evaluate.input import Resident
from hybridsearch.evaluate.judge import code_digest
from hybridsearch.evaluate.own import own_code
from hybridsearch.evaluate.stack_training import Stack, StackTrainer, load_stack, save_stack
from hybridsearch.evaluate.timing import seconds_per_element
from hybridsearch.evaluate.training import (
    Child,
    Diverged,
    OutOfTime,
    Trainer,
    load_child,
    save_child,
)
from hybridsearch.genome.function import resolve
from hybridsearch.packed import pack
from hybridsearch.threads import one_thread
from hybridsearch.types import TEST, TIME, Evaluation, Status, Task

LONG = 20.0  # seconds of measuring after which two steps are enough


@dataclass(frozen=True)
class Job:
    """What is trained at one go, and how: where children are kept, whether to keep this one, its
    limit.

    tasks: one alone, or those replicates of one stack that are asked for.
    """

    config: Config
    tasks: tuple[Task, ...]
    children: Path | None
    keep: bool
    device: str
    limit: float  # seconds; inf: none
    context: str = ""  # of who asks, as `trainer_for` wants it
    data: str = ""  # likewise
    code: str = ""  # likewise

    @property
    def task(self) -> Task:
        """The task; of a stack, the first: they differ in their seeds alone."""
        return self.tasks[0]

    def trainer(self) -> Trainer:
        """The one that its tasks are trained with, in this process."""
        return trainer_for(self.config, self.device, self.context, self.data, self.code)


@lru_cache(maxsize=2)
def trainer_for(
    config: Config, device: str, context: str = "", data: str = "", code: str = ""
) -> Trainer:
    """The trainer of a context, made once per process. `config`: of `training_config`.

    context: the evaluator's; it tells data and code that were edited, which a config does not.
    data: the digest of the data that who asks has; "" where that may be any. code: likewise of the
    user's code (`code_digest`). A process that starts in the middle of a search imports what the
    files say by then.
    Raises: UserError where this process has other data or other code.
    """
    if code:  # before the data, which may take long: little time to edit what was just imported
        _expect_same_code(config, code)
    found = load_search_data(config.data)
    if data:
        _expect_same(config.data.name, data, found.digest)
    return Trainer(config, found, torch.device(device))


@lru_cache(maxsize=2)
def test_split(config: Config, device: str, split: str = "") -> Resident:
    """The test images; asked for only by tasks made after the winner was named. split: the task's,
    which tells data that were edited.

    Raises: UserError where this process has other test data than the task is of.
    """
    found = load_test_data(config.data)
    if split.startswith(TEST):
        _expect_same(config.data.name, split, name_of_test(found))
    return Resident.load(found, torch.device(device))


def name_of_test(split: Split) -> str:
    """What tasks call a test split, after its content."""
    return f"{TEST}{split.digest[:16]}"


def _expect_same(name: str, wanted: str, got: str) -> None:
    if got != wanted:
        raise UserError(
            f"data {name}: a worker process got other data than the search began with; they were "
            "edited meanwhile, or are drawn anew at every call (draw from a generator with a seed "
            "of its own)"
        )


def _expect_same_code(config: Config, wanted: str) -> None:
    if code_digest(config) != wanted:
        names = ", ".join(dict.fromkeys(own_code(config).values()))
        raise UserError(
            f"{names}: a worker process imported other code than the search began with; it was "
            "edited meanwhile: undo that and resume, or begin a new search"
        )


def child_path(children: Path, task: Task) -> Path:
    """The checkpoint of the child or stack that a task trains, whatever the number of steps."""
    seeds = "-".join(map(str, task.stack)).encode()
    name = f"stack{blake2b(seeds, digest_size=8).hexdigest()}" if task.stack else str(task.seed)
    return children / f"{task.key}-{name}-{task.context[:8]}.safetensors"


def run(job: Job) -> tuple[Evaluation, ...]:
    """Train (or go on training) what a job asks for and score it: an evaluation per task, in their
    order. Failures are values: this is the edge of the process, and what goes wrong here must not
    end the search.
    """
    started = time.perf_counter()
    try:
        with one_thread(), accelerator_for(torch.device(job.device)).session(), kept():
            train = _train_stack if job.task.stack else _train_alone
            results = train(job, started)
    except Exception as error:
        results = [failed(task, error) for task in job.tasks]
    seconds = (time.perf_counter() - started) / max(1, len(job.task.stack))
    return tuple(stamped(result, seconds) for result in results)


def failed(task: Task, error: Exception) -> Evaluation:
    """The evaluation of a task whose training raised."""
    if isinstance(error, Diverged):
        return Evaluation(task.hash, Status.DIVERGED, message=str(error))
    if isinstance(error, OutOfTime):
        return Evaluation(task.hash, Status.TIMEOUT, message=str(error))
    return Evaluation(task.hash, Status.ERROR, message=_failure(error))


def _failure(error: Exception) -> str:
    """What went wrong, in one line, and what can be done."""
    if isinstance(error, UserError):
        return str(error)
    advice = "; training.kernel eager can be" if "once_differentiable" in str(error) else ""
    return f"{told(error)}{advice}"


def stamped(result: Evaluation, seconds: float) -> Evaluation:
    """An evaluation with its volatile part: its seconds (of a stack, its share) and this host."""
    volatile = {"seconds": seconds, "host": platform.node(), "cached": False}
    return Evaluation.from_json(result.payload(), volatile)


def _train_alone(job: Job, started: float) -> list[Evaluation]:
    """`train_and_score` without a rest."""
    course = train_and_score(job, started)
    with accelerator_for(torch.device(job.device)).aside():
        while True:
            try:
                next(course)
            except StopIteration as end:
                return [end.value]


def train_and_score(job: Job, started: float) -> Generator[None, None, Evaluation]:
    """Train (or go on training) the child of a task and score it; gives way after every step. Or
    time its activation, if that is asked for, without giving way.

    Raises: Diverged, OutOfTime, and what the network raises.
    """
    task, trainer = job.task, job.trainer()
    if task.split == TIME:
        cost = seconds_per_element(trainer, resolve(task.function), task.kernel)
        return Evaluation(task.hash, Status.OK, cost=cost)
    child = trainer.new_child(resolve(task.function), task.seed, task.kernel)
    path = child_path(job.children, task) if job.children else None
    if path is not None:
        load_child(child, path, task.steps)
    yield from trainer.course(child, task.steps, _clock(child, started, job.limit))
    if job.keep and path is not None:
        save_child(child, path)
    validation = task.split == "validation"
    split = trainer.validation if validation else test_split(job.config, job.device, task.split)
    score = trainer.score(child, split)
    if not math.isfinite(score.metric):
        raise Diverged(f"the metric is {score.metric} after step {child.step}")
    each = None if validation else pack(score.each)
    return Evaluation(task.hash, Status.OK, score.loss, score.metric, tuple(child.curve), each)


def _train_stack(job: Job, started: float) -> list[Evaluation]:
    """Train the whole stack, whichever of its replicates are asked for: what is trained beside a
    replicate must not depend on what is in the cache.
    """
    task, trainer = job.task, StackTrainer(job.trainer())
    stack = trainer.new_stack(resolve(task.function), task.stack, task.kernel)
    path = child_path(job.children, task) if job.children else None
    if path is not None:
        load_stack(stack, path, task.steps)
    trainer.train(stack, task.steps, _clock(stack, started, job.limit))
    if job.keep and path is not None:
        save_stack(stack, path)
    validation = task.split == "validation"
    split = (
        trainer.trainer.validation if validation else test_split(job.config, job.device, task.split)
    )
    scores = trainer.score(stack, split)
    results = []
    for one in job.tasks:
        place = task.stack.index(one.seed)
        score, curve = scores[place], stack.curve_of(place)
        if place in stack.diverged:
            results.append(failed(one, Diverged(stack.diverged[place])))
        elif not math.isfinite(score.loss):
            message = f"loss is {score.loss} in evaluation after step {stack.step}"
            results.append(failed(one, Diverged(message)))
        else:
            each = None if validation else pack(score.each)
            results.append(Evaluation(one.hash, Status.OK, score.loss, score.metric, curve, each))
    return results


def _clock(child: Child | Stack, started: float, limit: float) -> Iterator[None]:
    """Advanced once per step; raises OutOfTime when the limit is over."""
    while True:
        spent = time.perf_counter() - started
        if spent > limit:
            raise OutOfTime(f"stopped at step {child.step} after {limit:.0f} s")
        yield


def measure(job: Job) -> float | UserError:
    """Seconds per training step of a job's task, the median of a few (of two where a step is long),
    to calibrate the time limit; or why it cannot be trained and scored.
    """
    times = []
    try:
        with one_thread(), accelerator_for(torch.device(job.device)).session(), kept():
            task, trainer = job.task, job.trainer()
            function = resolve(task.function)
            trainer.examine(trainer.new_child(function, task.seed, task.kernel))
            child = trainer.new_child(function, task.seed, task.kernel)
            for step in range(1, 9):
                begin = time.perf_counter()
                with contextlib.suppress(Diverged):  # a step takes as long, whatever comes of it
                    trainer.train(child, step)
                times.append(time.perf_counter() - begin)
                if step > 1 and sum(times) > LONG:
                    break
    except UserError as error:
        return error
    except Exception as error:
        name = job.config.network.name
        return UserError(f"network {name!r} failed at its first training steps: {_failure(error)}")
    return sorted(times)[len(times) // 2]
