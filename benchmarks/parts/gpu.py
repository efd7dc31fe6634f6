"""What each part of the GPU's evaluator is worth, and what equal bits cost.

All arms train the same network with the same function in one process, in interleaved rounds: step
by step as PyTorch queues it, as a CUDA graph, with the compiled activation, with other children
beside it (steps are those of all children), and with convolutions that may choose their algorithm
by timing and sum in any order, as other programs have it. The first steps of an arm are the
warm-up that a child of a search has too, and are not timed; a capture is timed apart, and so is
what compiling functions takes that the process has not met.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import count
from math import inf

import torch
from children import Children
from contest import Machine
from figures import Options, Report, Steps
from plain_loop import COMPOSITE, RELU, SWISH
from ratios import Estimate, median_interval, paired_ratio, rounds

from hybridsearch.config import Config, NetworkConfig
from hybridsearch.evaluate import graph
from hybridsearch.evaluate.accelerator import Accelerator, Stream, accelerator_for
from hybridsearch.evaluate.training import Diverged
from hybridsearch.threads import one_thread
from parts.resnet20 import config

FULL = (6, 0.4)  # rounds, seconds of each arm in each of them
QUICK = (2, 0.1)
WARM_UP = 8  # steps of every child that are not timed: graphs are captured in them
BLOCK = 10  # steps of every child between looks at the clock
FOREVER = 10**9
UNMET = ("sin(x)*beta+x", "atan(x)^2-x", "cos(x)-x")  # functions that no arm trains


@dataclass(frozen=True)
class Arm:
    """One way to train. pack: children beside each other. free: convolutions choose by timing."""

    name: str
    graph: bool = True
    kernel: str = "compiled"
    pack: int = 1
    free: bool = False


ARMS = (
    Arm("steps", graph=False, kernel="eager"),
    Arm("graph", kernel="eager"),
    Arm("compiled"),
    Arm("free", free=True),
    Arm("pack2", pack=2),
    Arm("pack4", pack=4),
    Arm("pack8", pack=8),
)
# key -> which arm over which
RATIOS = {
    "graph_speedup": ("graph", "steps"),
    "kernel_speedup": ("compiled", "graph"),
    "pack2_speedup": ("pack2", "compiled"),
    "pack4_speedup": ("pack4", "compiled"),
    "pack8_speedup": ("pack8", "compiled"),
    "equal_bits_cost": ("free", "compiled"),
    "speedup": ("pack8", "steps"),
}


@dataclass(frozen=True)
class Race:
    """What a worker is to measure. count: rounds; window: seconds of each arm in each of them."""

    config: Config
    formula: str
    device: str
    arms: tuple[Arm, ...]
    count: int
    window: float


@dataclass(frozen=True)
class Raced:
    """rates: arm -> steps per second of all its children, one per round. captures: seconds of a
    capture beyond a replay, of a child for which everything is compiled and loaded, one per try.
    compiles: seconds that the first step of a new function takes longer than its second, one per
    function.
    """

    rates: dict[str, list[float]]
    captures: list[float]
    compiles: list[float]


class Pack:
    """The children of an arm, each on a stream of its own, taking turns as in a search."""

    def __init__(
        self, arm: Arm, race: Race, accelerator: Accelerator, streams: Sequence[Stream]
    ) -> None:
        settings = {"graph": "on" if arm.graph else "off", "kernel": arm.kernel}
        training = race.config.training.model_copy(update=settings)
        children = Children(race.config.model_copy(update={"training": training}), race.device)
        self.arm, self.accelerator, self.streams = arm, accelerator, streams[: arm.pack]
        self.children, self.formula = children, race.formula
        self.seeds = count()
        self.courses = [self.course() for _ in self.streams]

    def course(self) -> Iterator[None]:
        """The steps of a new child."""
        child = self.children.new(self.formula, next(self.seeds))
        return self.children.trainer.course(child, FOREVER)

    def advance(self, steps: int) -> None:
        with _numerics(self.arm):
            for _ in range(steps):
                for place, stream in enumerate(self.streams):
                    with self.accelerator.on(stream):
                        self._next(place)

    def _next(self, place: int) -> None:
        try:
            next(self.courses[place])
        except Diverged:  # a new child; its making counts, which is rare and unfavourable
            self.courses[place] = self.course()
            next(self.courses[place])

    def rate(self, window: float) -> float:
        """Steps per second of all children, over at least so many seconds."""
        self.accelerator.synchronize()
        begin, steps = time.perf_counter(), 0
        while time.perf_counter() - begin < window:
            self.advance(BLOCK)
            steps += BLOCK * self.arm.pack
            self.accelerator.synchronize()
        return steps / (time.perf_counter() - begin)


def _numerics(arm: Arm) -> AbstractContextManager[object]:
    if not arm.free:
        return nullcontext()
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=True, deterministic=False, allow_tf32=False
    )


def measure(race: Race) -> Raced:
    """In a worker: all arms of a race, interleaved."""
    accelerator = accelerator_for(torch.device(race.device))
    rates: dict[str, list[float]] = {arm.name: [] for arm in race.arms}
    packs = {}
    with one_thread(), accelerator.session():
        streams = [accelerator.stream() for _ in range(max(arm.pack for arm in race.arms))]
        for arm in race.arms:
            packs[arm] = Pack(arm, race, accelerator, streams)
            packs[arm].advance(WARM_UP)
        for _, arm in rounds(race.arms, race.count):
            rates[arm.name].append(packs[arm].rate(race.window))
        (arm,) = (arm for arm in race.arms if arm.name == "compiled")
        captures, compiles = [], []
        for _ in range(race.count):
            times = _first_steps(Pack(arm, race, accelerator, streams))
            captures.append(times[graph.WARM_UP] - min(times[graph.WARM_UP + 1 :]))
        for formula in UNMET:
            times = _first_steps(Pack(arm, replace(race, formula=formula), accelerator, streams))
            compiles.append(times[0] - times[1])
    return Raced(rates, captures, compiles)


def _first_steps(pack: Pack) -> list[float]:
    """Seconds of each step of the warm-up."""
    times = []
    for _ in range(WARM_UP):
        pack.accelerator.synchronize()
        begin = time.perf_counter()
        pack.advance(1)
        pack.accelerator.synchronize()
        times.append(time.perf_counter() - begin)
    return times


def tasks(quick: bool) -> dict[str, tuple[Config, str]]:
    """What the keys of the figures begin with -> the network and the function."""
    base = config(quick)
    name = base.network.name

    def of(precision: str, network: str = name) -> Config:
        training = base.training.model_copy(update={"precision": precision})
        return base.model_copy(
            update={"training": training, "network": NetworkConfig(name=network, width=16)}
        )

    made = {f"{name}_swish": (of("auto"), SWISH), f"{name}_relu": (of("auto"), RELU)}
    if not quick:
        made |= {
            f"{name}_composite": (of("auto"), COMPOSITE),
            f"{name}_composite_fp32": (of("fp32"), COMPOSITE),
            "resnet8_composite": (of("auto", "resnet8"), COMPOSITE),
        }
    return made


def run(machine: Machine, options: Options, report: Report) -> None:
    turns, window = QUICK if options.quick else FULL
    chosen = tasks(options.quick)
    with Steps(report.progress, "Graphs, kernels, packs", len(chosen)) as steps:
        for name, (network, formula) in chosen.items():
            race = Race(network, formula, options.device, ARMS, turns, window)
            add(report, name, _measured(machine, race))
            steps.tick()


def _measured(machine: Machine, race: Race) -> Raced:
    found = dict(machine.pool.run(measure, {race.formula: race}, inf))[race.formula]
    if not isinstance(found, Raced):
        raise RuntimeError(f"{race.formula}: {found}")
    return found


def add(report: Report, name: str, found: Raced) -> None:
    """The figures of one task: steps per second of every arm, and the ratios between them."""
    for arm, rates in found.rates.items():
        report.add(f"{name}_{arm}_per_second", median_interval(rates), "steps")
    for key, estimate in ratios(found.rates):
        report.add(f"{name}_{key}", estimate)
    report.add(f"{name}_capture_ms", median_interval([1e3 * c for c in found.captures]))
    report.add(f"{name}_compile_seconds", median_interval(found.compiles), "per function")


def ratios(rates: dict[str, list[float]]) -> Iterator[tuple[str, Estimate]]:
    for key, (one, other) in RATIOS.items():
        if one in rates and other in rates:
            yield key, paired_ratio(rates[one], rates[other])
