"""ResNet-20 at batch 128: the whole machine against the plain loop, and against the ReLU step.

Whole machine: as many workers of one thread as there are cores train at the same time and their
steps per second are summed; the plain loop is one process with PyTorch's default threads. The
ReLU step is the floor: one worker each, same format, in the same rounds, in processor time.
"""

from __future__ import annotations

from collections.abc import Sequence

from contest import Entry, Machine, Result, race
from figures import Options, Report, Steps
from plain_loop import COMPOSITE, RELU, SWISH
from ratios import paired_ratio
from synthetic import data_config

from hybridsearch.config import Config, NetworkConfig, TrainingConfig

FORMULAS = {"swish": SWISH, "composite": COMPOSITE}
FULL = (12, 1.5)  # rounds, seconds of each entry in each of them
QUICK = (2, 0.2)
# suffix of the key -> precision and kernel
VARIANTS = {
    "": ("auto", "auto"),
    "_no_compiler": ("auto", "tape"),
    "_fp32": ("fp32", "native"),
}
ON_CUDA = {"": ("auto", "auto"), "_fp32": ("fp32", "compiled")}


def config(quick: bool, precision: str = "auto", kernel: str = "auto") -> Config:
    """The standard step; a learning rate at which no function diverges."""
    return Config(
        data=data_config("cifar10", 8000, 1000, "crop_flip"),
        network=NetworkConfig(name="resnet8" if quick else "resnet20", width=16),
        training=TrainingConfig.model_validate(
            {
                "batch_size": 16 if quick else 128,
                "lr": 0.01,
                "warmup": 20,
                "hold": 1000,
                "steps": 2000,
            }
            | {"precision": precision, "kernel": kernel}
        ),
    )


def run(machine: Machine, options: Options, report: Report) -> None:
    count, window = QUICK if options.quick else FULL
    variants = ON_CUDA if options.cuda else VARIANTS
    for name, formula in FORMULAS.items():
        entries = [
            Entry("plain", formula, config(options.quick), plain=True, device=options.device),
            *(
                Entry(
                    f"here{suffix}",
                    formula,
                    config(options.quick, *variant),
                    workers=options.workers,
                    device=options.device,
                )
                for suffix, variant in variants.items()
            ),
            Entry("one", formula, config(options.quick), device=options.device),
            Entry("one relu", RELU, config(options.quick), device=options.device),
        ]
        with Steps(report.progress, f"ResNet-20, {name}", len(entries) * (count + 1)) as steps:
            results, problems = race(machine, entries, count, window, steps.tick)
        for suffix in variants:
            key = f"resnet20_{name}_speedup{suffix}"
            entry = f"here{suffix}"
            if entry in problems:
                report.line(f"{key}: not measured: {problems[entry]}")
            else:
                speedup(report, key, results["plain"], results[entry], options.workers)
            if suffix == "" and not options.cuda:
                report.busy(results[entry].share)
        one, relu = results["one"], results["one relu"]
        report.add(
            f"resnet20_{name}_over_relu",
            paired_ratio(relu.alone, one.alone),
            f"best rounds: {1e3 / max(one.alone):.0f} ms of processor time a step, ReLU "
            f"{1e3 / max(relu.alone):.0f} ms (one worker)",
            {"kernel": one.kernel, "ms": _ms(one.alone), "relu_ms": _ms(relu.alone)},
        )


def speedup(report: Report, key: str, plain: Result, here: Result, workers: int) -> None:
    """The ratio of steps per second, whole machine, with the milliseconds beside it."""
    report.add(
        key,
        paired_ratio(here.rates, plain.rates),
        f"best rounds: plain loop {1e3 / max(plain.rates):.0f} ms a step with {plain.threads} "
        f"threads, here {workers * 1e3 / max(here.rates):.0f} ms with {workers} at once "
        f"({here.kernel})",
        {
            "of_best_rounds": max(here.rates) / max(plain.rates),
            "kernel": here.kernel,
            "plain_threads": plain.threads,
            "workers": workers,
            "share_of_processor": [plain.share, here.share],
            "plain_ms_per_step": _ms(plain.rates),
            "ms_per_step_of_the_machine": _ms(here.rates),
        },
    )


def _ms(rates: Sequence[float]) -> list[float]:
    """Milliseconds per step, round by round."""
    return [round(1e3 / rate, 3) for rate in rates]
