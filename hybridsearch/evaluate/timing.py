"""How long a function takes as an activation: seconds per element, forward and backward.

It is measured alone, on a tensor like the largest that an activation of the network is given, and
computed as in training. docs/decisions/0015-measured-time.md says why, and what it does not tell.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from hybridsearch.evaluate.draws import begin
from hybridsearch.evaluate.training import Trainer
from hybridsearch.genome.activation import Activation
from hybridsearch.genome.function import Function, resolve
from hybridsearch.kernels.choose import make

VERSION = 1  # raised by every change after which times of before and after do not compare
WARM_UP = 3  # passes before the clock runs: kernels compile, memory is got, caches fill
SPAN = 0.04  # seconds of measuring: long enough to meet moments when nothing else runs
BLOCK = 5e-4  # seconds between looks at the clock; long beside a look, short beside a time slice
LEAST = 5  # blocks, however long one takes


@dataclass(frozen=True)
class Place:
    """An activation's input in training: its shape, strides and format, and its channel axis."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    axis: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@lru_cache(maxsize=2)
def widest(trainer: Trainer) -> Place:
    """The largest input of an activation in a training step, the first one among equals.

    Caught in a network of ReLUs: it has the number format and memory layout of every other.
    Raises: what the network raises.
    """
    found: list[Place] = []

    def catch(module: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(module, Activation)
        x = inputs[0]
        found.append(Place(tuple(x.shape), x.stride(), x.dtype, module.axis))

    network = trainer.network(resolve("ReLU"), 0).train()
    for module in network.modules():
        if isinstance(module, Activation):
            module.register_forward_pre_hook(catch)
    with torch.no_grad(), trainer.precision():
        begin("timing")
        network(trainer.batch(0, 0)[0])
    return max(found, key=lambda place: place.elements)


def one_pass(trainer: Trainer, function: Function, kernel: str, place: Place) -> Callable[[], None]:
    """The forward and backward pass of a function at a place; x and the gradient are N(0,1)."""
    activation = Activation(function, place.shape[place.axis], place.axis).to(trainer.device)
    activation.kernel = make(kernel, function)
    draw = torch.Generator().manual_seed(0)

    def normal() -> Tensor:
        made = torch.empty_strided(
            place.shape, place.stride, dtype=place.dtype, device=trainer.device
        )
        return made.copy_(torch.randn(place.shape, generator=draw))

    x, gradient = normal().requires_grad_(), normal()
    wanted = (x, activation.betas) if activation.betas.numel() else (x,)

    def work() -> None:
        with trainer.precision():
            out = activation(x)
        torch.autograd.grad(out, wanted, gradient)

    return work


def seconds_per_element(trainer: Trainer, function: Function, kernel: str) -> float:
    """The time of a function in seconds per element, forward and backward, with its kernel.

    As a graph where training steps are one, since there a launch costs nothing.
    Raises: what kernel and network raise, and RuntimeError where the pass cannot be captured.
    """
    place, accelerator = widest(trainer), trainer.accelerator
    work = one_pass(trainer, function, kernel, place)
    for _ in range(WARM_UP):
        work()
    accelerator.synchronize()
    if trainer.graphed:
        work = accelerator.capture(work)
    return fastest(work, accelerator.synchronize) / place.elements


def fastest(
    work: Callable[[], None],
    wait: Callable[[], None],
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Seconds of one call of `work`, the least over blocks of calls: whatever else the machine
    does can only add. wait: returns when all that was queued is done.
    """

    def block(calls: int) -> float:
        begin = clock()
        for _ in range(calls):
            work()
        wait()
        return (clock() - begin) / calls

    end = clock() + SPAN
    best = block(1)
    calls = max(1, min(1000, round(BLOCK / max(best, 1e-9))))
    done = 0
    while done < LEAST or clock() < end:
        best = min(best, block(calls))
        done += 1
    return best
