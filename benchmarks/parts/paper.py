"""Steps per second of the paper's networks on this device, as far as they are there."""

from __future__ import annotations

from contest import Entry, Machine, race
from figures import Options, Report, Steps
from plain_loop import RELU, SWISH
from ratios import median_interval

from hybridsearch.config import NetworkConfig
from parts.resnet20 import config

# Ramachandran, Zoph and Le 2017 section 5.1: ResNet-164, WRN-28-10, DenseNet-100-12 on CIFAR, and
# the ResNet-20 that children were searched with.
PAPER = ("resnet20", "preresnet164", "wrn28-10", "densenet100-12")


def run(machine: Machine, options: Options, report: Report) -> None:
    names = PAPER[:1] if options.quick else PAPER  # a step of the largest takes many seconds
    base = config(options.quick)
    count, window = (2, 0.2) if options.quick else (8, 3.0)
    for name in names:
        chosen = base.model_copy(update={"network": NetworkConfig(name=name)})
        entries = [
            Entry(label, formula, chosen, workers=options.workers, device=options.device)
            for label, formula in (("swish", SWISH), ("relu", RELU))
        ]
        with Steps(report.progress, name, len(entries) * (count + 1)) as steps:
            results, problems = race(machine, entries, count, window, steps.tick)
        for label, result in results.items():
            report.add(
                f"{name}_{label}_steps_per_second",
                median_interval(result.rates),
                f"batch {chosen.training.batch_size} ({result.kernel})",
            )
        for label, problem in problems.items():
            report.line(f"{name}_{label}_steps_per_second: not measured: {problem}")
