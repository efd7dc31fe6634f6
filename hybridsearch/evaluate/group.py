"""How jobs reach a GPU: in groups, one group per worker process and GPU, packed there."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from pathlib import Path

import torch

from hybridsearch.config import Config
from hybridsearch.errors import UserError
from hybridsearch.evaluate import worker
from hybridsearch.evaluate.accelerator import Accelerator, accelerator_for
from hybridsearch.evaluate.devices import Claim
from hybridsearch.evaluate.draws import kept
from hybridsearch.evaluate.packing import MOST, Course, Packer
from hybridsearch.evaluate.worker import Job
from hybridsearch.pools.base import Pool
from hybridsearch.pools.failure import Failure
from hybridsearch.threads import one_thread
from hybridsearch.types import TIME, Evaluation, Status, Task

GROUP = 2 * MOST  # jobs handed to a worker at once: the pack stays full while children end
START_UP = 120.0  # seconds that a worker on a GPU may take beside training: context, compilation
_CLAIM = Claim()


@dataclass(frozen=True)
class Group:
    """Jobs for one GPU. devices: those of the run; folder: the run's; most: `config.pack`."""

    jobs: tuple[Job, ...]
    devices: tuple[str, ...]
    folder: Path
    most: int


@lru_cache(maxsize=2)
def packer_for(config: Config, device: str, most: int) -> Packer:
    """The packer of a context, which remembers how many children fit."""
    return Packer(accelerator_for(torch.device(device)), most)


def run_group(group: Group) -> list[Evaluation]:
    """Run the jobs of a group on this process's GPU; the evaluations, in their order.

    Failures are values, except that a GPU which this process has lost ends it (in a worker; the
    pool then tries its jobs again in a new one).
    """
    device = _CLAIM.device(group.devices, group.folder)
    accelerator = accelerator_for(torch.device(device))
    with one_thread(), accelerator.session(), kept():
        return run_packed(group, device, accelerator)


def run_packed(group: Group, device: str, accelerator: Accelerator) -> list[Evaluation]:
    """`run_group` once the device is known and ready."""
    config = group.jobs[0].config
    packer = packer_for(config, device, group.most)
    share = min(group.most or MOST, len(group.jobs))  # children may all be that much slower
    jobs = {
        job.task.hash: replace(job, device=device, limit=job.limit * share) for job in group.jobs
    }
    try:  # what children share is made before they have streams of their own
        next(iter(jobs.values())).trainer()
        for split in {job.task.split for job in group.jobs} - {"validation", TIME}:
            worker.test_split(config, device, split)
        accelerator.synchronize()
    except Exception as error:
        return [worker.failed(job.task, error) for job in group.jobs]
    starts = {name: _start(job, accelerator) for name, job in jobs.items()}
    done: dict[str, Evaluation] = {}
    for name, result in packer.run(starts):
        done[name] = result or _too_large(jobs[name].task, device, accelerator)
        if done[name].status is Status.ERROR and not accelerator.healthy():
            _abandon(device)
    return [done[name] for name in jobs]


def _start(job: Job, accelerator: Accelerator) -> Callable[[], Course[Evaluation]]:
    def course() -> Course[Evaluation]:
        started = time.perf_counter()
        try:
            result = yield from worker.train_and_score(job, started)
        except Exception as error:
            if accelerator.exhausted(error):
                raise
            result = worker.failed(job.task, error)
        return worker.stamped(result, time.perf_counter() - started)

    return course


def _too_large(task: Task, device: str, accelerator: Accelerator) -> Evaluation:
    memory = accelerator.memory()
    free, total = memory.free / 2**30, memory.total / 2**30
    message = (
        f"one child alone does not fit into the memory of {device} ({free:.1f} of {total:.1f} GiB "
        "are free); try a smaller training.batch_size, or training.recompute"
    )
    return Evaluation(task.hash, Status.ERROR, message=message)


def _abandon(device: str) -> None:
    """End this worker: after some errors CUDA answers every call of a process with an error."""
    if multiprocessing.parent_process() is not None:
        os._exit(1)
    raise UserError(f"{device} is lost to this process; start it again with `resume`")


def measure_on(group: Group) -> float | UserError:
    """`worker.measure` of the one job of a group, on this process's GPU."""
    device = _CLAIM.device(group.devices, group.folder)
    return worker.measure(replace(group.jobs[0], device=device))


def run_grouped(
    pool: Pool, jobs: Mapping[str, Job], devices: tuple[str, ...], most: int, limit: float
) -> Iterator[tuple[str, tuple[Evaluation] | Failure]]:
    """Run jobs (of one config and one task each, by its hash) on GPUs; yields each with its result.

    A group that its worker did not survive twice is tried again job by job: only the job that is
    to blame fails.
    """
    names = list(jobs)
    slots = max(len(devices), pool.workers)
    size = min(GROUP, max(1, ceil(len(names) / slots)))
    groups = [tuple(names[k : k + size]) for k in range(0, len(names), size)]
    alone: list[tuple[str, ...]] = []
    for group, result in _run(pool, jobs, groups, devices, most, limit):
        if isinstance(result, list):
            yield from ((name, (one,)) for name, one in zip(group, result, strict=True))
        elif len(group) > 1:
            alone += [(name,) for name in group]
        else:
            yield group[0], result
    for group, result in _run(pool, jobs, alone, devices, most, limit):
        yield group[0], result if isinstance(result, Failure) else (result[0],)


def _run(
    pool: Pool,
    jobs: Mapping[str, Job],
    groups: Sequence[tuple[str, ...]],
    devices: tuple[str, ...],
    most: int,
    limit: float,
) -> Iterator[tuple[tuple[str, ...], list[Evaluation] | Failure]]:
    if not groups:
        return
    made = {}
    for number, names in enumerate(groups):
        chosen = tuple(jobs[name] for name in names)
        made[str(number)] = Group(chosen, devices, chosen[0].children or Path(), most)
    longest = max(len(names) for names in groups)
    for name, result in pool.run(run_group, made, limit * longest + START_UP):
        yield groups[int(name)], result
