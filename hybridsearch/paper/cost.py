"""What a training costs on this device: seconds and memory of a step, seconds of an evaluation."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import median

import torch

from hybridsearch.config import Config
from hybridsearch.errors import UserError
from hybridsearch.evaluate.accelerator import accelerator_for
from hybridsearch.evaluate.graph import WARM_UP
from hybridsearch.evaluate.input import Resident
from hybridsearch.evaluate.worker import trainer_for
from hybridsearch.genome.function import resolve
from hybridsearch.pools.failure import Failure
from hybridsearch.pools.loky import LokyPool
from hybridsearch.threads import one_thread

SMALL = 16  # images of a step that foretells a long one
LONG = 10.0  # seconds of a step above which that is all that is measured
REPEATS, ENOUGH = 9, 3.0  # steps that are measured; fewer where they take so many seconds
AHEAD = 1000  # steps that a child could go on for: enough that a graph pays


@dataclass(frozen=True)
class Cost:
    """step: seconds; batch: images of a step. evaluation: seconds for `evaluated` images. peak:
    bytes that training adds to a process (on a GPU: takes of its memory), None where it was not
    measured. measured: whether a whole step was, or foretold from a small one.
    """

    step: float
    batch: int
    evaluation: float
    evaluated: int
    peak: int | None
    measured: bool

    def training(self, steps: int, images: int) -> float:
        """Seconds of a training, and of scoring so many images at its end."""
        return steps * self.step + images * self.evaluation / self.evaluated


def cost(config: Config, device: str, whole: bool = False) -> Cost:
    """Measure ReLU's training step and evaluation batch in a fresh worker: with its one thread, and
    as it keeps memory between steps.

    whole: a whole step, however long it takes. Raises: UserError where the worker dies of it.
    """
    pool = LokyPool(1)
    try:
        ((_, found),) = pool.run(_cost, {"cost": (config, device, whole)}, inf)
    finally:
        pool.close()
    if isinstance(found, Failure):
        raise UserError(f"measuring a step of {config.network.name} {found.message}: too large?")
    return found


def _cost(asked: tuple[Config, str, bool]) -> Cost:
    config, device, whole = asked
    size = config.training.batch_size
    with one_thread(), accelerator_for(torch.device(device)).session():
        foretold = _step(config, min(SMALL, size), device) * size / min(SMALL, size)
        long = foretold > LONG and not whole
        before = -1 if long else start_peak(device)
        step = foretold if long else _step(config, size, device, warm=foretold < LONG)
        peak = peak_memory(device) - before if before >= 0 else None
        trainer = trainer_for(config, device)
        child = trainer.new_child(resolve("ReLU"), 0)
        some, few = (_first(trainer.validation, n) for n in (trainer.evaluation_batch, SMALL))
        trainer.score(child, few)
        evaluation = _seconds(lambda: trainer.score(child, some), device)
    return Cost(step, size, evaluation, len(some.labels), peak, not long)


def _step(config: Config, batch: int, device: str, warm: bool = True) -> float:
    """Seconds of a step of `batch` images as training does it: the median of some after the first
    one, or that one, if not `warm`. On a GPU those before the graph are steps that do not count.
    """
    training = config.training.model_copy(update={"batch_size": batch})
    trainer = trainer_for(config.model_copy(update={"training": training}), device)
    with trainer.accelerator.aside():
        course = trainer.course(trainer.new_child(resolve("ReLU"), 0), AHEAD)
        first = _seconds(lambda: next(course), device)
        if not warm:
            return first
        if trainer.accelerator.asynchronous:
            for _ in range(WARM_UP + 1):
                first = _seconds(lambda: next(course), device)
        some = range(max(1, min(REPEATS, int(ENOUGH / max(first, 1e-9)))))
        return median(_seconds(lambda: next(course), device) for _ in some)


def _first(split: Resident, count: int) -> Resident:
    return Resident(split.images[:count], split.labels[:count])


def _seconds(do: Callable[[], object], device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    begin = time.perf_counter()
    do()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def start_peak(device: str) -> int:
    """Forget the peak so far; returns the memory in use now, bytes, or -1 where the system (other
    than Linux with glibc) cannot.
    """
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what loading the data left behind
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets the peak
        return peak_memory(device)
    except (OSError, AttributeError):
        return -1


def peak_memory(device: str) -> int:
    """The highest memory since `start_peak`, bytes: of the GPU, or of this process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(x for x in lines if x.startswith("VmHWM")).split()[1]) * 1024
