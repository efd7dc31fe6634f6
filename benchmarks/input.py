"""Images per second of the data input, against a DataLoader that does the same.

    python benchmarks/input.py [--quick] [--json FILE]

The task is CIFAR-10 with crop_flip in batches of 128. The DataLoader reads a Dataset that pads,
crops, mirrors and normalises one image at a time, on tensors; the better of 0 and 2 worker
processes counts. All have one thread and the environment of a worker of this package, and are
timed in turn, a round each; intervals are over rounds. Where CIFAR-10 is not in the data home,
random images of its shape are used, which makes no difference to the time.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from reporting import add_arguments, print_table, write_json
from stand_in import cifar10_or_random
from timing import entries, median, show
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from hybridsearch.config import DataConfig
from hybridsearch.evaluate.data import SearchData, load_search_data
from hybridsearch.evaluate.input import TrainingInput
from hybridsearch.evaluate.pool import ENVIRONMENT

BATCH = 128
WORKERS = (0, 2)


class PerImage(Dataset[tuple[Tensor, int]]):
    """CIFAR's usual augmentation, image by image."""

    def __init__(self, data: SearchData) -> None:
        self.images = torch.from_numpy(data.train.images)
        self.labels = data.train.labels.tolist()
        self.mean = torch.from_numpy(data.mean).reshape(-1, 1, 1) * 255
        self.std = torch.from_numpy(data.std).reshape(-1, 1, 1) * 255

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        image = (self.images[number].float() - self.mean) / self.std
        top, left, mirror = torch.randint(0, 9, (3,)).tolist()
        image = F.pad(image, (4, 4, 4, 4))[:, top : top + 32, left : left + 32]
        return image.flip(2) if mirror % 2 else image, self.labels[number]


def rate(batches: Callable[[], object], count: int) -> float:
    """Images per second over `count` batches."""
    begin = time.perf_counter()
    for _ in range(count):
        batches()
    return BATCH * count / (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    options = parser.parse_args()
    rounds, own, theirs = (5, 200, 60) if options.quick else (20, 1000, 300)
    torch.set_num_threads(1)
    name, what = cifar10_or_random()
    data = load_search_data(DataConfig(name=name))

    made = TrainingInput(data, BATCH, "crop_flip", torch.device("cpu"))
    steps = iter(range(10**9))
    rates: dict[str, list[float]] = {name: [] for name in ("own", *map(str, WORKERS))}
    for _ in range(rounds):
        rates["own"].append(rate(lambda: made.batch(0, next(steps)), own))
        for workers in WORKERS:
            loader = DataLoader(PerImage(data), BATCH, shuffle=True, num_workers=workers)
            batches = iter(loader)
            next(batches)  # the start of the workers does not count
            rates[str(workers)].append(rate(lambda b=batches: next(b), theirs))
            del batches
    best = max((str(w) for w in WORKERS), key=lambda w: float(np.median(rates[w])))
    speedups = [a / b for a, b in zip(rates["own"], rates[best], strict=True)]

    own_rate, by_workers = median(rates["own"]), {w: median(rates[str(w)]) for w in WORKERS}
    speedup = median(speedups)
    rows = [["this package", show(own_rate)]]
    rows += [[f"DataLoader, {w} workers", show(by_workers[w])] for w in WORKERS]
    rows.append([f"ratio to the better ({best})", show(speedup)])
    print_table(
        "Images per second, crop, mirror and normalise",
        ["", "median (95% interval)"],
        rows,
        caption=f"{what}, batch {BATCH}, {rounds} rounds",
    )
    result = {"images": what, "batch_size": BATCH, "dataloader_workers": int(best)}
    result |= entries("input_speedup", speedup) | entries("images_per_second", own_rate)
    for w in WORKERS:
        result |= entries(f"dataloader_{w}_workers_images_per_second", by_workers[w])
    write_json(options.json, result)


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        # The allocator reads its settings when a process starts.
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ENVIRONMENT})
    main()
