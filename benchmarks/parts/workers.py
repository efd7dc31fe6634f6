"""Two workers against one, through the evaluator as a search uses it; and what a dispatch costs."""

from __future__ import annotations

import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from contest import Machine
from figures import Options, Report, Steps
from ratios import Estimate, median_interval, paired_ratio, rounds

from hybridsearch.config import NetworkConfig
from parts.resnet20 import config
from parts.small import Evaluations, automatic

ROUNDS = 8
STEPS = 20  # of a ResNet-8 child: a few seconds
CHILDREN = 4  # per round and side


def echo(job: int) -> int:
    return job


def dispatch(machine: Machine, repeats: int) -> Estimate:
    """Milliseconds that a trivial job takes through a warm pool, there and back."""
    times = []
    for number in range(repeats):
        begin = time.perf_counter()
        machine.one(echo, number)
        times.append(1e3 * (time.perf_counter() - begin))
    return median_interval(times)


def run(machine: Machine, options: Options, report: Report) -> None:
    if machine.workers < 2:
        report.line("two_workers_speedup: not measured: one worker is all there is")
        return
    count = 1 if options.quick else ROUNDS
    base = automatic(config(options.quick))
    settings = base.training.model_copy(update={"steps": 4 if options.quick else STEPS})
    network = NetworkConfig(name="resnet8", width=16)
    chosen = base.model_copy(update={"training": settings, "network": network})
    rates: dict[int, list[float]] = {1: [], 2: []}
    with (
        Machine(1) as alone,
        nullcontext(machine) if machine.workers == 2 else Machine(2) as both,
        tempfile.TemporaryDirectory() as folder,
        Steps(report.progress, "Two workers", 2 * count + 2) as steps,
    ):
        sides = {}
        for pool in (alone, both):
            sides[pool.workers] = Evaluations(chosen, Path(folder), pool, options.device)
            sides[pool.workers].turn(2 * pool.workers)  # every worker loads its data
            steps.tick()
        for _, workers in rounds((1, 2), count):
            rates[workers].append(sides[workers].turn(CHILDREN).rate)
            steps.tick()
        warm = dispatch(both, 50 if options.quick else 300)
    report.add(
        "two_workers_speedup",
        paired_ratio(rates[2], rates[1]),
        f"best rounds: {1 / max(rates[1]):.2f} s and {1 / max(rates[2]):.2f} s per ResNet-8 child "
        f"of {settings.steps} steps",
        {"children_per_second_one": rates[1], "children_per_second_two": rates[2]},
    )
    report.add("warm_dispatch_ms", warm, "a trivial job through the warm pool, there and back")
