"""Training batches per second: the Trainer's, and a DataLoader's with per-sample transforms.

Both run in one worker with one thread, CIFAR-10's standard augmentation, batch 128, timed in
processor time. The DataLoader works in the process itself (its default); with processes of its own
it is timed beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count as numbers

import torch
from children import Children, data_for
from contest import Machine, clock
from figures import Options, Report, Steps
from plain_loop import make_loader
from ratios import paired_ratio, rounds

from hybridsearch.config import Config
from hybridsearch.threads import one_thread
from parts.resnet20 import config

ROUNDS = 12


def images_per_second(job: tuple[Config, str, int, float]) -> dict[str, list[float]]:
    """Rates of both, in interleaved rounds of `window` seconds, in a worker."""
    config, device, count, window = job
    data = data_for(config.data)
    rates: dict[str, list[float]] = {"dataloader": [], "here": []}
    with one_thread():
        trainer = Children(config, device).trainer
        sources = {
            "dataloader": _forever(make_loader(config, data), device),
            "here": (trainer.batch(0, step) for step in numbers()),
        }
        for source in sources.values():
            next(source)
        for _, name in rounds(tuple(sources), count):
            rates[name].append(rate(sources[name], window, lambda: clock(device)))
    return rates


def dataloader_processes(job: tuple[Config, str, int, float]) -> float:
    """Images per second of a DataLoader with two processes of its own, once started."""
    config, device, _, window = job
    batches = _forever(make_loader(config, data_for(config.data), processes=2), device)
    next(batches)
    return rate(batches, window, time.perf_counter)


def rate(
    batches: Iterator[tuple[torch.Tensor, torch.Tensor]], window: float, clock: Callable[[], float]
) -> float:
    """Images per second of the clock, over at least `window` of its seconds."""
    begin, images = clock(), 0
    while clock() - begin < window:
        images += len(next(batches)[1])
    return images / (clock() - begin)


def _forever(
    loader: torch.utils.data.DataLoader[tuple[torch.Tensor, torch.Tensor]], device: str
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    while True:
        for images, labels in loader:
            yield images.to(device), labels.to(device)


def run(machine: Machine, options: Options, report: Report) -> None:
    rounds_, window = (3, 0.1) if options.quick else (ROUNDS, 1.0)
    job = (config(False), options.device, rounds_, window)
    with Steps(report.progress, "Data input", 2) as steps:
        rates = machine.one(images_per_second, job)
        steps.tick()
        processes = machine.plain(dataloader_processes, (*job[:3], 5 * window))
        steps.tick()
    report.add(
        "data_input_speedup",
        paired_ratio(rates["here"], rates["dataloader"]),
        f"best rounds: {max(rates['here']):,.0f} images per second, DataLoader "
        f"{max(rates['dataloader']):,.0f} (with two processes of its own {processes:,.0f})",
        {**rates, "dataloader_two_processes": processes},
    )
