"""The figures of `evaluator.py`: what is wanted, one printed line each, and the JSON file.

A figure's number stands at the top of the JSON under its key; interval, repeats and absolute
numbers under "figures", how and when a part was measured under "parts". The file is written again
after every figure, and parts that are not measured now keep what the file has.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contest import Machine
from ratios import Estimate
from reporting import machine, write_json
from rich.progress import Progress

# What the project set itself on a CPU with AVX-512 and bf16; "<" is for at most.
WANTED: dict[str, tuple[str, float]] = {
    "resnet20_swish_speedup": (">", 2.2),
    "resnet20_composite_speedup": (">", 3.8),
    "resnet20_swish_speedup_no_compiler": (">", 1.7),
    "resnet20_composite_speedup_no_compiler": (">", 2.2),
    "resnet20_swish_speedup_fp32": (">", 1.4),
    "resnet20_composite_speedup_fp32": (">", 2.7),
    "resnet20_swish_over_relu": ("<", 1.35),
    "resnet20_composite_over_relu": ("<", 1.35),
    "worst_over_eager": (">", 0.95),
    "native_error_over_bound": ("<", 1),
    "tape_error_over_bound": ("<", 1),
    "digits_mlp_trainings_per_core_second": (">", 35),
    "digits_mlp_accuracy": (">", 0.96),
    "digits_mlp_speedup": (">", 2),
    "digits_cnn_speedup": (">", 1.5),
    "cnn28_speedup": (">", 2),
    "two_workers_speedup": (">", 1.75),
    "warm_dispatch_ms": ("<", 2),
    "data_input_speedup": (">", 4),
    "memory_over_relu": ("<", 1.55),
    "memory_over_relu_recompute": ("<", 1.1),
    "activation_saves_inputs": ("<", 1.05),  # one input and what belongs to its betas
    "rank_difference_low": (">", -0.05),
}
# Without a compiler the evaluator's own choice is the one without a compiler.
WITHOUT_COMPILER = {"resnet20_swish_speedup": 1.7, "resnet20_composite_speedup": 2.2}


def compiler() -> str | None:
    """The C++ compiler that is found, or None."""
    names = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    return next((path for name in names if name and (path := shutil.which(name))), None)


def wanted(key: str) -> tuple[str, float] | None:
    if key in WITHOUT_COMPILER and compiler() is None:
        return ">", WITHOUT_COMPILER[key]
    return WANTED.get(key)


def judge(value: float, aim: tuple[str, float] | None) -> str:
    """ "wanted >= 2.2: reached", or "" where nothing is wanted."""
    if aim is None:
        return ""
    sign, limit = aim
    reached = value >= limit if sign == ">" else value <= limit
    return f"wanted {sign}= {limit:g}: {'reached' if reached else 'NOT reached'}"


@dataclass(frozen=True)
class Options:
    """How to measure. cache: of the ranking's trainings; None: kept nowhere."""

    quick: bool
    device: str
    workers: int
    cache: Path | None

    @property
    def cuda(self) -> bool:
        return self.device.startswith("cuda")


class Report:
    """Prints figures as they are done and keeps the JSON file."""

    def __init__(self, path: Path | None, options: Options, progress: Progress) -> None:
        self.path, self.options, self.progress = path, options, progress
        self.numbers: dict[str, Any] = {}
        if path is not None and path.exists():
            self.numbers = json.loads(path.read_text(encoding="utf-8"))
            self.numbers.pop("machine", None)
        self.numbers.setdefault("figures", {})
        self.numbers.setdefault("parts", {})
        self._part = ""

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Everything added inside belongs to this part; what the file had of it is dropped."""
        figures = self.numbers["figures"]
        for key in [k for k, f in figures.items() if f["part"] == name]:
            del figures[key]
            self.numbers.pop(key, None)
        self._part = name
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        start = time.monotonic()
        yield
        here = machine()
        self.numbers["parts"][name] = {
            "quick": self.options.quick,
            "device": self.options.device,
            "seconds": round(time.monotonic() - start, 1),
            "load_before": load,
            "compiler": compiler(),
            "processor": here["processor"],
            "cores": here["cores"],
            "versions": here["versions"],
        }
        self._write()

    def add(
        self,
        key: str,
        estimate: Estimate | float,
        note: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """One figure: printed with its interval, its aim and `note`; `details` go to the file."""
        value = estimate.value if isinstance(estimate, Estimate) else float(estimate)
        aim = None if self.options.cuda or self.options.quick else wanted(key)
        record: dict[str, Any] = {"part": self._part, "value": value}
        interval = ""
        if isinstance(estimate, Estimate):
            record |= asdict(estimate)
            few = "" if estimate.coverage >= 0.95 else f", {estimate.n} only"
            interval = f"({estimate.low:.3g} to {estimate.high:.3g}{few})"
        if aim is not None:
            record |= {"wanted": f"{aim[0]}= {aim[1]:g}", "reached": "NOT" not in judge(value, aim)}
        record |= {"note": note} if note else {}
        record |= {"details": dict(details)} if details else {}
        record = _finite(record)
        self.numbers["figures"][key] = record
        self.numbers[key] = record["value"]
        parts = [f"{key:<39} {value:>7.3g} {interval}", judge(value, aim), note]
        self.line("; ".join(part for part in parts if part))
        self._write()

    def busy(self, share: float) -> None:
        """Warn when workers got less than their processor: the figures are of a shared machine."""
        if share < 0.95:
            self.line(
                f"other programs took {1 - share:.0%} of the processor meanwhile; a plain loop "
                "with several threads suffers more from that than workers do: do not trust ratios"
            )

    def line(self, text: str) -> None:
        """One line on the screen."""
        self.progress.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def _write(self) -> None:
        numbers = [k for k in self.numbers if k not in ("figures", "parts")]
        order = [*numbers, "figures", "parts"]
        write_json(self.path, {k: self.numbers[k] for k in order})


class Steps:
    """A bar for a part whose number of steps is known. It is drawn only between measurements,
    since a thread that draws would take its share of a core.
    """

    def __init__(self, progress: Progress, name: str, total: int) -> None:
        self.progress, self.task = progress, progress.add_task(name, total=total)
        progress.refresh()

    def tick(self, number: int = 1) -> None:
        self.progress.advance(self.task, number)
        self.progress.refresh()

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.remove_task(self.task)
        self.progress.refresh()


def _finite(value: Any) -> Any:
    """JSON knows no nan: None stands for it."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


__all__ = ["Machine", "Options", "Report", "Steps", "compiler", "judge", "wanted"]
