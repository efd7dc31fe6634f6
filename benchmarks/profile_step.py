"""Where the time of a ResNet-20 step goes: in the plain loop, and in this evaluator.

    python benchmarks/profile_step.py [--function FORMULA ...] [--network NAME] [--quick]
                                      [--json FILE]

One thread each, the evaluator in one of its workers. The profiler's events are summed by what they
belong to: in the forward pass by the module that is running, in the backward pass by the module
whose forward operation made the node (autograd numbers both alike). What is recomputed in the
backward pass counts where it is recomputed for. Profiling slows small operations most, so the
shares are scaled to the step's duration without a profiler, which stands below the table.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # start and stop are no news; before torch loads

import torch
from children import Children, data_for, kernel_name
from contest import Machine, default_environment
from parts.resnet20 import config as standard_config
from plain_loop import ACTIVATIONS, PlainTraining
from reporting import add_arguments, print_table, write_json
from torch import nn
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from hybridsearch.config import Config, NetworkConfig
from hybridsearch.genome.activation import Activation

PREFIX = "group:"
NODE = "autograd::engine::evaluate_function: "
CONV, NORM, ACT, ADD = "convolution", "BatchNorm", "activation", "residual add and shortcut"
HEAD, OPTIMISER, INPUT, REST = "pooling, classifier, loss", "optimiser", "data input", "the rest"
GROUPS = (CONV, NORM, ACT, ADD, HEAD, OPTIMISER, INPUT, REST)
PLAIN_ACTIVATIONS = tuple(type(make((1,))) for make in ACTIVATIONS.values())


def group_of(module: nn.Module) -> str | None:
    """The group of a module that is measured as a whole; None for containers."""
    if isinstance(module, (Activation, nn.ReLU, *PLAIN_ACTIVATIONS)):
        return ACT
    if isinstance(module, nn.Conv2d):
        return CONV
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        return NORM
    return None if any(module.children()) else HEAD


@contextmanager
def marked(network: nn.Module) -> Iterator[None]:
    """Every measured module runs in a range named after its group, all else of the network in the
    residual one.
    """
    handles, open_ranges = [], []

    def enter(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any) -> None:
            range_ = record_function(PREFIX + name)
            range_.__enter__()
            open_ranges.append(range_)

        return hook

    def leave(module: nn.Module, inputs: Any, output: Any) -> None:
        open_ranges.pop().__exit__(None, None, None)

    for module in network.modules():
        name = ADD if module is network else group_of(module)
        if name is not None:
            handles.append(module.register_forward_pre_hook(enter(name)))
            handles.append(module.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def by_group(events: Sequence[FunctionEvent]) -> dict[str, float]:
    """Seconds per group: of every marked event, less the marked events inside it. What no mark
    covers is left to the caller's wall clock.
    """
    owner: dict[int, str] = {}  # sequence number of a forward operation -> its group
    for event in events:  # in the order of their start
        inside = around(event.cpu_parent, lambda e: e.name.startswith((PREFIX, NODE)))
        if inside is not None and inside.name.startswith(PREFIX) and event.sequence_nr >= 0:
            # Until a node is made its number is shown by all operations; the last one makes it.
            owner[event.sequence_nr] = inside.name.removeprefix(PREFIX)
    seconds = dict.fromkeys(GROUPS, 0.0)
    for event in events:
        group = mark_of(event, owner)
        if group is None:
            continue
        seconds[group] += event.cpu_time_total * 1e-6
        outer = around(event.cpu_parent, lambda e: mark_of(e, owner) is not None)
        if outer is not None:
            seconds[mark_of(outer, owner) or REST] -= event.cpu_time_total * 1e-6
    return seconds


def mark_of(event: FunctionEvent, owner: Mapping[int, str]) -> str | None:
    """The group that an event stands for: a range, an optimiser's call, the loss, or a node of the
    backward pass, which belongs to the group of the forward operation with its number.
    """
    name: str = event.name
    if name.startswith(PREFIX):
        return name.removeprefix(PREFIX)
    if name.startswith("Optimizer."):
        return OPTIMISER
    if name.startswith(NODE):
        return owner.get(event.sequence_nr, REST if "AccumulateGrad" in name else HEAD)
    return HEAD if name == "aten::cross_entropy_loss" else None


def around(
    event: FunctionEvent | None, wanted: Callable[[FunctionEvent], bool]
) -> FunctionEvent | None:
    """The event, or the innermost one around it, that is wanted."""
    while event is not None and not wanted(event):
        event = event.cpu_parent
    return event


@dataclass(frozen=True)
class Side:
    """ms: a step without a profiler, the median. parts: ms per group, summing to it."""

    ms: float
    parts: dict[str, float]
    kernel: str


def measure(network: nn.Module, step: Callable[[], object], steps: int, kernel: str) -> Side:
    """Time some steps, then profile some more."""
    for _ in range(2):
        step()
    times = []
    for _ in range(steps):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    ms = 1e3 * sorted(times)[len(times) // 2]
    with marked(network), profile(activities=[ProfilerActivity.CPU]) as profiler:
        begin = time.perf_counter()
        for _ in range(steps):
            step()
        wall = time.perf_counter() - begin
    seconds = by_group(profiler.events())
    seconds[REST] += max(0.0, wall - sum(seconds.values()))
    total = sum(seconds.values())
    return Side(ms, {name: ms * value / total for name, value in seconds.items()}, kernel)


def plain_side(job: tuple[Config, str, int]) -> Side:
    """The plain loop, with one thread."""
    config, formula, steps = job
    torch.set_num_threads(1)
    training = PlainTraining(config, data_for(config.data), formula, 0)
    fetch = training.next_batch

    def marked_fetch() -> tuple[torch.Tensor, torch.Tensor]:
        with record_function(PREFIX + INPUT):
            return fetch()

    training.next_batch = marked_fetch  # type: ignore[method-assign]
    return measure(training.network, lambda: training.train(1), steps, "plain")


def evaluator_side(job: tuple[Config, str, int]) -> Side:
    """The evaluator's training, in a worker."""
    config, formula, steps = job
    children = Children(config)
    trainer, child = children.trainer, children.new(formula)
    fetch = trainer.batch

    def marked_fetch(seed: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        with record_function(PREFIX + INPUT):
            return fetch(seed, step)

    trainer.batch = marked_fetch  # type: ignore[method-assign]
    kernel = kernel_name(child.network)
    return measure(child.network, lambda: trainer.train(child, child.step + 1), steps, kernel)


def show(config: Config, formula: str, before: Side, after: Side, steps: int) -> None:
    """One function's table."""
    rows = [
        [
            name,
            *(f"{side.parts[name]:.1f}" for side in (before, after)),
            *(f"{side.parts[name] / side.ms:.0%}" for side in (before, after)),
            f"{before.parts[name] / after.parts[name]:.1f}x" if after.parts[name] > 0 else "",
        ]
        for name in GROUPS
    ]
    total = f"{before.ms / after.ms:.1f}x"
    rows.append(["step", f"{before.ms:.1f}", f"{after.ms:.1f}", "", "", total])
    print_table(
        f"{config.network.name}, batch {config.training.batch_size}, {formula}",
        ["", "plain, ms", "here, ms", "plain", "here", "faster"],
        rows,
        caption=f"one thread each, {steps} steps; kernel here: {after.kernel}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--function", nargs="+", default=list(ACTIVATIONS), choices=ACTIVATIONS)
    parser.add_argument("--network", default=None, help="default: resnet20")
    options = parser.parse_args()
    steps = 2 if options.quick else 12
    default_environment()
    config = standard_config(options.quick)
    if options.network:
        network = NetworkConfig(name=options.network)
        config = config.model_copy(update={"network": network})

    profiles = {}
    with Machine(1) as machine:
        for formula in options.function:
            job = (config, formula, steps)
            before, after = machine.plain(plain_side, job), machine.one(evaluator_side, job)
            show(config, formula, before, after, steps)
            profiles[formula] = {"plain": asdict(before), "here": asdict(after)}
    write_json(
        options.json,
        {
            "network": config.network.model_dump(),
            "batch_size": config.training.batch_size,
            "steps": steps,
            "profiles": profiles,
        },
    )


if __name__ == "__main__":
    main()
