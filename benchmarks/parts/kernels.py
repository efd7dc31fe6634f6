"""Is the kernel that the evaluator would choose ever slower than eager? 200 random functions.

Each is timed forward and backward against the same module without its kernel: same input, number
format and memory layout, one thread, in processor time. With two thousand pairs some look slow by
bad luck, so those that do are measured again, ten rounds of their own; what counts of them is the
upper end of their interval. Where the evaluator chooses eager, the ratio is 1 without timing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from children import kernel_name
from contest import Machine, clock
from figures import Options, Report, Steps
from one_activation import Alone, Shape, alone
from ratios import Estimate, paired_ratio, rounds
from reliability import sample

from hybridsearch.genome.function import resolve
from hybridsearch.genome.genome import Genome
from hybridsearch.genome.preflight import inspect
from hybridsearch.genome.units import Space, to_units
from hybridsearch.threads import one_thread

SHAPES: tuple[Shape, ...] = (
    (64, 16, 8, 8),
    (128, 64),
    (64, 128),
    (96, 16, 14, 14),
    (128, 64, 8, 8),
    (128, 16, 32, 32),
)
AT_LEAST = 2e-3  # seconds of one timing: short passes are repeated
FIRST, AGAIN = 5, 10  # rounds of everybody, and of the suspects


@dataclass(frozen=True)
class Case:
    """One function at one input shape in one precision; `rounds` pairs of timings."""

    formula: str
    shape: Shape
    precision: str
    rounds: int
    device: str

    @property
    def label(self) -> str:
        return f"{resolve(self.formula).name} at {list(self.shape)}, {self.precision}"


@dataclass(frozen=True)
class Pair:
    """Seconds of one pass, eager and with the kernel; without times where eager was chosen."""

    case: Case
    kernel: str
    eager: tuple[float, ...] = ()
    chosen: tuple[float, ...] = ()

    @property
    def ratio(self) -> Estimate:
        """Speed over eager; exactly 1 where it is eager."""
        if not self.eager:
            return Estimate(1.0, 1.0, 1.0, 1.0, 0)
        return paired_ratio(self.eager, self.chosen)

    @property
    def bound(self) -> float:
        """What counts: the ratio; its upper end where it was measured again."""
        again = self.case.rounds >= AGAIN
        return self.ratio.high if again else self.ratio.value


def functions(one_unit: int, two_units: int, seed: int = 0) -> list[str]:
    """Random distinct functions that pass preflight, as token texts."""
    found = {i.key: i.form for i in inspect([g.tokens for g in sample(one_unit, seed)])}
    rng, space = np.random.default_rng([seed, 2]), Space(2, 2)
    while len(found) < one_unit + two_units:
        drawn = [space.sample(rng) for _ in range(64)]
        able = [i for i in inspect(drawn) if i.rejected is None and len(to_units(i.form)) == 2]
        found |= {i.key: i.form for i in able}
    return [str(Genome(form)) for form in found.values()][: one_unit + two_units]


def measure(cases: Sequence[Case]) -> list[Pair]:
    """Time some cases, in a worker."""
    with one_thread():
        return [_pair(case) for case in cases]


def _pair(case: Case) -> Pair:
    found = alone(case.formula, case.shape, case.precision, case.device)
    return compare(case, found)


def compare(case: Case, found: Alone) -> Pair:
    """Interleaved timings of an activation with its kernel and without."""
    kernel, name = found.activation.kernel, kernel_name(found.activation)
    if kernel is None:
        return Pair(case, name)
    times: dict[bool, list[float]] = {False: [], True: []}
    loops = {}
    for fast in (False, True):
        found.activation.kernel = kernel if fast else None
        found.step()
        loops[fast] = max(1, round(AT_LEAST / _time(found, 1, case.device)))
    for _, fast in rounds((False, True), case.rounds):
        found.activation.kernel = kernel if fast else None
        times[fast].append(_time(found, loops[fast], case.device))
    return Pair(case, name, tuple(times[False]), tuple(times[True]))


def _time(found: Alone, loops: int, device: str) -> float:
    begin = clock(device)
    for _ in range(loops):
        found.step()
    return (clock(device) - begin) / loops


def run(machine: Machine, options: Options, report: Report) -> None:
    shapes = SHAPES[:2] if options.quick else SHAPES
    precisions = ("auto",) if options.quick else ("auto", "fp32")
    chosen = functions(6, 2) if options.quick else functions(150, 50)
    cases = [
        [Case(f, shape, p, FIRST, options.device) for shape in shapes for p in precisions]
        for f in chosen
    ]
    pairs: list[Pair] = []
    with Steps(report.progress, "Kernels against eager", len(cases)) as steps:
        jobs = {str(n): job for n, job in enumerate(cases)}
        for _, found in machine.pool.run(measure, jobs, float("inf")):
            assert isinstance(found, list)
            pairs += found
            steps.tick()
    suspects = [p for p in pairs if p.ratio.value < 1]
    pairs = [p for p in pairs if p.ratio.value >= 1]
    with Steps(report.progress, "Suspects again", len(suspects)) as steps:
        jobs = {str(n): [replace(p.case, rounds=AGAIN)] for n, p in enumerate(suspects)}
        for _, found in machine.pool.run(measure, jobs, float("inf")):
            assert isinstance(found, list)
            pairs += found
            steps.tick()
    pairs.sort(key=lambda p: (p.bound, p.case.label))
    worst = [
        {
            "what": p.case.label,
            "kernel": p.kernel,
            "ratio": p.ratio.value,
            "low": p.ratio.low,
            "high": p.ratio.high,
            "rounds": p.ratio.n,
        }
        for p in [p for p in pairs if p.eager][:5]
    ]
    kernels = {k: sum(p.kernel == k for p in pairs) for k in {p.kernel for p in pairs}}
    gains = np.array([p.ratio.value for p in pairs])
    report.add(
        "worst_over_eager",
        pairs[0].bound,
        f"of {len(pairs):,} ({len(chosen)} functions), {len(suspects)} measured again; median "
        f"{np.median(gains):.3g}x; {kernels}",
        {"worst": worst, "functions": len(chosen), "suspects": len(suspects), "kernels": kernels}
        | {"quantiles_5_50_95": np.quantile(gains, [0.05, 0.5, 0.95]).tolist()},
    )
    for w in worst:
        report.line(
            f"    {w['ratio']:.3f} ({w['low']:.3f} to {w['high']:.3f}, n {w['rounds']}) "
            f"{w['kernel']}: {w['what']}"
        )
