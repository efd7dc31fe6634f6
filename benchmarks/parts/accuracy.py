"""Do the kernels compute the function? Value and gradients against float64, on N(0,1).

Every operator and 1,000 random genomes of one to three units that pass preflight, betas included.
Errors are counted as |error| / max(1, |v|), v in float64. The largest of a result's elements may be
5e-6, or twice plain fp32 PyTorch's where that is larger: some functions are ill-conditioned, and
there both are off by the rounding of what went before. At single numbers that rounding may happen
to cancel, so PyTorch's largest error is taken over these inputs and 8 more within 1e-5 of each,
every one compared with float64 at the same input. What is reported is the largest error as a
fraction of that bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from contest import Machine
from figures import Options, Report, Steps, compiler
from torch import Tensor

from hybridsearch.genome.activation import Activation, Kernel
from hybridsearch.genome.function import Function, resolve
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.preflight import inspect
from hybridsearch.genome.primitives import BINARY, UNARY
from hybridsearch.genome.units import Space
from hybridsearch.kernels.native import NativeKernel
from hybridsearch.kernels.tape import TapeKernel
from hybridsearch.threads import one_thread

BASE = 5e-6
NEIGHBOURS = 8
WITH_BETA = ("beta", "scale", "shift")
OPERATORS = [f"max {u} x {u} x" for u in UNARY if u not in WITH_BETA]
OPERATORS += [f"add id x {u} x" for u in WITH_BETA]
OPERATORS += [f"{b} sin x sigmoid x" for b in BINARY] + ["PReLU"]
KERNELS: dict[str, Callable[[Function], Kernel]] = {"native": NativeKernel, "tape": TapeKernel}
PER_JOB = 10  # functions
SHAPE = (512, 4)


def results(
    function: Function, kernel: Kernel | None, x: Tensor, betas: Tensor, g: Tensor, axis: int = 1
) -> list[Tensor]:
    """f(x), g*df/dx and the sums of g*df/dbeta, in the format of the operands."""
    act = Activation(function, x.shape[axis], axis).to(betas.dtype)
    act.kernel = kernel
    with torch.no_grad():
        act.betas.copy_(betas)
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    y = act(x)
    wanted = [x, *(p for p in act.parameters() if p.requires_grad)]
    slopes = torch.autograd.grad(y, wanted, g, allow_unused=True)
    return [y.detach(), *(s for s in slopes if s is not None and s.numel())]


def operands(
    function: Function, shape: tuple[int, ...] = (6, 5, 7, 3), seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """x ~ N(0,1) of a shape, betas [B, channels] around 1, and the gradient of the output."""
    rng = torch.Generator().manual_seed(seed)
    x, g = torch.randn(shape, generator=rng), torch.randn(shape, generator=rng)
    betas = 1 + 0.3 * torch.randn(len(function.starts), shape[1], generator=rng)
    if function.name == "sqrt(x)":
        x = x.abs()
    return x, betas, g


def largest(got: Tensor, exact: Tensor, asked: Tensor) -> float:
    """The largest |error| / max(1, |v|) of those asked for; inf where one is not finite."""
    if not asked.any():
        return 0.0
    error = ((got.double() - exact).abs() / exact.abs().clamp(min=1))[asked].max()
    return float(error) if bool(error.isfinite()) else math.inf


def error_of(function: Function, kernel: Kernel, shape: tuple[int, ...]) -> float:
    """The largest error of value, slope and betas' gradients, as a fraction of what is allowed."""
    x, betas, g = operands(function, shape)
    doubles = betas.double(), g.double()
    got = results(function, kernel, x, betas, g)
    ours, plain = [0.0] * len(got), [0.0] * len(got)
    for k in range(NEIGHBOURS + 1):
        near = x * (1 + k * 1e-5 / NEIGHBOURS)
        exact = results(function, None, near.double(), *doubles)
        eager = results(function, None, near, betas, g)
        for n, (a, b, c) in enumerate(zip(got, eager, exact, strict=True)):
            asked = b.isfinite() & c.isfinite()  # where plain PyTorch overflows, nothing is
            plain[n] = max(plain[n], largest(b, c, asked))
            if k == 0:
                ours[n] = largest(a, c, asked)
    return max(a / max(BASE, 2 * b) for a, b in zip(ours, plain, strict=True))


def random_functions(count: int, seed: int) -> list[Function]:
    """Distinct genomes of one to three units that pass preflight."""
    rng = np.random.default_rng(seed)
    found: dict[str, Function] = {}
    while len(found) < count:
        genomes = [Space(1, 3).sample(rng) for _ in range(2 * count)]
        able = [one for one in inspect(genomes) if one.rejected is None]
        found |= {one.key: resolve(Genome(one.form)) for one in able}
    return list(found.values())[:count]


@dataclass(frozen=True)
class Job:
    specs: tuple[str, ...]
    kernel: str


def measure(job: Job) -> list[tuple[str, str, float]]:
    """(kernel, function, error as a fraction of what is allowed) of some functions."""
    with one_thread():
        functions = [resolve(spec) for spec in job.specs]
        make = KERNELS[job.kernel]
        return [(job.kernel, f.spec, error_of(f, make(f), SHAPE)) for f in functions]


def run(machine: Machine, options: Options, report: Report) -> None:
    specs = OPERATORS + [f.spec for f in random_functions(20 if options.quick else 1000, 1)]
    names = [name for name in KERNELS if name != "native" or compiler()]
    parts: Sequence[tuple[str, ...]] = [
        tuple(specs[k : k + PER_JOB]) for k in range(0, len(specs), PER_JOB)
    ]
    jobs = {f"{name} {k}": Job(part, name) for name in names for k, part in enumerate(parts)}
    found: list[tuple[str, str, float]] = []
    with Steps(report.progress, "Kernels against float64", len(jobs)) as steps:
        for _, done in machine.pool.run(measure, jobs, float("inf")):
            assert isinstance(done, list)
            found += done
            steps.tick()
    for name in names:
        of_kernel = sorted(((e, spec) for k, spec, e in found if k == name), reverse=True)
        worst, where = of_kernel[0]
        beyond = [spec for e, spec in of_kernel if e > 1]
        report.add(
            f"{name}_error_over_bound",
            worst,
            f"the largest of {len(of_kernel):,} functions; {len(beyond)} beyond the bound: {where}",
            {"functions": len(of_kernel), "beyond": beyond[:20], "worst": where},
        )
