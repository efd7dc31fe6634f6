"""Memory that a ResNet-20 step keeps for its backward pass, with the composite function and ReLU.

The figure is counted, not sampled: the bytes that are still allocated when the forward pass ends,
from the profiler's record of every allocation and release (on a GPU from the allocator's counter).
Whatever keeps a tensor for the backward pass is seen, recomputation included, and a tensor that
two layers share counts once. Beside it stand the same bytes as `saved_tensors_hooks` show them
(unique storages, parameters left out; they miss what recomputation holds in other ways) and the
rise of the process's peak memory in two steps, which also has gradients and scratch space in it.
Every measurement has a fresh process.
"""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass

import torch
from children import Children, kernel_name
from contest import Machine
from figures import Options, Report, Steps
from one_activation import alone
from plain_loop import COMPOSITE, RELU
from torch import Tensor, nn

from hybridsearch.config import Config
from hybridsearch.paper.cost import peak_memory, start_peak
from hybridsearch.threads import one_thread
from parts.resnet20 import config


@dataclass(frozen=True)
class Kept:
    """Bytes. live: allocated at the end of a forward pass beyond its start; saved: by hooks;
    peak: rise of the process's peak (of the GPU's) in two training steps, -1 where unknown.
    """

    live: int
    saved: int
    peak: int
    kernel: str


def live_bytes(forward: Callable[[], Tensor], device: str) -> int:
    """Bytes that a forward pass leaves allocated while its result is alive."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        result = forward()
        torch.cuda.synchronize(device)
        after = torch.cuda.memory_allocated(device)
        del result
        return after - before
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        result = forward()
    del result
    return sum(event.self_cpu_memory_usage for event in profile.events())


def saved_bytes(forward: Callable[[], Tensor], module: nn.Module) -> int:
    """Bytes of the distinct storages that autograd saves, parameters and buffers left out."""
    own = {t.untyped_storage().data_ptr() for t in (*module.parameters(), *module.buffers())}
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()  # alive, so that no storage's address is used twice
    del result
    return sum(size for address, size in seen.items() if address not in own)


def network_memory(job: tuple[Config, str, str]) -> Kept:
    """Of the whole network, in a fresh process."""
    config, formula, device = job
    with one_thread():
        children = Children(config, device)
        trainer, child = children.trainer, children.new(formula)
        before = start_peak(device)
        trainer.train(child, 2)
        peak = peak_memory(device) - before if before >= 0 else -1
        child.optimizer.zero_grad(set_to_none=True)

        def forward() -> Tensor:
            images, labels = trainer.batch(0, 0)
            with trainer.precision():
                logits = child.network(images).float()
            return torch.nn.functional.cross_entropy(logits, labels)

        live = live_bytes(forward, device)
        saved = saved_bytes(forward, child.network)
    return Kept(live, saved, peak, kernel_name(child.network))


def activation_memory(job: tuple[str, tuple[int, ...], str]) -> tuple[float, str]:
    """What an activation alone keeps, in sizes of its input; and its kernel."""
    formula, shape, device = job
    with one_thread():
        found = alone(formula, shape, "auto", device)
        size = found.x.untyped_storage().nbytes()

        def forward() -> Tensor:
            with found.precision():
                return found.activation(found.x)  # type: ignore[no-any-return]

        saved = saved_bytes(forward, found.activation)
        beyond = live_bytes(forward, device) - size  # the output is the next layer's
    return max(saved, size + beyond) / size, kernel_name(found.activation)


def _ratio(mine: int, relu: int) -> str:
    return f"{mine / relu:.2f}x" if min(mine, relu) > 0 else "unknown"


def fresh(function: Callable[[object], object], job: object) -> object:
    """Run in a process of its own, whose allocator gives pages back as usual."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, job).result()


def run(machine: Machine, options: Options, report: Report) -> None:
    plans = {"relu": (RELU, False), "composite": (COMPOSITE, False)}
    if not options.quick:
        plans |= {"relu, recompute": (RELU, True)}
    plans |= {"composite, recompute": (COMPOSITE, True)}
    kept: dict[str, Kept] = {}
    with Steps(report.progress, "Memory", len(plans) + 1) as steps:
        for name, (formula, recompute) in plans.items():
            base = config(options.quick)
            training = base.training.model_copy(update={"recompute": recompute})
            job = (base.model_copy(update={"training": training}), formula, options.device)
            found = fresh(network_memory, job)  # type: ignore[arg-type]
            assert isinstance(found, Kept)
            kept[name] = found
            steps.tick()
        shape = (128, 16, 32, 32)
        inputs, kernel = machine.one(activation_memory, (COMPOSITE, shape, options.device))
        steps.tick()
    relu = kept["relu"]
    for key, name in (
        ("memory_over_relu", "composite"),
        ("memory_over_relu_recompute", "composite, recompute"),
    ):
        mine = kept[name]
        report.add(
            key,
            mine.live / relu.live,
            f"{mine.live / 1e6:.0f} MB and {relu.live / 1e6:.0f} MB at the end of the forward "
            f"pass ({mine.kernel}); saved by autograd {mine.saved / relu.saved:.2f}x, peak "
            f"of the process {_ratio(mine.peak, relu.peak)}",
            {name: asdict(value) for name, value in kept.items()},
        )
    report.add("activation_saves_inputs", inputs, f"composite at {list(shape)} ({kernel})")
