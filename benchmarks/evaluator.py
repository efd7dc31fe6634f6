"""How fast this evaluator is: against the loop a user would write, and against the ReLU floor.

    python benchmarks/evaluator.py [--part NAME ...] [--quick] [--json FILE] [--cache FILE]
                                   [--device cpu|cuda] [--workers N]

What is compared is measured interleaved, in one run; ratios are medians over rounds with the exact
interval of the sign test (`ratios.py`). All parts take about half an hour on two cores,
`ranking` half of it; parts can be measured one by one into the same --json file, and `ranking`
goes on where it was stopped when it is given a --cache. Use a quiet machine.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from contest import Machine, default_environment
from figures import Options, Report
from parts import (
    accuracy,
    data_input,
    gpu,
    kernels,
    memory,
    paper,
    ranking,
    resnet20,
    small,
    workers,
)
from reporting import add_arguments
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hybridsearch.errors import UserError
from hybridsearch.threads import usable_cores

PARTS = {
    "resnet20": resnet20.run,
    "kernels": kernels.run,
    "accuracy": accuracy.run,
    "small": small.run,
    "workers": workers.run,
    "input": data_input.run,
    "memory": memory.run,
    "paper": paper.run,
    "gpu": gpu.run,
    "ranking": ranking.run,
}
ON_CPU = ("resnet20", "kernels", "accuracy", "small", "workers", "input", "memory", "ranking")
ON_CUDA = ("resnet20", "gpu", "paper", "kernels", "small", "input", "memory", "ranking")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--part", nargs="+", choices=PARTS, help="default: all of the device")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    parser.add_argument("--workers", type=int, default=0, help="default: one per core, one per GPU")
    parser.add_argument(
        "--cache", type=Path, help="SQLite file that keeps the trainings of `ranking`"
    )
    arguments = parser.parse_args()
    device = "cuda:0" if arguments.device == "cuda" else arguments.device
    cuda = device.startswith("cuda:") and device.removeprefix("cuda:").isdigit()
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device != "cpu" and not (cuda and int(device.removeprefix("cuda:")) < there):
        print(
            f"nothing measured: device {arguments.device!r} is not there ({there} CUDA devices); "
            "expected cpu, cuda or cuda:N",
            file=sys.stderr,
        )
        return 2
    default_environment()
    count = arguments.workers or (1 if cuda else usable_cores())
    options = Options(arguments.quick, device, count, arguments.cache)
    chosen = arguments.part or (ON_CUDA if options.cuda else ON_CPU)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    progress = Progress(*columns, console=Console(), auto_refresh=False, transient=True)
    torch.set_num_threads(1)  # this process only waits
    with progress, Machine(count) as machine:
        report = Report(arguments.json, options, progress)
        failed = 0
        for name in chosen:
            try:
                with report.part(name):
                    PARTS[name](machine, options, report)
            except UserError as error:
                report.line(f"{name}: not measured: {error}")
                failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
